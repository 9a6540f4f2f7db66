"""What a person would see of a shell's output.

Values of secrets are left out of it once more after it was drawn: only then one is in a piece
whose output had colours in it, was typed over, or was placed letter by letter.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from itertools import zip_longest
from typing import TYPE_CHECKING

from pyro_mcp.boundary.redact import SHORTEST, merged, replaced
from pyro_mcp.workspaces.screen import Renderer, Screen, width

if TYPE_CHECKING:
    from pyro_mcp.boundary.redact import Redactor

CONTEXT_BYTES = 128 * 1024
"""Output before a stretch that is looked at to know what the screen was like."""

_SWITCH = re.compile(r"\x1b\[\?(?:47|1047|1049)([hl])")
_CLEARED = re.compile(r"\x1bc|\x1b\[2J")
_LINES_OF_CONTEXT = 3
"""Screens full of lines before a stretch that are rendered."""
_CURSOR_SHOWN = 25
_KEPT_MODES = frozenset((1, 1000, 1002, 1003, 1004, 1006, 2004))
"""Cursor keys, mouse, focus, bracketed paste: xterm's DEC private modes."""


def seen(before: str, text: str, *, cols: int, rows: int, redactor: Redactor) -> tuple[str, bool]:
    """What a person sees of `text`, coming after `before`, on a screen of that size.

    And whether a value of a secret was left out of it.

    Every line that it wrote to, whole, as it stands afterwards, also those that have scrolled off.
    While a full-screen program has the terminal, its screen instead.
    """
    if not text:
        return "", False
    renderer = Renderer(cols, rows)
    screen = renderer.screen
    renderer.feed(_recent(before, rows))
    lines_before = screen.all_lines
    screen.forgot = False
    renderer.feed(text)
    if screen.alternate:
        shown = "\n".join(line.rstrip() for line in screen.rows_shown).rstrip("\n").split("\n")
        return _without_values([*shown, ""], 0, cols, redactor)
    lines = screen.all_lines
    first = 0 if screen.forgot else _first_change(lines_before, lines)
    last = max((number for number, line in enumerate(lines) if line), default=-1)
    return _without_values(lines[: max(last, screen.cursor_line) + 1], first, cols, redactor)


def screen_at(text: str, *, cols: int, rows: int) -> Screen:
    """The screen after all of this output."""
    renderer = Renderer(cols, rows)
    renderer.feed(_recent(text, rows))
    return renderer.screen


def _recent(before: str, rows: int) -> str:
    """As much of the end as decides what the screen is like."""
    switches = list(_SWITCH.finditer(before))
    if switches and switches[-1][1] == "h":
        cleared = list(_CLEARED.finditer(before, switches[-1].end()))
        at = cleared[-1].start() if cleared else switches[-1].end()
        return f"\x1b[?1049h{before[at:]}"
    start = switches[-1].end() if switches else 0
    end = len(before)
    for _ in range(rows * _LINES_OF_CONTEXT):
        end = before.rfind("\n", start, end)
        if end < 0:
            return before[start:]
    return before[end + 1 :]


def _first_change(before: list[str], after: list[str]) -> int:
    for number, (old, new) in enumerate(zip_longest(before, after, fillvalue="")):
        if old != new:
            return number
    return len(after)


def _without_values(
    lines: list[str], first: int, cols: int, redactor: Redactor
) -> tuple[str, bool]:
    """The lines from `first` on, where those before decide too what is a value."""
    if not redactor:
        return "\n".join(lines[first:]), False
    data, spans = _values(lines, cols, redactor)
    start = len("".join(f"{line}\n" for line in lines[:first]).encode())
    spans = [span for span in spans if span[1] > start]
    return replaced(data, spans, start).decode(), bool(spans)


def _masked(lines: list[str], cols: int, redactor: Redactor) -> list[str]:
    """All lines, each character of a value a `*`: everything stays in its place."""
    if not redactor:
        return lines
    data, spans = _values(lines, cols, redactor)
    pieces, at = [], 0
    for start, end in spans:
        value = data[start:end].decode()
        stars = ("\n" if char == "\n" else "*" * max(width(char), 0) for char in value)
        pieces += [data[at:start].decode(), "".join(stars)]
        at = end
    return "".join((*pieces, data[at:].decode())).split("\n")


def _values(lines: list[str], cols: int, redactor: Redactor) -> tuple[bytes, list[tuple[int, int]]]:
    """The lines as one text, and where values are in it, also across the ends of full lines.

    A beginning of one at its end counts, as it does where output is cut.
    """
    data = "\n".join(lines).encode()
    flat = bytearray()
    wraps: list[int] = []
    for line in lines:
        flat += line.encode()
        # A wide character that did not fit leaves a column free.
        if width(line) >= cols - 1:
            wraps.append(len(flat))
        else:
            flat += b"\n"
    if not wraps or wraps[-1] < len(flat):
        del flat[-1:]
    unwrapped = redactor.spans(bytes(flat))
    if (size := redactor.held_back(bytes(flat))) >= SHORTEST:
        unwrapped.append((len(flat) - size, len(flat)))
    spans = [
        (start + bisect_right(wraps, start), end + bisect_left(wraps, end))
        for start, end in unwrapped
    ]
    return data, merged((*redactor.spans(data), *spans))


def painted(text: str, *, cols: int, rows: int, redactor: Redactor) -> bytes:
    """What makes a person's terminal look as this output would have left it.

    For one who comes later: text and position, without colours, and the modes that decide what
    its keys send.
    """
    screen = screen_at(text, cols=cols, rows=rows)
    cursor = screen.cursor
    if screen.alternate:
        lines = _masked([line.rstrip() for line in screen.rows_shown], cols, redactor)
        where = f"\x1b[{cursor.y + 1};{cursor.x + 1}H"
        parts = ["\x1b[?1049h\x1b[H\x1b[2J", "\r\n".join(lines), where]
    else:
        lines = _masked(screen.all_lines[: screen.cursor_line + 1], cols, redactor)[-rows:]
        right = f"\x1b[{cursor.x}C" if cursor.x else ""
        parts = ["\r\n".join(lines), "\r", right]
    modes = screen.private_modes
    parts += [f"\x1b[?{number}h" for number in modes if number in _KEPT_MODES]
    if _CURSOR_SHOWN not in modes:
        parts.append(f"\x1b[?{_CURSOR_SHOWN}l")
    return "".join(parts).encode()
