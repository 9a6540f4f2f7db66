"""Secret values in what a guest says, replaced by a mark.

A value is looked for in the forms that it has in ordinary output:

    whole       without the blanks and newlines around it, its lines ended by LF or CR LF
    by line     each line of a value of several, if it has at least 8 bytes: indented or in a diff
                such a value never stands in one piece

Encoded forms (base64, URL, JSON escapes, quoting) are not looked for: there is no end to them, and
a command that means to encode a value can. Redaction keeps values out of logs and transcripts by
accident; what a command may do with a value is limited by where it can send it.

Occurrences that overlap are replaced by one mark, so no part of either stays.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Span = tuple[int, int]

MARK = b"[REDACTED]"
SHORTEST = 4
"""Bytes of the shortest value that can be replaced without mangling ordinary text."""
_SHORTEST_LINE = 8
_HEAD = 8
_FAILED_TRIES = 32


class Redactor:
    """Replaces values; false when it has none, and then hands everything through."""

    def __init__(self, values: Iterable[bytes]) -> None:
        """Values are UTF-8; empty ones are left out."""
        self._take({form for value in values for form in _forms(value)})

    def _take(self, found: set[bytes]) -> None:
        self._forms = [_Form(form) for form in sorted(found, key=lambda form: (-len(form), form))]
        # Beginnings short enough to be looked up at once for all forms.
        self._heads = {form[:size] for form in found for size in range(1, min(_HEAD, len(form)))}
        self.longest = max(map(len, found), default=0)
        """Bytes of the longest form: no occurrence reaches further."""

    @cached_property
    def _backwards(self) -> Redactor:
        reversed_ = Redactor(())
        reversed_._take({form.backwards for form in self._forms})
        return reversed_

    def __bool__(self) -> bool:
        return bool(self._forms)

    def whole(self, data: bytes) -> tuple[bytes, bool]:
        """All of `data` without the values, and whether there was any."""
        return self.part(data, 0, len(data))

    def text(self, text: str) -> tuple[str, bool]:
        """The same for text."""
        if not self._forms:
            return text, False
        data, redacted = self.whole(text.encode("utf-8", "surrogatepass"))
        return (data.decode("utf-8", "surrogatepass"), True) if redacted else (text, False)

    def part(self, data: bytes, start: int, end: int) -> tuple[bytes, bool]:
        """`data[start:end]`, where a value that is only partly in there is replaced too."""
        spans = [span for span in self.spans(data) if span[0] < end and span[1] > start]
        if not spans:
            return data[start:end], False
        return replaced(data, spans, start, end), True

    def excerpt(self, text: str) -> tuple[str, bool]:
        """A text that was cut out of another: also without ends of values at its own ends.

        From 4 bytes on: fewer are as likely to be something else.
        """
        if not self._forms:
            return text, False
        data = text.encode("utf-8", "surrogatepass")
        spans = self.spans(data)
        if (size := self._backwards.held_back(data[::-1])) >= SHORTEST:
            spans.append((0, size))
        if (size := self.held_back(data)) >= SHORTEST:
            spans.append((len(data) - size, len(data)))
        if not spans:
            return text, False
        return replaced(data, merged(spans)).decode("utf-8", "surrogatepass"), True

    def masked(self, data: bytes, start: int, end: int) -> bytes:
        """The same at its length: each byte of a value becomes `*`."""
        result = bytearray(data)
        for first, last in self.spans(data):
            result[first:last] = b"*" * (last - first)
        return bytes(result[start:end])

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Where values are, as (start, end) in order; those that overlap are one.

        Takes time in proportion to the data, whatever is in it.
        """
        return merged(span for form in self._forms for span in form.spans(data))

    def held_back(self, data: bytes) -> int:
        """Bytes at the end of `data` that may begin a value; at most `longest` - 1."""
        if len(data) >= _HEAD:
            found = max((form.begun_in(data) for form in self._forms), default=0)
            if found:
                return found
        for size in range(min(_HEAD - 1, len(data)), 0, -1):
            if data[-size:] in self._heads:
                return size
        return 0

    def stream(self) -> RedactedStream:
        """For output that comes in pieces, cut anywhere."""
        return RedactedStream(self)


