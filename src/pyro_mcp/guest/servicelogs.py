"""A service's output: the latest part of each stream, in memory that no command can reach."""

from __future__ import annotations

import os

from pyro_mcp import protocol
from pyro_mcp.guest import loop as events
from pyro_mcp.guest.channel import SCRATCH
from pyro_mcp.guest.plain_json import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.channel import Channel
    from pyro_mcp.guest.loop import Loop

_READS_AT_ONCE = 4
"""How often one pipe is read before others have their turn."""


class Ring:
    """The last `size` bytes of a stream, found by their offset in it."""

    def __init__(self, size: int) -> None:
        self._size = size
        # Without a name, and never written to the data disk: a log may hold a secret.
        self._file = os.memfd_create("log", os.MFD_CLOEXEC)
        self.end = 0
        """Bytes there have been."""

    @property
    def start(self) -> int:
        """Offset of the oldest byte that is kept."""
        return self.end if self.closed else max(0, self.end - self._size)

    def add(self, data: memoryview) -> None:
        """Append; the oldest give way."""
        if len(data) > self._size:
            self.end += len(data) - self._size
            data = data[-self._size :]
        at = self.end % self._size
        first = data[: self._size - at]
        os.pwrite(self._file, first, at)
        if len(first) < len(data):
            os.pwrite(self._file, data[len(first) :], 0)
        self.end += len(data)

    def read(self, offset: int, most: int) -> bytes:
        """Up to `most` bytes from `offset`, which lies between start and end."""
        at = offset % self._size
        return os.pread(self._file, min(most, self.end - offset, self._size - at), at)

    @property
    def closed(self) -> bool:
        """Whether the memory was given back."""
        return self._file < 0

    def close(self) -> None:
        """Give the memory back. May be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class LogPump:
    """Carries a pipe into a ring until its end. Owns the pipe's reading end.

    It never waits for a reader of the log, so a service is never held back by one.
    """

    def __init__(self, loop: Loop, reader: int, ring: Ring, on_data: Callable[[], None]) -> None:
        self._loop = loop
        self._reader = reader
        self._ring = ring
        self._on_data = on_data
        self._open = True
        os.set_blocking(reader, False)
        loop.watch(reader, events.IN, self._pump, self._fail)

    def finish(self) -> None:
        """Nobody writes any more: take what the pipe still has, and end."""
        while self._open and self._read():
            pass
        self.close()

    def close(self) -> None:
        """Stop at once. May be called twice."""
        if self._open:
            self._open = False
            self._loop.forget(self._reader)
            os.close(self._reader)

    def _pump(self, _events: int) -> None:
        for _ in range(_READS_AT_ONCE):
            if not self._open or not self._read():
                break
        self._on_data()

    def _read(self) -> bool:
        view = SCRATCH.view
        try:
            size = os.readv(self._reader, (view,))
        except BlockingIOError:
            return False
        if size == 0:
            self.close()
            return False
        self._ring.add(view[:size])
        SCRATCH.filled(size)
        return True

    def _fail(self, _error: Exception) -> None:
        # The guest has no memory for its log: the service goes on without.
        self.close()


class Reader:
    """Sends what the rings have from given offsets on, as the host takes it.

    With `follow` also what comes later, until `follow` says that nothing will. The last frame says
    from where to where each stream was sent. It also comes, with `overrun`, when something gave
    way before it could be sent: the host then knows where the gap is, and asks again.
    """

    def __init__(
        self,
        channel: Channel,
        rings: tuple[Ring, Ring],
        offsets: tuple[int, int],
        *,
        follow: Callable[[], bool] | None,
    ) -> None:
        self._channel = channel
        self._rings = rings
        self._follow = follow
        self._at = [
            min(max(offset, ring.start), ring.end)
            for offset, ring in zip(offsets, rings, strict=True)
        ]
        self._from = tuple(self._at)
        self._waiting = False
        self.done = False
        self.pump()

    def pump(self) -> None:
        """Send what there is."""
        if self._waiting or self.done:
            return
        if self._channel.closed:
            self.done = True
            return
        for number, kind in enumerate((protocol.STDOUT, protocol.STDERR)):
            ring = self._rings[number]
            while self._at[number] < ring.end:
                if self._channel.blocked:
                    self._waiting = True
                    self._channel.when_drained(self._drained)
                    return
                if ring.closed or self._at[number] < ring.start:
                    self._end(overrun=True)
                    return
                data = ring.read(self._at[number], protocol.DATA_CHUNK)
                self._channel.send_frame(kind, data)
                self._at[number] += len(data)
        if self._follow is None or self._follow():
            self._end(overrun=False)

    def _drained(self) -> None:
        self._waiting = False
        self.pump()

    def _end(self, *, overrun: bool) -> None:
        self.done = True
        end: dict[str, str | int | bool | None] = {
            "stdout_from": self._from[0],
            "stdout_to": self._at[0],
            "stderr_from": self._from[1],
            "stderr_to": self._at[1],
            "overrun": overrun,
        }
        self._channel.send_frame(protocol.REPLY, encode(end))
        self._channel.close_when_sent()
