"""The one-shot machines of one process: created, started, used, deleted."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, BinaryIO, Protocol

from pyro_mcp import protocol
from pyro_mcp.config import OUTPUT_LIMIT_BYTES
from pyro_mcp.errors import (
    GuestLostError,
    MachineExpiredError,
    MachineLimitError,
    MachineStateError,
    NoEngineError,
    ToolMissingError,
    UnknownMachineError,
)
from pyro_mcp.machines.choose import choose_engine, find_tools
from pyro_mcp.machines.machine import Machine
from pyro_mcp.machines.spec import MachineSpec, check_command, check_timeout
from pyro_mcp.results.commands import Tried, tried_nothing
from pyro_mcp.results.network import NetworkOff, NetworkOn
from pyro_mcp.results.vms import Reaped, Vm, VmDeleted, VmExecResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.config import Settings
    from pyro_mcp.engines.base import Engine
    from pyro_mcp.machines.cancel import Cancel
    from pyro_mcp.machines.requests import CommandOutcome, OnOutput
    from pyro_mcp.machines.spec import Images

    Progress = Callable[[str, float | None], None]


NO_ISOLATION = "none: the command runs as you, on this host"


class FindImages(Protocol):
    """Gives the images of an environment, building what is missing."""

    def __call__(self, environment: str, progress: Progress) -> Images:
        """Raise `UnknownEnvironmentError` before anything is built."""


def _quiet(_phase: str, _fraction: float | None) -> None:
    return


class _Record:
    """One machine and what is remembered of it; `machine` is None when it is the host itself."""

    def __init__(self, spec: MachineSpec, machine: Machine | None, vm_id: str) -> None:
        self.spec = spec
        self.machine = machine
        self.vm_id = vm_id
        self.state = "created"
        self.created_at = time.time()
        self.expires_at = self.created_at + spec.ttl_seconds
        # One change of state at a time; commands of other machines do not wait.
        self.lock = threading.RLock()

    @property
    def execution_mode(self) -> str:
        if self.machine is None:
            return "host_compat"
        return "pending" if self.state == "created" else "guest_vsock"

    @property
    def isolation(self) -> str:
        return self.machine.engine.isolation if self.machine else NO_ISOLATION

    @property
    def network(self) -> bool:
        return self.spec.network and self.machine is not None

    @property
    def engine(self) -> str | None:
        return self.machine.engine.name if self.machine else None

    @property
    def version(self) -> str | None:
        return self.machine.images.environment_version if self.machine else None

    def look(self) -> Vm:
        """What can be said of it now; a guest that is gone shows as stopped."""
        if self.state == "started" and self.machine is not None and not self.machine.running:
            self.state = "stopped"
        spec = self.spec
        return Vm(
            vm_id=self.vm_id,
            environment=spec.environment,
            environment_version=self.version,
            vcpu_count=spec.vcpu_count,
            vcpu_count_given=self.machine.vcpu_count if self.machine else spec.vcpu_count,
            mem_mib=spec.mem_mib,
            ttl_seconds=spec.ttl_seconds,
            created_at=self.created_at,
            expires_at=self.expires_at,
            state=self.state,
            network_enabled=self.network,
            allow_host_compat=spec.allow_host_compat,
            guest_ip=protocol.GUEST_IP if self.network else None,
            tap_name=protocol.LINK if self.network else None,
            execution_mode=self.execution_mode,
            engine=self.engine,
            isolation=self.isolation,
            metadata=self._metadata(),
        )

    def _metadata(self) -> dict[str, str]:
        if self.machine is None:
            return {"execution_mode": self.execution_mode}
        report = self.machine.report
        return {
            "execution_mode": self.execution_mode,
            "rootfs_image": str(self.machine.images.environment_image),
            "directory": str(self.machine.directory),
            **{f"guest_{key}": str(value) for key, value in report.items()},
        }


class Registry:
    """All machines of this process; safe to use from several threads."""

    def __init__(
        self,
        settings: Settings,
        find_images: FindImages,
        *,
        engine_name: str | None = None,
        max_active: int | None = None,
    ) -> None:
        self._settings = settings
        self._find_images = find_images
        self._engine_name = engine_name
        self._max_active = max_active
        self._records: dict[str, _Record] = {}
        self._lock = threading.Lock()

    def create(self, spec: MachineSpec, *, progress: Progress = _quiet) -> Vm:
        """Make a machine; nothing runs yet. Builds the environment if it is not installed."""
        spec.check()
        self._check_room()
        engine = self._engine(spec)
        if engine is None:
            record = _Record(spec, None, os.urandom(6).hex())
        else:
            images = self._find_images(spec.environment, progress)
            machine = Machine.create(self._settings, spec, images, engine)
            record = _Record(spec, machine, machine.id)
        with self._lock:
            self._records[record.vm_id] = record
        return record.look()

    def start(self, vm_id: str) -> Vm:
        """Boot it. From `created` or `stopped`."""
        record = self._find(vm_id)
        with record.lock:
            now = record.look()
            if now.state == "started":
                raise MachineStateError(
                    vm_id, state="started", needed="created or stopped", hint="Go on with exec_vm."
                )
            if record.machine is not None:
                record.machine.start(life_seconds=max(1.0, record.expires_at - time.time()))
            record.state = "started"
            return record.look()

    def execute(
        self,
        vm_id: str,
        command: str,
        *,
        timeout_seconds: float,
        stdin: BinaryIO | bytes | None = None,
        on_output: OnOutput | None = None,
        keep_output: bool = True,
        cancel: Cancel | None = None,
    ) -> VmExecResult:
        """Run one command, then delete the machine, whatever the command's status."""
        check_command(command)
        check_timeout(timeout_seconds)
        record = self._find(vm_id)
        with record.lock:
            if record.look().state != "started":
                raise MachineStateError(
                    vm_id, state=record.state, needed="started", hint="Call start_vm first."
                )
        limit = OUTPUT_LIMIT_BYTES if keep_output else 0
        try:
            outcome = _runner(record)(
                command,
                timeout_seconds=timeout_seconds,
                stdin=stdin,
                on_output=on_output,
                output_limit=limit,
                cancel=cancel,
            )
            tried = _tried(record)
        finally:
            cleanup = self._delete(record, "post_exec_cleanup")
        return VmExecResult(
            vm_id=vm_id,
            environment=record.spec.environment,
            environment_version=record.version,
            command=command,
            **outcome.ending(keep_output=keep_output),
            execution_mode=record.execution_mode,
            cleanup=cleanup,
            engine=record.engine,
            isolation=record.isolation,
            vcpu_count=record.spec.vcpu_count,
            vcpu_count_given=record.machine.vcpu_count if record.machine else 1,
            **tried,
        )

    def stop(self, vm_id: str) -> Vm:
        """Flush and end the guest; its disk stays, and `start` boots it again."""
        record = self._find(vm_id, expired_is_error=False)
        with record.lock:
            if record.machine is not None:
                record.machine.stop()
            if record.state == "started":
                record.state = "stopped"
            return record.look()

    def delete(self, vm_id: str) -> VmDeleted:
        """End it and remove everything of it."""
        return self._delete(self._find(vm_id, expired_is_error=False), "explicit_delete")

    def discard(self, vm_id: str) -> None:
        """Delete it if it is still there."""
        with self._lock:
            record = self._records.get(vm_id)
        if record is not None:
            self._delete(record, "explicit_delete")

    def status(self, vm_id: str) -> Vm:
        """What can be said of it now."""
        return self._find(vm_id).look()

    def network_info(self, vm_id: str) -> NetworkOff | NetworkOn:
        """How it is connected."""
        record = self._find(vm_id)
        if not record.network:
            return NetworkOff(vm_id=record.vm_id, reason="the machine was made without a network")
        return NetworkOn(
            vm_id=record.vm_id,
            tap_name=protocol.LINK,
            guest_ip=protocol.GUEST_IP,
            gateway_ip=protocol.GATEWAY_IP,
            subnet_cidr=protocol.LINK_NETWORK,
            mac_address=protocol.GUEST_MAC.hex(":"),
            dns_servers=[protocol.GATEWAY_IP],
            outbound_connectivity_expected=record.look().state == "started",
            guest_ip6=protocol.GUEST_IP6,
            network_allow=list(record.spec.network_allow),
            network_private=list(record.spec.network_private),
        )

    def reap(self) -> Reaped:
        """Delete every machine whose time is over; their guests have ended already."""
        with self._lock:
            over = [r for r in self._records.values() if r.expires_at <= time.time()]
        for record in over:
            self._delete(record, "expired")
        ids = sorted(record.vm_id for record in over)
        return Reaped(deleted_vm_ids=ids, count=len(ids))

    def close(self) -> None:
        """Delete every machine of this process."""
        with self._lock:
            records = list(self._records.values())
        for record in records:
            self._delete(record, "explicit_delete")

    def _find(self, vm_id: str, *, expired_is_error: bool = True) -> _Record:
        with self._lock:
            record = self._records.get(vm_id)
        if record is None:
            raise UnknownMachineError(vm_id)
        if expired_is_error and record.expires_at <= time.time():
            self._delete(record, "expired")
            raise MachineExpiredError(vm_id, record.spec.ttl_seconds)
        return record

    def _delete(self, record: _Record, reason: str) -> VmDeleted:
        with self._lock:
            self._records.pop(record.vm_id, None)
        with record.lock:
            if record.machine is not None:
                record.machine.close()
        return VmDeleted(vm_id=record.vm_id, deleted=True, reason=reason)

    def _check_room(self) -> None:
        if self._max_active is None:
            return
        with self._lock:
            records = list(self._records.values())
        running = sum(1 for record in records if record.look().state != "stopped")
        if running >= self._max_active:
            raise MachineLimitError(limit=self._max_active, active=running)

    def _engine(self, spec: MachineSpec) -> Engine | None:
        """The engine to use; None means the host itself, which the caller has allowed."""
        try:
            engine = choose_engine(self._engine_name)
            find_tools()
        except (NoEngineError, ToolMissingError):
            if not spec.allow_host_compat:
                raise
            return None
        return engine


def _tried(record: _Record) -> Tried:
    if not record.network or record.machine is None:
        return tried_nothing()
    from pyro_mcp.network import client, told  # most machines have none

    try:
        return told.of(client.since(record.machine.directory, 0))
    except GuestLostError:
        return tried_nothing()


def _runner(record: _Record) -> Callable[..., CommandOutcome]:
    if record.machine is not None:
        return record.machine.execute
    # Its imports cost more than they are worth to everyone who has an engine.
    from pyro_mcp.machines import host_compat

    return host_compat.execute
