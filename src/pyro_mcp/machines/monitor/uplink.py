"""The machine's gateway, as the monitor has it: a forked process and one socket for the kernel."""

from __future__ import annotations

import _socket
import os

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from typing import Any

_LONGEST_ANSWER = 4096


class NoNetworkError(Exception):
    """The host does not give the machine a network; says why."""


class Uplink:
    """Ends the gateway with `close`; otherwise it ends with this process."""

    def __init__(self, pid: int, channel: _socket.socket, wire: int) -> None:
        self._pid = pid
        self._channel = channel
        self._wire = wire

    @property
    def wire(self) -> int:
        """The descriptor that the guest's kernel sends its frames to."""
        return self._wire

    @classmethod
    def start(cls, launch: dict[str, Any], uid: int | None, wire: int = -1) -> Uplink:
        """Fork the gateway and wait for its socket.

        `wire` is the socket that the guest's kernel has, if it runs already; it stays the caller's.

        Raises:
            NoNetworkError: Nothing is left.
        """
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        pid = os.fork()
        if pid == 0:
            _become(launch, theirs, uid, wire)
        theirs.close()
        answer, given = receive_descriptor(ours, _LONGEST_ANSWER)
        if answer != b"+" or given < 0:
            os.waitpid(pid, 0)
            ours.close()
            why = answer[1:].decode(errors="replace") or "the gateway ended without a word"
            raise NoNetworkError(why)
        return cls(pid, ours, given)

    def handed_on(self) -> None:
        """The jail has the wire now; ours goes, so that the guest's namespace ends with it."""
        if self._wire >= 0:
            os.close(self._wire)
            self._wire = -1

    def close(self) -> None:
        """Let it write what it knows of open connections, and wait for its end; twice is fine."""
        pid, self._pid = self._pid, 0
        if pid:
            self.handed_on()
            self._channel.close()
            os.waitpid(pid, 0)


def receive_descriptor(channel: _socket.socket, longest: int) -> tuple[bytes, int]:
    """What comes, and the descriptor that comes with it; -1 if none does."""
    # struct cmsghdr holds one descriptor of 4 bytes.
    said, ancillary, _, _ = channel.recvmsg(longest, _socket.CMSG_SPACE(4))
    return said, int.from_bytes(ancillary[0][2][:4], "little") if ancillary else -1


def _become(launch: dict[str, Any], channel: _socket.socket, uid: int | None, wire: int) -> None:
    """Turn this forked child into the gateway; never returns."""
    try:
        import socket

        from pyro_mcp.network import gateway

        gateway.run(
            launch,
            socket.socket(fileno=channel.detach()),
            uid,
            socket.socket(fileno=wire) if wire >= 0 else None,
        )
    except BaseException as error:  # noqa: BLE001 - this is the child: it must not return
        os.write(2, f"pyro: cannot start the gateway: {error!r}\n".encode())
    finally:
        os._exit(127)
