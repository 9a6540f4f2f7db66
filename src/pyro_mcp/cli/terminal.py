"""The terminal of the person who runs us, handed to something else for a while."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import termios
import tty
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from pyro_mcp.cli import output
from pyro_mcp.errors import InvalidInputError, OutputWriteError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyro_mcp.sdk.shells import ShellAttachment

_STDIN = 0
_PIECE = 16 * 1024
_SIZE = struct.Struct("4H")
# xterm's control sequences: DEC private modes, and the keypad's.
_MODE = re.compile(rb"\x1b(?:\[\?([0-9;]{1,32})([hl])|([=>]))")
_UNFINISHED = re.compile(rb"\x1b(?:\[(?:\?[0-9;]{0,32})?)?$")
_UNDONE = (1, 9, 47, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1047, 1049, 2004)
_CURSOR = 25
_KEY = re.compile(r"ctrl-([a-z\[\]\\^_@])")
DETACH_KEY = "ctrl-]"


def detach_byte(key: str) -> bytes:
    """The byte of a key such as `ctrl-]`; none for `none`."""
    named = _KEY.fullmatch(key.strip().lower())
    if named:
        return bytes((ord(named[1].upper()) & 0x1F,))
    if key.strip().lower() == "none":
        return b""
    raise InvalidInputError(
        "--detach-key", f"is {key!r}", hint=f"Give one such as {DETACH_KEY} or ctrl-q, or none."
    )


def check() -> None:
    """Refuse to begin without a terminal to hand over."""
    if not (os.isatty(_STDIN) and os.isatty(output.STDOUT)):
        raise InvalidInputError(
            "standard input or output",
            "is no terminal",
            hint="Scripts use 'pyro workspace shell open', 'write', 'read' and 'close'.",
        )


def size() -> tuple[int, int]:
    """Columns and rows; those of an old terminal where it does not say."""
    answer = fcntl.ioctl(_STDIN, termios.TIOCGWINSZ, bytes(_SIZE.size))
    rows, cols, _, _ = _SIZE.unpack(answer)
    return (cols or 80, rows or 24)


def connect(attachment: ShellAttachment, *, detach: bytes) -> dict[str, Any] | None:
    """Both ways, until the shell ends (returned then) or the detach key is pressed (None).

    The terminal is given back as it was, however this ends.
    """
    with ExitStack() as owned:
        resized = owned.enter_context(_resizes())
        modes = owned.enter_context(_raw())
        return _Connection(attachment, modes, resized, detach).run()


class _Connection:
    def __init__(
        self, attachment: ShellAttachment, modes: _Modes, resized: int, detach: bytes
    ) -> None:
        self._attachment = attachment
        self._modes = modes
        self._resized = resized
        self._detach = detach
        self._typed = b""

    def run(self) -> dict[str, Any] | None:
        shell = self._attachment
        cols, rows = size()
        before = shell.screen()
        shell.resize(cols, rows)
        self._show(before)
        if self._modes.full_screen and rows > 1:
            # A full-screen program draws everything anew when the size changes.
            shell.resize(cols, rows - 1)
            shell.resize(cols, rows)
        poll = select.poll()
        poll.register(self._resized, select.POLLIN)
        while True:
            wanted = select.POLLIN | (select.POLLOUT if self._typed else 0)
            poll.register(shell.fileno(), wanted)
            if len(self._typed) < _PIECE:
                poll.register(_STDIN, select.POLLIN)
            else:
                with suppress(KeyError):
                    poll.unregister(_STDIN)
            patience = shell.patience_seconds
            happened = dict(poll.poll(None if patience is None else patience * 1000))
            if self._resized in happened:
                os.read(self._resized, _PIECE)
                shell.resize(*size())
            if _STDIN in happened and not self._take_keys():
                return None
            if self._typed:
                self._typed = self._typed[shell.send(self._typed) :]
            self._show(shell.receive())
            if (ended := shell.ended) is not None:
                return ended

    def _take_keys(self) -> bool:
        try:
            keys = os.read(_STDIN, _PIECE)
        except OSError:
            keys = b""
        if not keys:
            return False  # the terminal is gone
        if self._detach and self._detach in keys:
            before = self._typed + keys[: keys.index(self._detach)]
            while before and (taken := self._attachment.send(before)):
                before = before[taken:]
            return False
        self._typed += keys
        return True

    def _show(self, data: bytes) -> None:
        if data:
            self._modes.follow(data)
            output.write(output.STDOUT, data)


class _Modes:
    """Which modes of the terminal the output has changed."""

    def __init__(self) -> None:
        self._on: set[int] = set()
        self._cursor_hidden = False
        self._keypad = False
        self._rest = b""

    @property
    def full_screen(self) -> bool:
        """Whether the alternate screen is shown."""
        return not self._on.isdisjoint((47, 1047, 1049))

    def follow(self, data: bytes) -> None:
        data = self._rest + data
        for found in _MODE.finditer(data):
            if found[3]:
                self._keypad = found[3] == b"="
                continue
            for number in (int(word) for word in found[1].split(b";") if word):
                if number == _CURSOR:
                    self._cursor_hidden = found[2] == b"l"
                elif found[2] == b"h":
                    self._on.add(number)
                else:
                    self._on.discard(number)
        unfinished = _UNFINISHED.search(data)
        self._rest = unfinished[0] if unfinished else b""

    def undo(self) -> bytes:
        """What takes them back."""
        parts = [b"\x1b[?%dl" % number for number in _UNDONE if number in self._on]
        parts += [b"\x1b[?25h"] if self._cursor_hidden else []
        parts += [b"\x1b>"] if self._keypad else []
        return b"".join((*parts, b"\x1b[0m\r\n"))


@contextmanager
def _raw() -> Iterator[_Modes]:
    """Every key as it is; afterwards all is as it was."""
    before = termios.tcgetattr(_STDIN)
    modes = _Modes()
    try:
        tty.setraw(_STDIN)
        yield modes
    finally:
        # A terminal that is gone has nothing to be restored.
        with suppress(OSError, output.ReaderGoneError, OutputWriteError):
            output.write(output.STDOUT, modes.undo())
        with suppress(termios.error):
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)


@contextmanager
def _resizes() -> Iterator[int]:
    """A descriptor that becomes readable when the terminal has another size."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    old_handler = signal.signal(signal.SIGWINCH, lambda _number, _frame: None)
    old_wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(old_wakeup)
        signal.signal(signal.SIGWINCH, old_handler)
        os.close(reader)
        os.close(writer)
