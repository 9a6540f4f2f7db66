"""The socket for a guest's frames where there is no network yet: in a namespace that holds nothing.

A guest's kernel takes its socket when it starts, and none later. So a machine whose policy may
change gets one that leads nowhere: a packet socket that is bound to nothing, in a network
namespace with no interface but a loopback that is down. What makes it lead somewhere is made in
that namespace when a policy wants it (see `network.namespace`), by nobody but the gateway.
"""

from __future__ import annotations

import _socket
import os

from pyro_mcp.host.namespaces import CLONE_NEWNET, CLONE_NEWUSER, become_root_inside, unshare
from pyro_mcp.machines.monitor.uplink import receive_descriptor


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
        _, wire = receive_descriptor(self._channel, 1)
        os.waitpid(self._pid, 0)
        self._channel.close()
        if wire >= 0:
            os.set_inheritable(wire, False)
        return wire


def _make(out: _socket.socket, uid: int, gid: int) -> None:
    """In the forked child; never returns."""
    try:
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
        become_root_inside(uid, gid)
        wire = _socket.socket(_socket.AF_PACKET, _socket.SOCK_RAW, 0)
        rights = wire.fileno().to_bytes(4, "little")
        out.sendmsg([b"+"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    except OSError as error:
        os.write(2, f"pyro: no network can be given later: {error}\n".encode())
    finally:
        os._exit(0)
