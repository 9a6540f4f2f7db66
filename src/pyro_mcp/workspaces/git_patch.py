"""Text patches in git's format, of one file at a time; `git apply` and `patch.apply` take them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp.workspaces import git_names, line_matching

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTEXT = 3
SYMLINK = 0o120000
_FILE, _PROGRAM = 0o100644, 0o100755
_NO_NEWLINE = b"\\ No newline at end of file\n"


class Version(NamedTuple):
    """One side of a comparison: a regular file, or a symlink with its target as content."""

    content: bytes
    mode: int
    """As git writes it: 0o100644, 0o100755 or 0o120000."""


class TextPatch(NamedTuple):
    """The patch of one path."""

    text: str
    lines_added: int
    lines_removed: int


def git_mode(mode: int, *, symlink: bool = False) -> int:
    """Git's mode for permission bits: of those it knows only the owner's right to execute."""
    if symlink:
        return SYMLINK
    return _PROGRAM if mode & 0o100 else _FILE


def is_text(content: bytes) -> bool:
    """Whether it can be part of a text patch: UTF-8 without NUL."""
    if b"\0" in content:
        return False
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def between(
    path: str,
    old: Version | None,
    new: Version | None,
    allowance: line_matching.Allowance | None = None,
) -> TextPatch | None:
    """The patch that makes `new` of `old` (None: there is no file).

    None when there is nothing that git's format could say: a side that is not text, or no
    difference in what git records. A file that becomes a symlink, or the reverse, is removed and
    added, as in git. Without any of the allowance left, what differs is shown as one piece.
    """
    if any(side is not None and not is_text(side.content) for side in (old, new)):
        return None
    if old == new:
        return None
    if old is not None and new is not None and (old.mode == SYMLINK) != (new.mode == SYMLINK):
        parts = [_one(path, old, None, allowance), _one(path, None, new, allowance)]
        return TextPatch(
            "".join(part.text for part in parts),
            sum(part.lines_added for part in parts),
            sum(part.lines_removed for part in parts),
        )
    return _one(path, old, new, allowance)


def _one(
    path: str,
    old: Version | None,
    new: Version | None,
    allowance: line_matching.Allowance | None,
) -> TextPatch:
    before, after = git_names.quote(f"a/{path}"), git_names.quote(f"b/{path}")
    head = [f"diff --git {before} {after}\n"]
    if old is None and new is not None:
        head.append(f"new file mode {new.mode:06o}\n")
    elif new is None and old is not None:
        head.append(f"deleted file mode {old.mode:06o}\n")
    elif old is not None and new is not None and old.mode != new.mode:
        head += [f"old mode {old.mode:06o}\n", f"new mode {new.mode:06o}\n"]
    if old is None or new is None or old.content != new.content:
        same_mode = f" {old.mode:06o}" if old and new and old.mode == new.mode else ""
        head.append(f"index {_blob(old)}..{_blob(new)}{same_mode}\n")
    lines_old = split_lines(old.content if old else b"")
    lines_new = split_lines(new.content if new else b"")
    body = [part for hunk in _hunks(lines_old, lines_new, allowance) for part in hunk]
    if body:
        head.append(f"--- {_label(before) if old else '/dev/null'}\n")
        head.append(f"+++ {_label(after) if new else '/dev/null'}\n")
    return TextPatch(
        "".join(head) + b"".join(body).decode(),
        sum(part.startswith(b"+") for part in body),
        sum(part.startswith(b"-") for part in body),
    )


def split_lines(content: bytes) -> list[bytes]:
    r"""Lines with their ends; only `\n` ends a line, whatever else a terminal would break at."""
    lines = content.split(b"\n")
    last = lines.pop()
    out = [line + b"\n" for line in lines]
    if last:
        out.append(last)
    return out


def _blob(side: Version | None) -> str:
    """Git's id of the content, by which `git apply --3way` finds it."""
    if side is None:
        return "0" * 12
    whole = hashlib.sha1(b"blob %d\0" % len(side.content), usedforsecurity=False)
    whole.update(side.content)
    return whole.hexdigest()[:12]


def _label(name: str) -> str:
    # Without the tab, a reader cannot tell where a name with spaces ends.
    return f"{name}\t" if " " in name else name


def _hunks(
    old: list[bytes], new: list[bytes], allowance: line_matching.Allowance | None
) -> Iterator[list[bytes]]:
    group: list[tuple[int, int, int, int]] = []
    for change in line_matching.changes(old, new, allowance):
        if group and change[0] - group[-1][1] > 2 * CONTEXT:
            yield _hunk(old, new, group)
            group = []
        group.append(change)
    if group:
        yield _hunk(old, new, group)


def _hunk(
    old: list[bytes], new: list[bytes], group: list[tuple[int, int, int, int]]
) -> list[bytes]:
    lead = min(CONTEXT, group[0][0])
    trail = min(CONTEXT, len(old) - group[-1][1])
    start_old, start_new = group[0][0] - lead, group[0][2] - lead
    end_old, end_new = group[-1][1] + trail, group[-1][3] + trail
    ranges = _range(start_old, end_old), _range(start_new, end_new)
    out = [f"@@ -{ranges[0]} +{ranges[1]} @@\n".encode()]
    at = start_old
    for a, b, c, d in group:
        out += [_line(b" ", line) for line in old[at:a]]
        out += [_line(b"-", line) for line in old[a:b]]
        out += [_line(b"+", line) for line in new[c:d]]
        at = b
    out += [_line(b" ", line) for line in old[at:end_old]]
    return out


def _range(start: int, end: int) -> str:
    if end - start == 1:
        return str(start + 1)
    # An empty range names the line before it.
    return f"{start + (end > start)},{end - start}"


def _line(sign: bytes, line: bytes) -> bytes:
    return sign + line if line.endswith(b"\n") else sign + line + b"\n" + _NO_NEWLINE
