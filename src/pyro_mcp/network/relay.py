"""One connection, carried between the guest's side and the host's."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from pyro_mcp.network.loop import READ, WRITE, Loop

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 256 * 1024
_CHUNKS_A_TURN = 4
"""Then the others have theirs."""
_FEW, _MANY = 8, 256
_BYTES_OF_SOME, _BYTES_OF_MANY = 128 * 1024, 32 * 1024
_buffer = bytearray(_CHUNK)
_view = memoryview(_buffer)


def bound(sock: socket.socket, live: int) -> None:
    """Limit the kernel's buffers for a connection of a guest that has `live` others.

    Their memory is the whole host's: one guest that opens many and reads none must not use it up.
    The first ones are left to grow with the way they take.
    """
    if live >= _FEW:
        size = _BYTES_OF_SOME if live < _MANY else _BYTES_OF_MANY
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, size)


class _Way:
    """One direction."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.target = target
        self.waiting = memoryview(b"")
        self.total = 0
        self.ended = False

    def carry(self) -> None:
        """Move what can be moved without waiting."""
        for _ in range(_CHUNKS_A_TURN):
            if self.waiting:
                self._send(self.waiting)
                if self.waiting:
                    return
            if self.ended:
                return
            try:
                count = self.source.recv_into(_buffer)
            except BlockingIOError:
                return
            if count == 0:
                self.ended = True
                self.target.shutdown(socket.SHUT_WR)
                return
            self.total += count
            self._send(_view[:count], own=True)

    def _send(self, data: memoryview, *, own: bool = False) -> None:
        try:
            sent = self.target.send(data)
        except BlockingIOError:
            sent = 0
        rest = data[sent:]
        # The buffer is everybody's: what stays is copied out of it.
        self.waiting = memoryview(bytes(rest)) if own and rest else rest


class Relay:
    """Carries a connection to its end, then calls `on_end` once."""

    def __init__(
        self,
        loop: Loop,
        guest: socket.socket,
        host: socket.socket,
        on_end: Callable[[Relay], None],
    ) -> None:
        self._loop = loop
        self._guest = guest
        self._host = host
        self._on_end = on_end
        self._out = _Way(guest, host)
        self._in = _Way(host, guest)
        for sock in (guest, host):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def start(self) -> None:
        """Begin."""
        self._turn(0)

    @property
    def bytes_out(self) -> int:
        """Sent by the guest."""
        return self._out.total

    @property
    def bytes_in(self) -> int:
        """Received by the guest."""
        return self._in.total

    def reset(self) -> None:
        """End it at once, so that both sides see it broken."""
        for sock in (self._guest, self._host):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._end()

    def _turn(self, _events: int) -> None:
        try:
            self._out.carry()
            self._in.carry()
        except OSError:
            self.reset()
            return
        ways = (self._out, self._in)
        if all(way.ended and not way.waiting for way in ways):
            self._end()
            return
        for mine, other in (ways, ways[::-1]):
            events = 0 if mine.ended or mine.waiting else READ
            self._loop.watch(mine.source, events | (WRITE if other.waiting else 0), self._turn)

    def _end(self) -> None:
        for sock in (self._guest, self._host):
            self._loop.forget(sock)
            sock.close()
        self._on_end(self)
