"""One guest, and the process that owns it: made, started, asked, stopped, removed."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, BinaryIO

from pyro_mcp.config import OUTPUT_LIMIT_BYTES, STATE_VARIABLE
from pyro_mcp.errors import GuestLostError
from pyro_mcp.host.files import copy_sparse
from pyro_mcp.machines import channel, directory, requests
from pyro_mcp.machines.launching import Boot, boot

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from pyro_mcp.config import Settings
    from pyro_mcp.engines.base import Engine, LaunchPlan
    from pyro_mcp.machines.cancel import Cancel
    from pyro_mcp.machines.monitor_process import MonitorProcess
    from pyro_mcp.machines.spec import Images, MachineSpec
    from pyro_mcp.network.way import Way

_STOP_SECONDS = 10.0
_DATA_DISK = "data.ext4"


class Machine:
    """A machine of this process; it ends with it, however that ends.

    Use with `with`, or call `close`. Not for use from several threads at once, except that
    `execute` may run in as many as you like.
    """

    def __init__(
        self, spec: MachineSpec, images: Images, engine: Engine, *, machine_id: str, home: Path
    ) -> None:
        self.id = machine_id
        self.spec = spec
        self.images = images
        self.engine = engine
        self.directory = home
        self.cpu: int | None = None
        self.report: dict[str, Any] = {}
        """What the agent said of itself when it came up."""
        self._owned = contextlib.ExitStack()
        self._lock = -1
        self._monitor: MonitorProcess | None = None
        self._plan: LaunchPlan | None = None
        self._way: Way | None = None

    @classmethod
    def create(cls, settings: Settings, spec: MachineSpec, images: Images, engine: Engine) -> Self:
        """Make a machine's directory and disk; nothing runs yet."""
        machine_id = os.urandom(6).hex()
        home, lock, cpu = directory.make(settings.state_dir, machine_id)
        machine = cls(spec, images, engine, machine_id=machine_id, home=home)
        # Last in, first out: the lock goes when nothing is left that it could protect.
        machine._owned.callback(os.close, lock)
        machine._owned.callback(directory.remove, home)
        machine._owned.callback(machine.kill)
        machine._lock = lock
        if spec.network:
            from pyro_mcp.network import way  # most machines have none

            machine._way = way.plan(
                spec.policy(),
                resolvers=settings.resolvers,
                steering=settings.steering,
                inherit=spec.network_inherit,
            )
        machine.cpu = cpu
        try:
            copy_sparse(images.blank_disk, home / _DATA_DISK, variable=STATE_VARIABLE)
        except BaseException:
            machine.close()
            raise
        return machine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def vcpu_count(self) -> int:
        """How many CPUs the guest really has."""
        return self._plan.vcpu_count if self._plan else 1

    @property
    def running(self) -> bool:
        """Whether the machine runs now."""
        return self._monitor is not None and self._monitor.running

    def start(self, *, life_seconds: float) -> None:
        """Boot the guest and wait until its agent answers.

        The monitor ends it after `life_seconds`, or when this process ends.

        Raises:
            ToolMissingError: A program that the jail needs is not installed.
            NoEngineError: This host does not let a jail be made.
            GuestStartError: The guest did not come up.
        """
        started = boot(
            Boot(
                home=self.directory,
                data_disk=self.directory / _DATA_DISK,
                seed_image=None,
                mem_mib=self.spec.mem_mib,
                vcpu_count=self.spec.vcpu_count,
                cpu=self.cpu,
                owner_pid=os.getpid(),
                kept=False,
                life_seconds=life_seconds,
                network=self._way.launch if self._way else None,
            ),
            self.images,
            self.engine,
            lock=self._lock,
        )
        self._monitor, self._plan, self.report = started
        if self._way is not None and self._way.inherited is not None:
            requests.inherit(self.directory, self._way.inherited)

    def execute(
        self,
        command: str,
        *,
        timeout_seconds: float,
        env: dict[str, str] | None = None,
        stdin: BinaryIO | bytes | None = None,
        on_output: requests.OnOutput | None = None,
        output_limit: int = OUTPUT_LIMIT_BYTES,
        cancel: Cancel | None = None,
    ) -> requests.CommandOutcome:
        """Run one command; see `requests.execute`."""
        try:
            return requests.execute(
                self.directory,
                command,
                timeout_seconds=timeout_seconds,
                env=env,
                stdin=stdin,
                on_output=on_output,
                output_limit=output_limit,
                cancel=cancel,
            )
        except GuestLostError as error:
            event = self._monitor and self._monitor.next_event(within_seconds=1.0)
            if not event:
                raise
            console = event.get("console") or ""
            said = f"; its console ended with: {console}" if console else ""
            raise GuestLostError(f"{event.get('reason')}{said}") from error

    def stop(self) -> None:
        """Flush the guest's disks and end it; the data disk stays."""
        if self._monitor is None:
            return
        with contextlib.suppress(GuestLostError, OSError):
            requests.halt(self.directory, timeout_seconds=_STOP_SECONDS)
            self._monitor.wait(_STOP_SECONDS)
        if self._monitor.running:
            channel.stop(self.directory)
        self._monitor.end()
        self._monitor = None

    def kill(self) -> None:
        """End the guest at once; what it had not written is lost."""
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            monitor.end()

    def close(self) -> None:
        """End the guest and remove everything of it; may be called twice."""
        self._owned.close()
