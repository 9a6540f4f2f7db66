"""A terminal emulator that keeps text and no colours.

pyte does the emulation. Added here is what it lacks: the alternate screen, scrolled-off lines,
wide characters at the right edge, zero-width characters, and a few sequences of xterm's terminfo.
Sequences that it would take for text are left out before it sees them. Import this module where
it is needed: pyte costs start-up time.
"""

from __future__ import annotations

import functools
import inspect
import re
from typing import Any

import pyte
from pyte import modes
from pyte.charsets import LAT1_MAP
from pyte.screens import Char, Cursor, StaticDefaultDict

_Line = StaticDefaultDict[int, Char]

_DRAWN = "drawn"
"""In place of a colour: tells a space that was written from one that was never."""
_BLANK = Char(" ")
_MOST_IN_A_CELL = 16
_MOST_CELLS = 65536
_MOST_REPEATED = 2_000_000
"""Characters and lines that a few bytes of output each can ask for, in one rendering."""
_PRIVATE = 5
"""pyte shifts the numbers of private modes by so many bits."""
_ALTERNATE = frozenset((47, 1047, 1049))
_IGNORED = frozenset((3, 5, 6))
"""132 columns, reverse video, origin mode: nobody uses them, and pyte trips over them."""

# ECMA-48, 5.6 and 8.3: control strings; control sequences with intermediate bytes or a private
# parameter; graphic rendition. xterm's answers are none of a reader's business.
_NOT_TEXT = re.compile(
    r"\x1b[PX^_\]][^\x1b\x07]*(?:\x07|\x1b\\|\x1b(?=[^\\])|$)"
    r"|\x1b\[[0-9;:]*m"
    r"|\x1b\[[<=>][0-?]*[ -/]*[@-~]"
    r"|\x1b\[[0-?]*[ -/]+[@-~]"
    r"|\x1b\[\?[0-?]*[@-gi-km-~]"
    r"|\x1b\[[0-9;]*:[0-?]*[ -/]*[@-~]"
    # Lines of double size, and a screen full of E: three bytes that draw every cell.
    r"|\x1b#[0-9]"
)


