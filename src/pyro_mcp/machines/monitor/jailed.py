"""The jail and what it needs from its first moment: started before anything else is imported.

The guest kernel takes longer to boot than the monitor's other modules take to load, so what is
not needed here waits until it boots. `_socket` is the C half of `socket`, at a tenth of the cost.
"""

from __future__ import annotations

import _socket
import os

from pyro_mcp.machines.monitor.console import Console
from pyro_mcp.machines.monitor.launch import start_jail
from pyro_mcp.machines.monitor.uplink import Uplink

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from typing import Any, Self

    from pyro_mcp.machines.monitor.wire import Wire

VSOCK_SOCKET = "vsock.sock"
CONSOLE_LOG = "console.log"
_KILL, _STOP = 9, 19


class Jailed:
    """The jail's process, its console, and the socket to which its kernel will connect."""

    def __init__(
        self,
        console: Console,
        vsock: _socket.socket,
        uplink: Uplink | None,
        wire: int,
        uid: int | None,
        pid: int,
    ) -> None:
        self.console = console
        self.vsock = vsock
        """Bound and listening; closed by who takes it over."""
        self.uplink = uplink
        """The machine's way out, if it has one."""
        self._wire = wire
        self._uid = uid
        self.pid = pid
        """0 once the process has been reaped."""

    @classmethod
    def start(cls, launch: dict[str, Any], wire: Wire | None) -> Self:
        """Start the jail that `launch` describes; the working directory is the machine's.

        `wire` is for a guest that may get its network later.

        Raises:
            NoNetworkError: The host does not give it the network it should have.
        """
        uid = launch["uid"]
        # First: where there is no network, no guest boots.
        uplink = Uplink.start(launch["network"], uid) if launch["network"] else None
        console = Console(CONSOLE_LOG)
        vsock = listen(VSOCK_SOCKET)
        if uid is not None:
            os.chown(VSOCK_SOCKET, uid, uid)
            for path in launch["owned_files"]:
                os.chown(path, uid, uid)
        spare = -1 if wire is None else wire.take()
        pid = start_jail(
            launch["argv"],
            launch["sources"],
            seccomp=launch["seccomp"],
            limits=launch["limits"],
            uid=uid,
            cpu=launch["cpu"],
            console=console.writer,
            wire=uplink.wire if uplink is not None else spare if spare >= 0 else None,
        )
        console.started()
        if uplink is not None:
            uplink.handed_on()
        return cls(console, vsock, uplink, spare, uid, pid)

    @property
    def can_connect(self) -> bool:
        """Whether its kernel has a socket that leads nowhere so far."""
        return self._wire >= 0

    def connect(self, launch: dict[str, Any]) -> None:
        """Give a machine that was started without one its way out.

        Raises:
            NoNetworkError: The host does not give it, and all is as it was.
        """
        self.uplink = Uplink.start(launch, self._uid, self._wire)
        self.uplink.handed_on()
        os.close(self._wire)
        self._wire = -1

    def kill(self) -> None:
        """Begin to end it: bubblewrap takes its whole tree along."""
        if self.pid:
            # Not reaped before `reap`, so the number is still ours.
            _kill_with_children(self.pid)

    def reap(self) -> None:
        """End it and wait until it has; may be called twice."""
        pid, self.pid = self.pid, 0
        if pid:
            _kill_with_children(pid)
            os.waitpid(pid, 0)

    def cut_off(self) -> None:
        """End the machine's way out; may be called twice."""
        if self.uplink is not None:
            self.uplink.close()


def _kill_with_children(pid: int) -> None:
    """Kill bubblewrap, and the process it has made for the inside.

    That one ends with its parent only from the moment it has asked for it, and before that it
    waits for a word of the parent's, for ever. Stopped, the parent makes no further one and reaps
    none, so the numbers hold.
    """
    os.kill(pid, _STOP)
    # Until it has stopped, or ended; either way it is not reaped here.
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as source:  # noqa: PTH123
            children = source.read().split()
    except OSError:  # a kernel without the list
        children = []
    for child in children:
        try:  # noqa: SIM105 - contextlib is not loaded yet
            os.kill(int(child), _KILL)
        except ProcessLookupError:
            pass
    os.kill(pid, _KILL)


def listen(name: str) -> _socket.socket:
    """A unix socket in the machine's directory."""
    try:  # noqa: SIM105 - contextlib is not loaded yet
        os.unlink(name)  # noqa: PTH108 - left by an earlier monitor of this machine
    except FileNotFoundError:
        pass
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    listener.bind(name)
    listener.listen(64)
    return listener
