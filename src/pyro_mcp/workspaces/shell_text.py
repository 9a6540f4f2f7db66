"""A stretch of a shell's output as text: how far it goes, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pyro_mcp.machines.shells import ShellOutput

SETTLED_MS = 250
"""After so long without output, what looks like half a character is taken as it is."""
_LONGEST_CHARACTER = 4


class Stretch(NamedTuple):
    """What a read gives out."""

    cursor: int
    next_cursor: int
    text: str
    more: bool
    """Whether more could be given out now."""


def bytes_for(max_chars: int) -> int:
    """Bytes that are needed to be sure of so many characters."""
    return max_chars * _LONGEST_CHARACTER + _LONGEST_CHARACTER


def stretch(output: ShellOutput, *, asked_cursor: int, max_chars: int) -> Stretch:
    """The text from the context's end on: at most `max_chars`, and no character cut in two."""
    body = output.data[output.context :]
    begin = 0
    if output.start > asked_cursor:
        # The first that is kept may be the middle of a character.
        while begin < min(len(body), _LONGEST_CHARACTER) and _continues(body[begin]):
            begin += 1
    at_end = output.start + len(body) >= output.shell.end
    settled = at_end and (not output.shell.running or output.shell.quiet_ms >= SETTLED_MS)
    usable = len(body) if settled else len(body) - _unfinished(body)
    usable = max(usable, begin)
    stop = _fitting(body, begin, usable, max_chars)
    return Stretch(
        cursor=output.start + begin,
        next_cursor=output.start + stop,
        text=body[begin:stop].decode("utf-8", "replace"),
        more=stop < usable or not at_end,
    )


def _fitting(body: bytes, begin: int, usable: int, max_chars: int) -> int:
    """The last end of at most `max_chars` characters."""
    low, high = begin, usable
    while low < high:
        middle = (low + high + 1) // 2
        if len(body[begin:middle].decode("utf-8", "replace")) <= max_chars:
            low = middle
        else:
            high = middle - 1
    # Half a character counts as one, and so may have been taken as the last.
    return low if low == usable else low - _unfinished(body[begin:low])


def _unfinished(data: bytes) -> int:
    """Bytes at the end that begin a character and are not all of it (RFC 3629, section 3)."""
    for size in range(1, min(_LONGEST_CHARACTER - 1, len(data)) + 1):
        byte = data[-size]
        if _continues(byte):
            continue
        needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return size if byte < 0xF8 and needed > size else 0
    return 0


def _continues(byte: int) -> bool:
    return 0x80 <= byte < 0xC0
