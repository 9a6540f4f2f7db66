"""The life of one machine: start the jail, serve it, end it, leave nothing behind."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes enums of its numbers
import _socket
import os
import select
import time

from pyro_mcp import protocol
from pyro_mcp.machines.monitor.clients import Clients
from pyro_mcp.machines.monitor.idleness import Idleness
from pyro_mcp.machines.monitor.jailed import Jailed, listen
from pyro_mcp.machines.monitor.placement import Placement
from pyro_mcp.machines.monitor.polling import EVENT_READ, Owned, Selector
from pyro_mcp.machines.monitor.readiness import Readiness
from pyro_mcp.vsock.device import VsockDevice

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from typing import Any

    from pyro_mcp.machines.monitor.console import Console
    from pyro_mcp.machines.monitor.ports import Ports
    from pyro_mcp.machines.monitor.status import Status

API_SOCKET = "api.sock"

OWNER_GONE, TTL, SIGNAL = "owner gone", "ttl", "signal"
NOBODY_LEFT = frozenset((OWNER_GONE, TTL, SIGNAL))
"""Reasons after which nobody has a use for the machine's files."""

BOOT_SECONDS = 60.0
"""A guest boots in a tenth of a second; a host with twenty times its load is still waited for."""
HALT_SECONDS = 10.0
_GUEST_CID = 3