class RedactedStream:
    """Output in pieces: the same result as for all of it at once.

    What may be the beginning of a value is held back until more comes, or the end.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = b""
        self._covered = 0
        """Bytes of `_held` that belong to an occurrence whose mark has been given out."""
        self.redacted = False
        """Whether anything was replaced so far."""

    def feed(self, data: bytes, redactor: Redactor | None = None) -> bytes:
        """Take the next piece, give what can be given now; with another redactor from now on."""
        self._redactor = redactor or self._redactor
        if not self._redactor:
            return data
        data = self._held + data
        return self._give(data, len(data) - self._redactor.held_back(data))

    def finish(self) -> bytes:
        """What was held back, at the stream's end."""
        return self._give(self._held, len(self._held))

    def _give(self, data: bytes, until: int) -> bytes:
        # An occurrence that begins before `until` is whole in `data`: otherwise its beginning
        # would have been held back.
        pieces = []
        at = self._covered
        for start, end in self._redactor.spans(data):
            if start >= until:
                break
            if start >= at:
                pieces += [data[at:start], MARK]
                self.redacted = True
            at = max(at, end)
        pieces.append(data[at:until])
        self._held = data[until:]
        self._covered = max(at - until, 0)
        return b"".join(pieces)


class _Form:
    """One sequence of bytes to look for.

    CPython's search is linear for long needles (two-way), so this needs no automaton; what would
    not be linear is to search anew for each of many occurrences that overlap.
    """

    def __init__(self, form: bytes) -> None:
        self._form = form
        self._size = len(form)

    @cached_property
    def backwards(self) -> bytes:
        """The same in reverse."""
        return self._form[::-1]

    def spans(self, data: bytes) -> Iterator[Span]:
        """Its occurrences; those that overlap are one span."""
        start = data.find(self._form)
        while start >= 0:
            end = start + self._size
            if self._overlaps_itself:
                end = self._last_end(data, start)
            yield start, end
            start = data.find(self._form, end)

    def begun_in(self, data: bytes) -> int:
        """Bytes of the longest end of `data` that the form begins with, not the whole; 0 if < 8."""
        if self._size <= _HEAD:
            return 0
        tail = data[-(self._size - 1) :]
        at = -1
        for _ in range(_FAILED_TRIES):
            at = tail.find(self._form[:_HEAD], at + 1)
            if at < 0:
                return 0
            if self._form.startswith(tail[at:]):
                return len(tail) - at
        # Data that is made of the form's beginning: too many tries would be quadratic.
        found = self._matched(tail[at + 1 :])
        return found if found >= _HEAD else 0

    def _last_end(self, data: bytes, start: int) -> int:
        """Where the chain of overlapping occurrences that begins at `start` ends.

        Goes to the last occurrence that begins inside the present one, so that two steps are
        at least one length; searched in reverse, since `rfind` is not linear.
        """
        while True:
            window = data[start + 1 : start + 2 * self._size - 1]
            found = window[::-1].find(self.backwards)
            if found < 0:
                return start + self._size
            start += 1 + len(window) - found - self._size

    @cached_property
    def _overlaps_itself(self) -> bool:
        return self._matched(self._form[1:]) > 0

    def _matched(self, data: bytes) -> int:
        """Bytes of the longest end of `data`, shorter than the form, that the form begins with.

        Knuth, Morris, Pratt: each byte is looked at twice at most.
        """
        form, borders = self._form, self._borders
        matched = 0
        for byte in data:
            while matched and form[matched] != byte:
                matched = borders[matched - 1]
            if form[matched] == byte:
                matched += 1
        return matched

    @cached_property
    def _borders(self) -> list[int]:
        form = self._form
        borders = [0] * self._size
        matched = 0
        for at in range(1, self._size):
            while matched and form[matched] != form[at]:
                matched = borders[matched - 1]
            if form[matched] == form[at]:
                matched += 1
            borders[at] = matched
        return borders


def merged(spans: Iterable[Span]) -> list[Span]:
    """These in order, those that overlap as one."""
    apart: list[Span] = []
    for start, end in sorted(spans):
        if apart and start < apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return apart


def replaced(data: bytes, spans: Iterable[Span], start: int = 0, end: int | None = None) -> bytes:
    """`data[start:end]` with a mark for each span, all of which reach into it."""
    pieces = []
    at = start
    for first, last in spans:
        pieces += [data[at : max(at, first)], MARK]
        at = last
    return b"".join((*pieces, data[at:end]))


def _forms(value: bytes) -> Iterator[bytes]:
    stripped = value.strip()
    lines = stripped.splitlines()
    if len(lines) > 1:
        yield b"\n".join(lines)
        yield b"\r\n".join(lines)
        yield from (line.strip() for line in lines if len(line.strip()) >= _SHORTEST_LINE)
    elif stripped:
        yield stripped
