"""V4A diffs: what a model writes to create or change one file.

A diff that creates a file has `+` before each line. One that changes a file is a row of hunks:

    @@ class Greeter:            anchors, none or more: lines above the place, in this order
    @@     def greet(self):
         name = self.name       context, a space before each line
    -    return "hi"            goes
    +    return f"hi {name}"    comes
    *** End of File              the hunk's lines are the last ones

Lines are looked for as they are written, then without the spaces behind them, then without those
on either side: models get those wrong. A place that is not certain is refused, not guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_END_OF_FILE = "*** End of File"
_WRAPPING = ("*** Begin Patch", "*** End Patch")
_HEADERS = ("*** Add File:", "*** Update File:", "*** Delete File:", "*** Move to:")
_SHOWN_LINES = 12
_SHOWN_PLACES = 5


class V4aError(Exception):
    """The diff cannot be read, or does not fit; the message is for the model that wrote it."""


class _Hunk(NamedTuple):
    number: int
    anchors: tuple[str, ...]
    lines: tuple[tuple[str, str], ...]
    """Pairs of mark (space, `-` or `+`) and text."""
    at_end: bool

    @property
    def old(self) -> list[str]:
        return [text for mark, text in self.lines if mark != "+"]


class _Line(NamedTuple):
    text: str
    end: str
    """`\\n`, `\\r\\n`, or nothing for a last line without its end."""


def created(diff: str) -> str:
    """The content of a file that a diff creates; its last line has an end.

    Raises:
        V4aError: A line does not begin with `+`.
    """
    lines = _unwrapped(diff)
    for number, line in enumerate(lines, 1):
        if not line.startswith("+"):
            raise V4aError(
                f"Line {number} of the diff is {line!r}: in a diff that creates a file every line "
                "begins with '+'."
            )
    text = "\n".join(line[1:] for line in lines)
    return text if not text or text.endswith("\n") else text + "\n"


def updated(content: str, diff: str) -> str:
    """The content of a file after a diff was put into it; lines it does not name stay as they are.

    Raises:
        V4aError: It cannot be read, or a hunk fits nowhere or in several places.
    """
    lines = _lines(content)
    usual_end = next((line.end for line in lines if line.end), "\n")
    out: list[_Line] = []
    done = 0
    for hunk in _hunks(_unwrapped(diff)):
        at = _place(lines, hunk, done)
        out += lines[done:at]
        done = at
        for mark, text in hunk.lines:
            if mark == "+":
                out.append(_Line(text, usual_end))
            else:
                if mark == " ":
                    out.append(lines[done])
                done += 1
    out += lines[done:]
    ended = not lines or bool(lines[-1].end)
    last = len(out) - 1
    return "".join(
        line.text + ((line.end or usual_end) if at < last or ended else "")
        for at, line in enumerate(out)
    )


def _unwrapped(diff: str) -> list[str]:
    """The lines of one file's diff, without the envelope that some models add."""
    lines = [line.removesuffix("\r") for line in diff.removesuffix("\n").split("\n")]
    if lines == [""]:
        return []
    lines = [line for line in lines if line.rstrip() not in _WRAPPING]
    headers = [line for line in lines if line.startswith(_HEADERS)]
    if len(headers) > 1:
        raise V4aError("The diff names several files: send one operation for each.")
    return [line for line in lines if line not in headers]


def _hunks(lines: Sequence[str]) -> list[_Hunk]:
    hunks: list[_Hunk] = []
    at = 0
    while at < len(lines):
        anchors = []
        while at < len(lines) and lines[at].startswith("@@"):
            anchors.append(lines[at][2:].removeprefix(" "))
            at += 1
        body: list[tuple[str, str]] = []
        at_end = False
        while at < len(lines) and not lines[at].startswith("@@"):
            line = lines[at]
            at += 1
            if line.rstrip() == _END_OF_FILE:
                at_end = True
                break
            body.append(_marked(line, at))
        if not body:
            raise V4aError(f"Hunk {len(hunks) + 1} of the diff has no lines.")
        kept = tuple(anchor for anchor in anchors if anchor.strip())
        hunks.append(_Hunk(len(hunks) + 1, kept, tuple(body), at_end))
    if not hunks:
        raise V4aError("The diff is empty: it needs at least one line with '-' or '+'.")
    return hunks