class Monitor:
    """Holds everything of one machine; `run` returns when the machine has ended."""

    def __init__(self, launch: dict[str, Any], jailed: Jailed, status: Status) -> None:
        self._launch = launch
        self._jailed = jailed
        self._status = status
        self._selector = Selector()
        self._owned = Owned()
        self._clients: Clients | None = None
        self._ready = False
        self._ending: str | None = None
        self._device: VsockDevice | None = None
        self._ports: Ports | None = None
        self._owner = -1
        self._expires = float("inf")
        self._told = False

    def run(self) -> str:
        """Carry the machine to its end; returns why it ended."""
        console = self._jailed.console
        with self._owned:
            self._owned.callback(self._selector.close)
            self._owned.callback(console.close)
            self._owned.callback(self._jailed.cut_off)
            self._owned.callback(self._jailed.reap)
            self._watch_signals()
            self._watch_owner()
            self._watch_jail()
            self._offer()
            self._serve()
            console.read()
            reason = self._ending or "the guest ended"
            if not self._ready:
                self._status.failed(reason, console.tail())
            elif self._ending is None or reason.startswith("channel"):
                self._status.ended(reason, console.tail())
            else:
                self._status.ended(reason, "")
            return reason

    def end(self, reason: str) -> None:
        """Begin to end the machine; the first reason stays."""
        if self._ending is None:
            self._ending = reason
            self._jailed.kill()

    def _watch_jail(self) -> None:
        console = self._jailed.console
        self._selector.register(
            console.reader, EVENT_READ, lambda _mask: self._console_has_data(console)
        )
        jail = os.pidfd_open(self._jailed.pid)
        self._owned.callback(os.close, jail)
        self._selector.register(jail, EVENT_READ, lambda _mask: self._jailed.reap())

    def _offer(self) -> None:
        device = VsockDevice(
            self._selector,
            self._jailed.vsock,
            guest_cid=_GUEST_CID,
            on_failure=self._channel_failed,
        )
        self._device = device
        self._owned.callback(device.close)
        device.listen(protocol.READY_PORT, self._agent_reports)
        self._clients = Clients(
            self._selector,
            listen(API_SOCKET),
            device,
            on_stop=lambda: self.end("stop"),
            publish=self._publish,
            unpublish=lambda: self._ports.withdraw() if self._ports is not None else None,
            uplink=self._uplink,
        )
        self._owned.callback(self._clients.close)

    def _publish(self, words: list[bytes]) -> bytes:
        if self._device is None:
            return b""
        if self._ports is None:
            # Imported by the first that needs it.
            from pyro_mcp.machines.monitor.ports import Ports

            self._ports = Ports(self._selector, self._device)
            self._owned.callback(self._ports.close)
        return self._ports.publish(words)

    def _uplink(self, launch: bytes) -> bytes:
        import json

        from pyro_mcp.machines.monitor.uplink import NoNetworkError

        if not self._jailed.can_connect:
            return b"GONE\n"
        try:
            self._jailed.connect(json.loads(launch))
        except NoNetworkError as error:
            return f"NO {error}".replace("\n", " ").encode() + b"\n"
        return b"OK uplink\n"

    def _serve(self) -> None:
        begun = time.monotonic()
        life = self._launch["life_seconds"]
        if life:
            self._expires = begun + life
        boot_ends = begun + BOOT_SECONDS
        idle_file = self._launch["idle_file"]
        idleness = Idleness(idle_file) if idle_file else None
        cpu = self._launch["cpu"]
        placement = None if cpu is None else Placement(self._jailed.pid, cpu)
        while self._jailed.pid:
            deadline = self._expires if self._ready else min(self._expires, boot_ends)
            if self._ready and idleness is not None:
                deadline = min(deadline, idleness.look_again_at)
            if placement is not None:
                deadline = min(deadline, placement.look_again_at)
            left = deadline - time.monotonic()
            if left <= 0:
                if placement is not None and deadline == placement.look_again_at:
                    placement.look()
                elif deadline == self._expires:
                    self.end(TTL)
                    self._expires = float("inf")
                elif not self._ready:
                    self.end(f"the agent did not answer within {BOOT_SECONDS:.0f} s")
                    boot_ends = float("inf")
                elif idleness is not None and idleness.is_over():
                    if self._ports is not None and self._ports.in_use():
                        idleness.begin_again()
                    else:
                        idleness = None
                        self._halt()
                continue
            for key, mask in self._selector.select(None if left == float("inf") else left):
                key.data(mask)

    def _halt(self) -> None:
        """Ask the agent to flush its disks and power off, as a client would.

        A machine that does not within `HALT_SECONDS` is ended.
        """
        self._expires = min(self._expires, time.monotonic() + HALT_SECONDS)
        if self._device is None:
            return
        ours, guests = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        ours.sendall(protocol.preamble() + protocol.json_frame(protocol.REQUEST, {"op": "halt"}))
        self._owned.callback(ours.close)
        self._device.connect(protocol.AGENT_PORT, guests, on_open=lambda _opened: None)

    def _watch_signals(self) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._owned.callback(os.close, reader)
        self._owned.callback(os.close, writer)
        _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
            _signal.signal(number, lambda *_: None)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())

        def told(_mask: int) -> None:
            os.read(reader, 64)
            if self._launch["kept"] and self._ready and not self._told:
                # The host goes down, say: what the guest has not written yet is to be kept.
                self._told = True
                self._halt()
            else:
                self.end(SIGNAL)

        self._selector.register(reader, EVENT_READ, told)

    def _watch_owner(self) -> None:
        owner = self._launch["owner_pid"]
        try:
            descriptor = os.pidfd_open(owner)
        except ProcessLookupError:
            self.end(OWNER_GONE)
            return
        self._owned.callback(os.close, descriptor)
        self._selector.register(descriptor, EVENT_READ, self._owner_is_gone)
        self._owner = descriptor
        if os.getppid() != owner and not self._launch["kept"]:
            self.end(OWNER_GONE)

    def _owner_is_gone(self, _mask: int) -> None:
        self._forget_owner()
        self.end(OWNER_GONE)

    def _forget_owner(self) -> None:
        owner, self._owner = self._owner, -1
        if owner >= 0:
            self._selector.unregister(owner)

    def _agent_reports(self, _port: int) -> _socket.socket | None:
        if self._ready or self._clients is None:
            return None
        readiness = Readiness(self._selector, self._agent_is_ready, self.end)
        return readiness.guest_end

    def _agent_is_ready(self, report: dict[str, object]) -> None:
        self._ready = True
        if self._launch["kept"]:
            self._forget_owner()
        self._status.ready(report)
        if self._clients is not None:
            self._clients.guest_is_ready()

    def _console_has_data(self, console: Console) -> None:
        if not console.read():
            self._selector.unregister(console.reader)

    def _channel_failed(self, reason: str) -> None:
        # When the kernel process ends its socket closes too; its own end says more.
        if self._ending is None and not self._gone_soon():
            self.end(f"channel: {reason}")

    def _gone_soon(self) -> bool:
        pidfd = os.pidfd_open(self._jailed.pid) if self._jailed.pid else -1
        if pidfd < 0:
            return True
        try:
            waiter = select.poll()
            waiter.register(pidfd, select.POLLIN)
            return bool(waiter.poll(200))
        finally:
            os.close(pidfd)
