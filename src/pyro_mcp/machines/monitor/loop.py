"""The life of one machine: start the jail, serve it, end it, leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

from pyro_mcp.machines.monitor.console import Console
from pyro_mcp.machines.monitor.launch import start_jail

if TYPE_CHECKING:
    from pyro_mcp.machines.monitor.clients import Clients
    from pyro_mcp.machines.monitor.status import Status
    from pyro_mcp.vsock.device import VsockDevice

API_SOCKET = "api.sock"
VSOCK_SOCKET = "vsock.sock"
CONSOLE_LOG = "console.log"

OWNER_GONE, TTL, SIGNAL = "owner gone", "ttl", "signal"
NOBODY_LEFT = frozenset((OWNER_GONE, TTL, SIGNAL))
"""Reasons after which nobody has a use for the machine's files."""

BOOT_SECONDS = 60.0
"""A guest boots in a tenth of a second; a host with twenty times its load is still waited for."""
_GUEST_CID = 3


class Monitor:
    """Holds everything of one machine; `run` returns when the machine has ended."""

    def __init__(self, launch: dict[str, Any], status: Status) -> None:
        self._launch = launch
        self._status = status
        self._selector = selectors.DefaultSelector()
        self._owned = contextlib.ExitStack()
        self._device: VsockDevice | None = None
        self._clients: Clients | None = None
        self._ready = False
        self._ending: str | None = None
        self._jail_pid = 0

    def run(self) -> str:
        """Carry the machine from start to end; returns why it ended."""
        with self._owned:
            self._owned.callback(self._selector.close)
            self._watch_signals()
            self._watch_owner()
            if self._ending:
                return self._ending
            console = self._start()
            self._serve(console)
            console.read()
            reason = self._reason()
            if not self._ready:
                self._status.failed(reason, console.tail())
            elif reason == "the guest ended" or reason.startswith("channel"):
                self._status.ended(reason, console.tail())
            else:
                self._status.ended(reason, "")
            return reason

    def end(self, reason: str) -> None:
        """Begin to end the machine; the first reason stays."""
        if self._ending is None:
            self._ending = reason
            if self._jail_pid:
                # Not reaped before this loop ends, so the number is still ours.
                os.kill(self._jail_pid, signal.SIGKILL)

    def _reason(self) -> str:
        return self._ending or "the guest ended"

    def _start(self) -> Console:
        launch = self._launch
        console = Console(CONSOLE_LOG)
        self._owned.callback(console.close)
        vsock = self._listen(VSOCK_SOCKET)
        uid = launch["uid"]
        if uid is not None:
            os.chown(VSOCK_SOCKET, uid, uid)
            for path in launch["owned_files"]:
                os.chown(path, uid, uid)
        self._jail_pid = start_jail(
            launch["argv"],
            launch["sources"],
            seccomp=bytes.fromhex(launch["seccomp"]),
            limits=launch["limits"],
            uid=uid,
            cpu=launch["cpu"],
            console=console.writer,
        )
        self._owned.callback(self._reap)
        console.started()
        self._selector.register(
            console.reader, selectors.EVENT_READ, lambda _mask: self._console_has_data(console)
        )
        jail = os.pidfd_open(self._jail_pid)
        self._owned.callback(os.close, jail)
        self._selector.register(jail, selectors.EVENT_READ, self._jail_has_ended)

        # Imported while the kernel boots: it takes longer than this does.
        from pyro_mcp.machines.monitor.clients import Clients
        from pyro_mcp.protocol import READY_PORT
        from pyro_mcp.vsock.device import VsockDevice

        self._device = VsockDevice(
            self._selector, vsock, guest_cid=_GUEST_CID, on_failure=self._channel_failed
        )
        self._owned.callback(self._device.close)
        self._device.listen(READY_PORT, self._agent_reports)
        self._clients = Clients(
            self._selector, self._listen(API_SOCKET), self._device, on_stop=lambda: self.end("stop")
        )
        self._owned.callback(self._clients.close)
        return console

    def _serve(self, console: Console) -> None:
        launch = self._launch
        now = time.monotonic()
        life = launch["life_seconds"]
        expires = now + life if life else float("inf")
        boot_ends = now + BOOT_SECONDS
        while self._jail_pid:
            deadline = expires if self._ready else min(expires, boot_ends)
            left = deadline - time.monotonic()
            if left <= 0:
                if expires == deadline:
                    self.end(TTL)
                else:
                    self.end(f"the agent did not answer within {BOOT_SECONDS:.0f} s")
                expires = boot_ends = float("inf")
                continue
            for key, mask in self._selector.select(None if left == float("inf") else left):
                key.data(mask)

    def _listen(self, name: str) -> socket.socket:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108 - left by an earlier monitor of this machine
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(name)
        listener.listen(64)
        return listener

    def _watch_signals(self) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._owned.callback(os.close, reader)
        self._owned.callback(os.close, writer)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self._selector.register(reader, selectors.EVENT_READ, lambda _mask: self.end(SIGNAL))

    def _watch_owner(self) -> None:
        owner = self._launch["owner_pid"]
        if owner is None:
            return
        try:
            descriptor = os.pidfd_open(owner)
        except ProcessLookupError:
            self.end(OWNER_GONE)
            return
        self._owned.callback(os.close, descriptor)
        self._selector.register(
            descriptor, selectors.EVENT_READ, lambda _mask: self._owner_is_gone(descriptor)
        )
        if os.getppid() != owner:
            self.end(OWNER_GONE)

    def _owner_is_gone(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)
        self.end(OWNER_GONE)

    def _agent_reports(self, _port: int) -> socket.socket | None:
        if self._ready or self._clients is None:
            return None
        from pyro_mcp.machines.monitor.readiness import Readiness

        readiness = Readiness(self._selector, self._agent_is_ready, self.end)
        return readiness.guest_end

    def _agent_is_ready(self, report: dict[str, object]) -> None:
        self._ready = True
        self._status.ready(report)
        if self._clients is not None:
            self._clients.guest_is_ready()

    def _console_has_data(self, console: Console) -> None:
        if not console.read():
            self._selector.unregister(console.reader)

    def _jail_has_ended(self, _mask: int) -> None:
        self._reap()

    def _channel_failed(self, reason: str) -> None:
        # When the kernel process ends its socket closes too; its own end says more.
        if self._ending is None and not self._gone_soon():
            self.end(f"channel: {reason}")

    def _gone_soon(self) -> bool:
        pidfd = os.pidfd_open(self._jail_pid) if self._jail_pid else -1
        if pidfd < 0:
            return True
        try:
            with selectors.DefaultSelector() as waiter:
                waiter.register(pidfd, selectors.EVENT_READ)
                return bool(waiter.select(0.2))
        finally:
            os.close(pidfd)

    def _reap(self) -> None:
        pid, self._jail_pid = self._jail_pid, 0
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