def _marked(line: str, number: int) -> tuple[str, str]:
    if not line:
        return " ", ""  # an empty line of context whose space was lost
    if line[0] not in " -+":
        raise V4aError(
            f"Line {number} of the diff is {line!r}: lines begin with ' ', '-', '+' or '@@'."
        )
    return line[0], line[1:]


def _lines(content: str) -> list[_Line]:
    pieces = content.split("\n")
    lines = [
        _Line(piece.removesuffix("\r"), "\r\n" if piece.endswith("\r") else "\n")
        for piece in pieces[:-1]
    ]
    return [*lines, _Line(pieces[-1], "")] if pieces[-1] else lines


def _place(lines: Sequence[_Line], hunk: _Hunk, earliest: int) -> int:
    """Where the first of a hunk's old lines is."""
    texts = [line.text for line in lines]
    start, missing = _below_anchors(texts, hunk.anchors, earliest)
    old = hunk.old
    if not old:
        if hunk.at_end or not texts:
            return len(texts)
        if hunk.anchors and missing is None:
            return start
        raise V4aError(
            f"Hunk {hunk.number} only adds lines and does not say where: give a line of context "
            "above or below them."
        )
    if hunk.at_end and len(texts) - len(old) >= earliest:
        at = len(texts) - len(old)
        if any(_same(texts, old, at, alike) for alike in _ALIKE):
            return at
    for alike in _ALIKE:
        found = [
            at for at in range(start, len(texts) - len(old) + 1) if _same(texts, old, at, alike)
        ]
        if len(found) == 1 or (found and hunk.anchors and missing is None):
            return found[0]
        if found:
            shown = ", ".join(str(at + 1) for at in found[:_SHOWN_PLACES])
            raise V4aError(
                f"The lines of hunk {hunk.number} are in the file {len(found)} times (lines "
                f"{shown}): give more lines of context, or '@@ ' and a line above them."
            )
    raise V4aError(_misfit(texts, hunk, start, missing))


def _below_anchors(
    texts: Sequence[str], anchors: Sequence[str], start: int
) -> tuple[int, str | None]:
    """The line below the last anchor, and the first anchor that is not there."""
    for anchor in anchors:
        for alike in _ALIKE:
            found = next(
                (at for at in range(start, len(texts)) if alike(texts[at]) == alike(anchor)), None
            )
            if found is not None:
                start = found + 1
                break
        else:
            return start, anchor
    return start, None


def _misfit(texts: Sequence[str], hunk: _Hunk, start: int, missing: str | None) -> str:
    old = hunk.old
    expected = "\n".join(old[:_SHOWN_LINES])
    words = [f"The lines of hunk {hunk.number} are not in the file"]
    if missing is not None:
        words.append(f", nor is its anchor {missing!r}")
    words.append(f". Expected:\n{expected}\n")
    first = old[0].strip()
    near = next((at for at in range(len(texts)) if texts[at].strip() == first), None)
    if near is not None and first:
        there = "\n".join(texts[near : near + min(len(old), _SHOWN_LINES)])
        words.append(f"From line {near + 1} the file has:\n{there}\n")
        if near < start:
            words.append("Hunks stand in the order of their places. ")
    words.append("Read the file again and send a diff of what it is now.")
    return "".join(words)


def _same(texts: Sequence[str], old: Sequence[str], at: int, alike: Callable[[str], str]) -> bool:
    return all(alike(texts[at + n]) == alike(line) for n, line in enumerate(old))


_ALIKE: tuple[Callable[[str], str], ...] = (str, str.rstrip, str.strip)
