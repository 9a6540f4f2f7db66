"""What is typed into a terminal: writers in turn, as fast as the program there takes it."""

from __future__ import annotations

import os

from pyro_mcp import protocol
from pyro_mcp.guest import loop as events
from pyro_mcp.guest.requests import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.channel import Channel
    from pyro_mcp.guest.loop import Loop, Timer
    from pyro_mcp.guest.terminal import Terminal

_TRY_AGAIN_SECONDS = 0.05
"""A terminal that drops what is too much for it does not tell when it has room again."""
_AT_ONCE = 2048
"""Bytes between two looks at the terminal's mode."""
_ENDS_OF_LINES = (10, 4)
"""Newline, and the end-of-file character: what a line in canonical mode ends with."""


class NotTakenError(RefusedError):
    """The terminal did not take all of a write; `taken` bytes it did."""

    def __init__(self, why: str, taken: int) -> None:
        super().__init__(protocol.ERROR_INPUT_NOT_TAKEN, why)
        self.taken = taken


class Writer:
    """Types what one connection sends.

    With `on_end` it has its turn from its first byte to the empty frame that ends its input, and
    `on_end` gets how that went; a terminal that takes nothing for SHELL_STALL_MS ends it too.
    Without, it never ends, and others type in between.
    """

    def __init__(
        self,
        keyboard: Keyboard,
        channel: Channel,
        on_end: Callable[[RefusedError | None], None] | None,
    ) -> None:
        self.taken = 0
        self.on_end = on_end
        self.queue: list[memoryview] = []
        self.finished = False
        self.channel = channel
        self._keyboard = keyboard

    def feed(self, data: bytes) -> None:
        """The content of one STDIN frame."""
        if self.finished:
            return
        if data:
            self.queue.append(memoryview(data))
        elif self.on_end is not None:
            self.finished = True
        self._keyboard.has_more(self)

    def leave(self) -> None:
        """Type nothing more. May be called twice."""
        self.finished = True
        self.on_end = None
        self.queue.clear()
        self._keyboard.leave(self)

    def end(self, error: RefusedError | None) -> None:
        """Tell how it went, once."""
        self.queue.clear()
        self.finished = True
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(error)


class Keyboard:
    """The input side of one terminal. `watch` is called when `waiting` may have changed."""

    def __init__(self, loop: Loop, terminal: Terminal, watch: Callable[[], None]) -> None:
        self.waiting = False
        """Whether the terminal has to make room before more can be typed."""
        self._loop = loop
        self._terminal = terminal
        self._watch = watch
        self._writers: list[Writer] = []
        self._line = 0
        self._since = 0.0
        self._timer: Timer | None = None
        self._closed = False

    def has_more(self, writer: Writer) -> None:
        """A writer has something to type, or came to its end."""
        if self._closed:
            # Input that came to its end with nothing left was all typed before the shell ended.
            if writer.queue:
                writer.end(_ended(writer.taken))
            elif writer.finished:
                writer.end(None)
            return
        if writer not in self._writers:
            self._writers.append(writer)
            if len(self._writers) == 1:
                self._since = events.now()
        self.type()

    def leave(self, writer: Writer) -> None:
        """Forget a writer."""
        if writer in self._writers:
            self._writers.remove(writer)
            self._since = events.now()
            self.type()

    def close(self) -> None:
        """The terminal is gone: whoever has more to type is told. May be called twice."""
        self._closed = True
        self.waiting = False
        self._loop.cancel(self._timer)
        writers, self._writers = self._writers, []
        for writer in writers:
            self.has_more(writer)

    def type(self) -> None:
        """Type as much as there is room for."""
        waiting = self._type()
        self._loop.cancel(self._timer)
        self._timer = None
        if self._writers and not self._closed:
            seconds = _TRY_AGAIN_SECONDS if waiting else protocol.SHELL_STALL_MS / 1000
            self._timer = self._loop.call_in(seconds, self._look_again)
        if waiting != self.waiting:
            self.waiting = waiting
            self._watch()

    def _type(self) -> bool:
        while self._writers and not self._closed:
            writer = self._writers[0]
            if writer.queue:
                try:
                    taken = self._put(writer)
                except BlockingIOError:
                    writer.channel.pause(writer)
                    return True
                except OSError:
                    self._turn_ends(_ended(writer.taken))
                    continue
                except NotTakenError as error:
                    self._turn_ends(error)
                    continue
                writer.taken += taken
                self._since = events.now()
            elif writer.finished or writer.on_end is None:
                self._turn_ends(None)
            else:
                writer.channel.resume(writer)
                return False
        return False

    def _turn_ends(self, error: RefusedError | None) -> None:
        writer = self._writers.pop(0)
        self._since = events.now()
        writer.channel.resume(writer)
        if error is not None or writer.finished:
            writer.end(error)

    def _put(self, writer: Writer) -> int:
        data = writer.queue[0][:_AT_ONCE]
        # A person sees what becomes of a line that is too long; a program would not know.
        if writer.on_end is not None and self._terminal.is_canonical():
            ends = [at + 1 for end in _ENDS_OF_LINES if (at := bytes(data).find(end)) >= 0]
            data = data[: min(ends, default=len(data))]
            if self._line + len(data) > protocol.LONGEST_TERMINAL_LINE:
                raise NotTakenError(
                    "the program in the terminal reads whole lines, of which Linux keeps "
                    f"{protocol.LONGEST_TERMINAL_LINE} bytes each, and this one is longer",
                    writer.taken,
                )
            taken = os.write(self._terminal.master, data)
            self._line = 0 if ends and taken == len(data) else self._line + taken
        else:
            taken = os.write(self._terminal.master, data)
            self._line = 0
        if taken == len(writer.queue[0]):
            del writer.queue[0]
        else:
            writer.queue[0] = writer.queue[0][taken:]
        return taken

    def _look_again(self) -> None:
        self._timer = None
        writer = self._writers[0]
        stalled = events.now() - self._since >= protocol.SHELL_STALL_MS / 1000
        if stalled and writer.on_end is not None:
            seconds = protocol.SHELL_STALL_MS // 1000
            why = f"the program in the terminal read no input for {seconds} s"
            self._turn_ends(NotTakenError(why, writer.taken))
        self.type()


def _ended(taken: int) -> NotTakenError:
    return NotTakenError("the shell has ended", taken)