_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[PX^_\]][^\x1b\x07]*\x1b?|[()#%])?$")


class Screen(pyte.Screen):
    """A screen with lines that scrolled off it, and an alternate one."""

    buffer: _Rows  # type: ignore[assignment]  # all that pyte does with it works

    def __init__(self, cols: int, rows: int) -> None:
        self.scrolled: list[str] = []
        self.forgot = False
        """Whether the lines that had scrolled off were erased on purpose."""
        self._main: tuple[_Rows, Cursor] | None = None
        self._last = ""
        self._repeats_left = _MOST_REPEATED
        super().__init__(cols, rows)
        self.buffer = _Rows()
        for name in set(_Stream.csi.values()) - {"set_mode", "reset_mode"}:
            setattr(self, name, _lenient(getattr(self, name)))

    @property
    def alternate(self) -> bool:
        """Whether the alternate screen is shown: a full-screen program has the terminal."""
        return self._main is not None

    @property
    def private_modes(self) -> list[int]:
        """Numbers of the DEC private modes that are set."""
        return sorted(mode >> _PRIVATE for mode in self.mode if mode >= 1 << _PRIVATE)

    @property
    def rows_shown(self) -> list[str]:
        """The rows of the screen, as far as anything was written on them."""
        return [self.buffer.text(y, self.columns) for y in range(self.lines)]

    @property
    def all_lines(self) -> list[str]:
        """Those that scrolled off, and the rows of the main screen."""
        main = self.buffer if self._main is None else self._main[0]
        return self.scrolled + [main.text(y, self.columns) for y in range(self.lines)]

    @property
    def cursor_line(self) -> int:
        """Which of `all_lines` the cursor is on."""
        cursor = self.cursor if self._main is None else self._main[1]
        return len(self.scrolled) + cursor.y

    def draw(self, data: str) -> None:
        charset = self.g1_charset if self.charset else self.g0_charset
        if charset is not LAT1_MAP:
            data = data.translate(charset)
        if data.isascii() and data.isprintable() and modes.IRM not in self.mode:
            self._draw_plain(data)
        else:
            for char in data:
                self._draw_one(char)

    def index(self) -> None:
        top, bottom = self.margins or (0, self.lines - 1)
        if self.cursor.y != bottom:
            self.cursor_down()
            return
        if top == 0 and not self.alternate:
            self.scrolled.append(self.buffer.text(0, self.columns))
        self.buffer.move_up(top, bottom, self.lines)

    def reverse_index(self) -> None:
        top, bottom = self.margins or (0, self.lines - 1)
        if self.cursor.y == top:
            self.buffer.move_down(top, bottom)
        else:
            self.cursor_up()

    def erase_in_display(self, how: int = 0, *_args: Any, **_kwargs: Any) -> None:
        y = self.cursor.y
        if how == 3:
            self.scrolled.clear()
            self.forgot = True
        elif how in (0, 1, 2):
            erased = {0: range(y + 1, self.lines), 1: range(y), 2: range(self.lines)}[how]
            for row in erased:
                self.buffer.pop(row, None)
            if how != 2:
                self.erase_in_line(how)

    def erase_in_line(self, how: int = 0, private: bool = False) -> None:
        x, line = self.cursor.x, self.buffer[self.cursor.y]
        keep = {0: range(x), 1: range(x + 1, self.columns)}.get(how, range(0))
        if how in (0, 1, 2):
            self.buffer[self.cursor.y] = _line({at: line[at] for at in line if at in keep})

    def insert_characters(self, count: int | None = None) -> None:
        self._shift(max(count or 1, 1))

    def delete_characters(self, count: int | None = None) -> None:
        self._shift(-max(count or 1, 1))

    def reset(self) -> None:
        self._main = None
        super().reset()

    def set_mode(self, *numbers: int, **kwargs: Any) -> None:
        private = bool(kwargs.get("private"))
        if private and _ALTERNATE.intersection(numbers) and self._main is None:
            self._main = (self.buffer, self.cursor)
            self.buffer = _Rows()
            self.cursor = Cursor(self.cursor.x, self.cursor.y)
        super().set_mode(*_known(numbers, private), private=private)

    def reset_mode(self, *numbers: int, **kwargs: Any) -> None:
        private = bool(kwargs.get("private"))
        if private and _ALTERNATE.intersection(numbers) and self._main is not None:
            (self.buffer, self.cursor), self._main = self._main, None
            self.margins = None
        super().reset_mode(*_known(numbers, private), private=private)

    def report_device_attributes(self, *_numbers: Any, **_kwargs: Any) -> None:
        """Nobody waits for an answer."""

    def report_device_status(self, *_numbers: Any, **_kwargs: Any) -> None:
        """Nobody waits for an answer."""

    def repeat(self, count: int = 1) -> None:
        """REP: the last character again."""
        self.draw(self._last * self._allowed(min(count or 1, self.columns)))

    def scroll_up(self, count: int = 1) -> None:
        """SU: new lines at the bottom."""
        y, self.cursor.y = self.cursor.y, (self.margins or (0, self.lines - 1))[1]
        for _ in range(self._allowed(min(count or 1, self.lines))):
            self.index()
        self.cursor.y = y

    def scroll_down(self, count: int = 1) -> None:
        """SD: new lines at the top."""
        top, bottom = self.margins or (0, self.lines - 1)
        self.buffer.move_down(top, bottom, count or 1)

    def back_tab(self, count: int = 1) -> None:
        """CBT: to the tab stop before."""
        stops = [0, *(stop for stop in sorted(self.tabstops) if stop < self.cursor.x)]
        self.cursor.x = stops[max(-(count or 1), -len(stops))]

    def _allowed(self, count: int) -> int:
        """As many of these as may still be; output that asks for more is none of a person's."""
        count = min(count, self._repeats_left)
        self._repeats_left -= count
        return count

    def _draw_plain(self, data: str) -> None:
        at, cursor = 0, self.cursor
        while at < len(data):
            if cursor.x >= self.columns:
                self._at_the_edge(1)
            size = min(self.columns - cursor.x, len(data) - at)
            end = cursor.x + size
            line = self.buffer[cursor.y]
            self._split_wide(line, cursor.x)
            self._split_wide(line, end)
            cells = map(_CELLS.__getitem__, data[at : at + size])
            line.update(zip(range(cursor.x, end), cells, strict=True))
            cursor.x = end
            at += size
        self._last = data[-1:]

    def _draw_one(self, char: str) -> None:
        cursor = self.cursor
        width = pyte.screens.wcwidth(char)
        if width <= 0:
            if width == 0:
                self._combine(char)
            return
        if cursor.x + width > self.columns:
            self._at_the_edge(width)
        if modes.IRM in self.mode:
            self.insert_characters(width)
        line = self.buffer[cursor.y]
        self._split_wide(line, cursor.x)
        self._split_wide(line, cursor.x + width)
        line[cursor.x] = _CELLS[char]
        if width == 2:
            line[cursor.x + 1] = _CELLS[""]
        cursor.x = min(cursor.x + width, self.columns)
        self._last = char

    def _at_the_edge(self, width: int) -> None:
        if modes.DECAWM in self.mode:
            self.carriage_return()
            self.linefeed()
        else:
            self.cursor.x = max(self.columns - width, 0)

    def _split_wide(self, line: _Line, x: int) -> None:
        """What is written at `x` destroys the wide character around it, if there is one."""
        if line[x].data == "":
            line[x - 1] = line[x] = _BLANK

    def _combine(self, char: str) -> None:
        line = self.buffer[self.cursor.y]
        for x in (self.cursor.x - 1, self.cursor.x - 2):
            cell = line[x]
            if x >= 0 and cell.data:
                if len(cell.data) < _MOST_IN_A_CELL:
                    line[x] = Char(cell.data + char, _DRAWN)
                return

    def _shift(self, by: int) -> None:
        """Move the rest of the cursor's line; what leaves it is gone."""
        x, line = self.cursor.x, self.buffer[self.cursor.y]
        moved = {at: cell for at, cell in line.items() if at < x}
        for at, cell in line.items():
            if at >= x and x <= at + by < self.columns:
                moved[at + by] = cell
        self.buffer[self.cursor.y] = _line(moved)


class _Rows:
    """The lines of a screen, those that were written on; scrolling moves none of them."""

    def __init__(self) -> None:
        self._lines: dict[int, _Line] = {}
        self._first = 0

    def __getitem__(self, y: int) -> _Line:
        line = self._lines.get(self._first + y)
        if line is None:
            line = self._lines[self._first + y] = _line({})
        return line

    def __setitem__(self, y: int, line: _Line) -> None:
        self._lines[self._first + y] = line

    def __contains__(self, y: int) -> bool:
        return self._first + y in self._lines

    def pop(self, y: int, default: _Line | None = None) -> _Line | None:
        return self._lines.pop(self._first + y, default)

    def clear(self) -> None:
        self._lines.clear()

    def values(self) -> list[_Line]:
        return list(self._lines.values())

    def text(self, y: int, columns: int) -> str:
        """A line up to the last character that was written on it."""
        line = self._lines.get(self._first + y)
        if not line:
            return ""
        last = max((x for x, cell in line.items() if cell.fg == _DRAWN), default=-1)
        return "".join([line[x].data for x in range(min(last + 1, columns))])

    def move_up(self, top: int, bottom: int, rows: int) -> None:
        """The first of these lines goes, the last one is new."""
        if top == 0 and bottom == rows - 1:
            self.pop(0)
            self._first += 1
            return
        for y in range(top, bottom):
            self._move(y + 1, y)
        self.pop(bottom)

    def move_down(self, top: int, bottom: int, count: int = 1) -> None:
        """The last of these lines go, the first ones are new."""
        count = min(count, bottom - top + 1)
        for y in range(bottom, top + count - 1, -1):
            self._move(y - count, y)
        for y in range(top, top + count):
            self.pop(y)

    def _move(self, start: int, to: int) -> None:
        line = self.pop(start)
        if line is None:
            self.pop(to)
        else:
            self[to] = line


class _Stream(pyte.Stream):
    csi = {  # noqa: RUF012 - declared so by pyte
        **pyte.Stream.csi,
        "s": "save_cursor",
        "u": "restore_cursor",
        "b": "repeat",
        "S": "scroll_up",
        "T": "scroll_down",
        "Z": "back_tab",
    }


class Renderer:
    """Output in, screen out; output may be cut anywhere."""

    def __init__(self, cols: int, rows: int) -> None:
        self.screen = Screen(cols, rows)
        self._rest = ""
        self._stream = _Stream(self.screen)
        # Or it ignores the line drawing characters.
        self._stream.use_utf8 = False

    def feed(self, text: str) -> None:
        """More output."""
        text = self._rest + text
        unfinished = _UNFINISHED.search(text)
        self._rest = unfinished[0] if unfinished else ""
        self._stream.feed(_NOT_TEXT.sub("", text[: len(text) - len(self._rest)]))


def width(text: str) -> int:
    """How many columns it takes."""
    return len(text) if text.isascii() else sum(max(pyte.screens.wcwidth(c), 0) for c in text)


def _known(numbers: tuple[int, ...], private: bool) -> list[int]:
    return [number for number in numbers if not private or number not in _IGNORED]


def _lenient(method: Any) -> Any:
    """The method, called with no more parameters than it knows."""
    most = 0
    for parameter in inspect.signature(method).parameters.values():
        most = 99 if parameter.kind is parameter.VAR_POSITIONAL else most + 1

    @functools.wraps(method)
    def call(*numbers: int, **_kwargs: Any) -> None:
        method(*numbers[:most])

    return call


def _line(cells: dict[int, Char]) -> _Line:
    line: _Line = StaticDefaultDict(_BLANK)
    line.update(cells)
    return line


class _Cells(dict[str, Char]):
    """A cell for each character there is; what is drawn is shared."""

    def __missing__(self, char: str) -> Char:
        if len(self) >= _MOST_CELLS:
            self.clear()
        cell = self[char] = Char(char, _DRAWN)
        return cell


_CELLS = _Cells()
