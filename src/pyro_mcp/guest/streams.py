"""A command's three streams: pipes on one side, frames of its channel on the other.

Nothing is buffered beyond the pipes: while the host does not take output, none is read, and the
command blocks; while the command does not take input, none is read from the host.
"""

from __future__ import annotations

import fcntl
import os

from pyro_mcp import protocol
from pyro_mcp.guest import loop as events
from pyro_mcp.guest.channel import SCRATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.channel import Channel
    from pyro_mcp.guest.loop import Loop

_PIPE_BYTES = 1024 * 1024
_READS_AT_ONCE = 8
"""How often one pipe is read before others have their turn."""


class OutputPump:
    """Carries one pipe's content to the host until its end. Owns the pipe's reading end."""

    def __init__(
        self, loop: Loop, channel: Channel, kind: int, reader: int, on_end: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._kind = kind
        self._reader = reader
        self._on_end = on_end
        self._last = False
        self.ended = False
        os.set_blocking(reader, False)
        self._resume()

    def finish(self) -> None:
        """Nobody writes any more: end with what the pipe still has.

        Its end of file alone would not do: another command may have been given its writing end.
        """
        self._last = True
        self._pump(0)

    def close(self) -> None:
        """Stop at once. May be called twice."""
        if not self.ended:
            self.ended = True
            self._loop.forget(self._reader)
            os.close(self._reader)

    def _resume(self) -> None:
        if self.ended:
            return
        self._loop.watch(self._reader, events.IN, self._pump, self._channel.fail)
        if self._last:
            self._pump(0)

    def _pump(self, _events: int) -> None:
        for _ in range(_READS_AT_ONCE):
            if self.ended:
                return
            if self._channel.blocked:
                self._loop.forget(self._reader)
                self._channel.when_drained(self._resume)
                return
            try:
                view = SCRATCH.view
                size = os.readv(self._reader, (view,))
            except BlockingIOError:
                if self._last:
                    self._end()
                return
            if size == 0:
                self._end()
                return
            self._channel.send(frames_of(self._kind, view[:size]))
            SCRATCH.filled(size)
        if self._last:
            self._loop.call_in(0, self._resume, self._channel.fail)

    def _end(self) -> None:
        self.close()
        self._on_end()


def frames_of(kind: int, data: memoryview) -> list[bytes | memoryview]:
    """Headers and pieces of `data`, ready to be sent as frames of at most DATA_CHUNK."""
    parts: list[bytes | memoryview] = []
    for start in range(0, len(data), protocol.DATA_CHUNK):
        piece = data[start : start + protocol.DATA_CHUNK]
        parts += (protocol.HEADER.pack(len(piece), kind), piece)
    return parts


class InputPump:
    """Carries the host's STDIN frames into a pipe. Owns the pipe's writing end."""

    def __init__(self, loop: Loop, channel: Channel, writer: int) -> None:
        self._loop = loop
        self._channel = channel
        self._writer = writer
        self._queue: list[memoryview] = []
        self._closed = False
        self._end_queued = False
        os.set_blocking(writer, False)

    def write(self, data: bytes) -> None:
        """Take the payload of one frame; an empty one closes the input after all before it.

        What comes after that, or after the command stopped reading, is dropped.
        """
        if self._closed or self._end_queued:
            return
        if data:
            self._queue.append(memoryview(data))
        else:
            self._end_queued = True
        if len(self._queue) <= 1:
            self._flush(0)

    def close(self) -> None:
        """Stop at once. May be called twice."""
        if not self._closed:
            self._closed = True
            self._queue.clear()
            self._loop.forget(self._writer)
            os.close(self._writer)
            self._channel.resume(self)

    def _flush(self, _events: int) -> None:
        while self._queue:
            try:
                written = os.write(self._writer, self._queue[0])
            except BlockingIOError:
                self._channel.pause(self)
                self._loop.watch(self._writer, events.OUT, self._flush, self._channel.fail)
                return
            except BrokenPipeError:
                self.close()
                return
            rest = self._queue[0][written:]
            if rest:
                self._queue[0] = rest
            else:
                del self._queue[0]
        if self._end_queued:
            self.close()
            return
        self._loop.forget(self._writer)
        self._channel.resume(self)


def widen(pipe: int) -> None:
    """Let a pipe hold 1 MiB, so that reader and writer take turns less often."""
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
