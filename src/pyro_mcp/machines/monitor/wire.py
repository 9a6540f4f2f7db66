"""The socket for a guest's frames where there is no network yet: in a namespace that holds nothing.

A guest's kernel takes its socket when it starts, and none later. So a machine whose policy may
change gets one that leads nowhere: a packet socket that is bound to nothing, in a network
namespace with no interface but a loopback that is down. What makes it lead somewhere is made in
that namespace when a policy wants it (see `network.namespace`), by nobody but the gateway.
"""

from __future__ import annotations

import _socket
import os
import sys

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from collections.abc import Callable

_NEW_NAMESPACES = 0x50000000  # CLONE_NEWUSER | CLONE_NEWNET


class Wire:
    """Made by a process of its own, beside whatever is done meanwhile."""

    def __init__(self, pid: int, channel: _socket.socket) -> None:
        self._pid = pid
        self._channel = channel

    @classmethod
    def begin(cls) -> Wire:
        """Have it made."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        uid, gid = os.geteuid(), os.getegid()
        pid = os.fork()
        if pid == 0:
            _make(theirs, uid, gid)
        theirs.close()
        return cls(pid, ours)

    def take(self) -> int:
        """Its descriptor, which is the caller's from then on; -1 where this host allows none."""
        # struct cmsghdr holds one descriptor of 4 bytes.
        _, ancillary, _, _ = self._channel.recvmsg(1, _socket.CMSG_SPACE(4))
        os.waitpid(self._pid, 0)
        self._channel.close()
        if not ancillary:
            return -1
        wire = int.from_bytes(ancillary[0][2][:4], "little")
        os.set_inheritable(wire, False)
        return wire


def _make(out: _socket.socket, uid: int, gid: int) -> None:
    """In the forked child; never returns."""
    try:
        _unshare()(_NEW_NAMESPACES)
        for name, content in (
            ("setgroups", "deny"),
            ("uid_map", f"0 {uid} 1"),
            ("gid_map", f"0 {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123
                file.write(content)
        wire = _socket.socket(_socket.AF_PACKET, _socket.SOCK_RAW, 0)
        rights = wire.fileno().to_bytes(4, "little")
        out.sendmsg([b"+"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    except OSError as error:
        os.write(2, f"pyro: no network can be given later: {error}\n".encode())
    finally:
        os._exit(0)


def _unshare() -> Callable[[int], None]:
    if sys.version_info >= (3, 12):
        return os.unshare
    import _ctypes  # the package around it costs three times as much

    class Int(_ctypes._SimpleCData):  # type: ignore[type-arg]  # no subscript at run time
        _type_ = "i"

    class Function(_ctypes.CFuncPtr):
        _flags_ = 1 | 8  # the C calling convention, and errno
        _restype_ = Int

    library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
    call = Function(_ctypes.dlsym(library, "unshare"))

    def unshare(flags: int) -> None:
        if int(call(flags)) != 0:
            code = _ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    return unshare
