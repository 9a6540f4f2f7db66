"""What a person would see of a shell's output."""

from __future__ import annotations

import re
from itertools import zip_longest

from pyro_mcp.workspaces.screen import Renderer, Screen

CONTEXT_BYTES = 128 * 1024
"""Output before a stretch that is looked at to know what the screen was like."""

_SWITCH = re.compile(r"\x1b\[\?(?:47|1047|1049)([hl])")
_CLEARED = re.compile(r"\x1bc|\x1b\[2J")
_LINES_OF_CONTEXT = 3
"""Screens full of lines before a stretch that are rendered."""
_CURSOR_SHOWN = 25
_KEPT_MODES = frozenset((1, 1000, 1002, 1003, 1004, 1006, 2004))
"""Cursor keys, mouse, focus, bracketed paste: xterm's DEC private modes."""


def seen(before: str, text: str, *, cols: int, rows: int) -> str:
    """What a person sees of `text`, coming after `before`, on a screen of that size.

    Every line that it wrote to, whole, as it stands afterwards, also those that have scrolled off.
    While a full-screen program has the terminal, its screen instead.
    """
    if not text:
        return ""
    renderer = Renderer(cols, rows)
    screen = renderer.screen
    renderer.feed(_recent(before, rows))
    lines_before = screen.all_lines
    screen.forgot = False
    renderer.feed(text)
    if screen.alternate:
        return "\n".join(line.rstrip() for line in screen.rows_shown).rstrip("\n") + "\n"
    lines = screen.all_lines
    first = 0 if screen.forgot else _first_change(lines_before, lines)
    last = max((number for number, line in enumerate(lines) if line), default=-1)
    return "\n".join(lines[first : max(last, screen.cursor_line) + 1])


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


def painted(text: str, *, cols: int, rows: int) -> bytes:
    """What makes a person's terminal look as this output would have left it.

    For one who comes later: text and position, without colours, and the modes that decide what
    its keys send.
    """
    screen = screen_at(text, cols=cols, rows=rows)
    cursor = screen.cursor
    if screen.alternate:
        lines = [line.rstrip() for line in screen.rows_shown]
        where = f"\x1b[{cursor.y + 1};{cursor.x + 1}H"
        parts = ["\x1b[?1049h\x1b[H\x1b[2J", "\r\n".join(lines), where]
    else:
        lines = screen.all_lines[: screen.cursor_line + 1][-rows:]
        right = f"\x1b[{cursor.x}C" if cursor.x else ""
        parts = ["\r\n".join(lines), "\r", right]
    modes = screen.private_modes
    parts += [f"\x1b[?{number}h" for number in modes if number in _KEPT_MODES]
    if _CURSOR_SHOWN not in modes:
        parts.append(f"\x1b[?{_CURSOR_SHOWN}l")
    return "".join(parts).encode()
