"""Putting hunks into a file: where each belongs, and why one does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.workspaces.git_patch import split_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyro_mcp.workspaces.patch_text import FileHunk

_SHOWN = 80
_SEARCH = 5_000_000
"""Lines compared when a hunk is looked for; what guests keep in their files bounds nothing."""


class MisfitError(Exception):
    """A hunk that fits nowhere; the message says what was expected and what is there."""


def apply(content: bytes, hunks: Sequence[FileHunk]) -> bytes:
    """The content with all hunks put in, in order.

    A hunk whose lines are not at its line number is looked for before and after it, the nearest
    place first, without ever leaving out a line of context.

    Raises:
        MisfitError: One fits nowhere.
    """
    lines = split_lines(content)
    out: list[bytes] = []
    done = shift = 0
    for number, hunk in enumerate(hunks, 1):
        at = _place(lines, hunk, earliest=done, expected=hunk.old_start + shift)
        if at is None:
            raise MisfitError(_misfit(lines, hunk, number, len(hunks), hunk.old_start + shift))
        shift = at - hunk.old_start
        out += lines[done:at]
        out += hunk.new
        done = at + len(hunk.old)
    out += lines[done:]
    # A line without its end can only be the last: anything after it would be joined to it.
    for line in out[:-1]:
        if not line.endswith(b"\n"):
            raise MisfitError("would leave a line without its end in the middle of the file")
    return b"".join(out)


def _place(lines: list[bytes], hunk: FileHunk, *, earliest: int, expected: int) -> int | None:
    if not hunk.old:
        # Nothing says where it belongs but its number.
        return expected if earliest <= expected <= len(lines) else None
    if expected >= earliest and _is_at(lines, hunk, expected):
        return expected
    found = list(_places(lines, hunk, earliest))
    # Less context on one side than on the other means the begin or the end of the file.
    strict = [
        at
        for at in found
        if (hunk.leading >= hunk.trailing or at == 0)
        and (hunk.trailing >= hunk.leading or at + len(hunk.old) == len(lines))
    ]
    if strict:
        return min(strict, key=lambda at: (abs(at - expected), at))
    return found[0] if len(found) == 1 else None


def _is_at(lines: list[bytes], hunk: FileHunk, at: int) -> bool:
    return lines[at : at + len(hunk.old)] == hunk.old


def _places(lines: list[bytes], hunk: FileHunk, earliest: int) -> Iterator[int]:
    first, at = hunk.old[0], earliest
    last = len(lines) - len(hunk.old)
    for _ in range(_SEARCH // len(hunk.old) + 1):
        if at > last:
            return
        try:
            at = lines.index(first, at, last + 1)
        except ValueError:
            return
        if _is_at(lines, hunk, at):
            yield at
        at += 1


def _misfit(lines: list[bytes], hunk: FileHunk, number: int, count: int, expected: int) -> str:
    where = f"hunk {number} of {count} ({hunk.header})"
    if hunk.new and any(
        lines[at : at + len(hunk.new)] == hunk.new
        for at in range(max(0, expected - 100), expected + 100)
    ):
        return f"{where}: its result is there already"
    if not hunk.old:
        return f"{where}: the file has {len(lines)} lines"
    start = max(0, expected)
    for offset, wanted in enumerate(hunk.old):
        there = lines[start + offset] if start + offset < len(lines) else None
        if there != wanted:
            is_there = "the file ends" if there is None else f"there is {_show(there)}"
            return (
                f"{where}: line {start + offset + 1} should be {_show(wanted)} and {is_there}; "
                "it fits nowhere else"
            )
    return f"{where}: its lines overlap those of the hunk before"


def _show(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    end = "" if text.endswith("\n") else " without a newline"
    text = text.removesuffix("\n")
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…") + end
