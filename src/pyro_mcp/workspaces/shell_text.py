"""A stretch of a shell's output as text: how far it goes, and what it says.

Where secrets are redacted, the bytes before the stretch are looked at too, so a value is found
however reads cut it; what may begin a value at the end is held back for the next read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp.boundary.redact import MARK, SHORTEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.boundary.redact import Redactor
    from pyro_mcp.machines.shells import ShellOutput

SETTLED_MS = 250
"""After so long without output, what looks like half a character is taken as it is, and so is a
beginning of a value that is too short to give anything away."""
_LONGEST_CHARACTER = 4


class Stretch(NamedTuple):
    """What a read gives out."""

    cursor: int
    next_cursor: int
    text: str
    before: str
    """The context, redacted too."""
    more: bool
    """Whether more could be given out now."""
    redacted: bool


def bytes_for(max_chars: int, redactor: Redactor) -> int:
    """Bytes that are needed to be sure of so many characters."""
    return max_chars * _LONGEST_CHARACTER + _LONGEST_CHARACTER + redactor.longest


def stretch(
    output: ShellOutput, redactor: Redactor, *, asked_cursor: int, max_chars: int
) -> Stretch:
    """The text from the context's end on: at most `max_chars`, and no character cut in two."""
    data, begin = output.data, output.context
    origin = output.start - begin
    if output.start > asked_cursor:
        # The first that is kept may be the middle of a character.
        while begin < min(len(data), output.context + _LONGEST_CHARACTER) and _continues(
            data[begin]
        ):
            begin += 1
    at_end = origin + len(data) >= output.shell.end
    ended = at_end and not output.shell.running
    settled = at_end and output.shell.quiet_ms >= SETTLED_MS
    held = 0 if ended else held_back(data, redactor, settled=settled)
    usable = max(len(data) - held, begin)
    pieces: list[str] = []
    at, room, redacted = begin, max_chars, False
    for start, end in (*redactor.spans(data), (usable, usable)):
        if end <= begin and start < usable:
            continue
        start = min(max(start, at), usable)
        stop = _fitting(data, at, start, room)
        pieces.append(data[at:stop].decode("utf-8", "replace"))
        room -= len(pieces[-1])
        at = stop
        # A mark that does not fit is for the next read, unless this one would be empty.
        if stop < start or start == usable or (room < len(MARK) and room < max_chars):
            break
        pieces.append(MARK.decode()[:room])
        room -= len(pieces[-1])
        at, redacted = end, True
    before, _ = redactor.part(data, 0, begin)
    return Stretch(
        cursor=origin + begin,
        next_cursor=origin + at,
        text="".join(pieces),
        before=before.decode("utf-8", "replace"),
        more=at < usable or not at_end,
        redacted=redacted,
    )


def held_back(data: bytes, redactor: Redactor, *, settled: bool) -> int:
    """Bytes at the end that more output decides about."""
    value, character = redactor.held_back(data), _unfinished(data)
    if settled:
        return value if value >= SHORTEST else 0
    return max(value, character)


class LiveText:
    """Output that is shown as it comes, without the values of secrets.

    `redactor` is asked for each piece.
    """

    def __init__(self, redactor: Callable[[], Redactor]) -> None:
        self.redacted = False
        self._redactor = redactor
        self._data = b""
        self._shown = 0

    @property
    def holding(self) -> bool:
        """Whether something is held back; then call `feed` with nothing once it is quiet."""
        return self._shown < len(self._data)

    def feed(self, piece: bytes, *, settled: bool = False) -> bytes:
        """What can be shown now; `settled` says that nothing came for a while."""
        redactor = self._redactor()
        data = self._data + piece
        held = held_back(data, redactor, settled=settled) if redactor else 0
        return self._show(data, redactor, len(data) - held)

    def finish(self) -> bytes:
        """The rest."""
        return self._show(self._data, self._redactor(), len(self._data))

    def _show(self, data: bytes, redactor: Redactor, usable: int) -> bytes:
        at = self._shown
        pieces = []
        for start, end in redactor.spans(data):
            if end > at and start < usable:
                pieces += [data[at : max(at, start)], MARK]
                self.redacted = True
                at = end
        if usable > at:
            pieces.append(data[at:usable])
            at = usable
        kept = max(at - redactor.longest, 0)
        self._data, self._shown = data[kept:], at - kept
        return b"".join(pieces)


def _fitting(data: bytes, begin: int, end: int, most: int) -> int:
    """The last end of at most `most` characters."""
    low, high = begin, min(end, begin + most * _LONGEST_CHARACTER)
    while low < high:
        middle = (low + high + 1) // 2
        if len(data[begin:middle].decode("utf-8", "replace")) <= most:
            low = middle
        else:
            high = middle - 1
    # Half a character counts as one, and so may have been taken as the last. One that never gets
    # its other half is all there is to give, and has to be got past.
    whole = low - _unfinished(data[begin:low])
    return whole if begin < whole and low < end else low


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
