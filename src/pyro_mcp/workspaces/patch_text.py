"""What a patch asks for: `git diff` and `diff -u` output taken apart into changes of files.

Hunks are parsed by the library `unidiff`. Git's extended headers are read here: they end where
the first `---` line of a file begins, and no line of a hunk can be mistaken for their first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.errors import PatchError
from pyro_mcp.workspaces import git_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from unidiff.patch import Hunk, PatchedFile

MAX_PATCH_BYTES = 16 * 1024 * 1024
_GIT = "diff --git "
_NONE = "/dev/null"
_PREFIXES = frozenset(("ab", "ba", "iw", "wi", "ci", "ic", "cw", "wc", "ow", "wo", "12", "21"))
_HUNK = re.compile(r"@@ -\d+(,\d+)? \+\d+(,\d+)? @@")
_EPOCH = re.compile(r"(1970-01-01|1969-12-31) ")
_MODES = frozenset((0o100644, 0o100755, 0o100664, 0o120000))


@dataclass(frozen=True, kw_only=True)
class FileHunk:
    """One hunk: these lines, ends included, become those."""

    header: str
    old_start: int
    """Index of its first line in the old file, from 0."""
    old: list[bytes]
    new: list[bytes]
    leading: int
    """Lines of context before the first change."""
    trailing: int


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """What is to happen to one file; names are relative to /workspace."""

    names: tuple[str, ...]
    """Of the file that is read: the first that exists is meant. Empty when one is added."""
    target: str | None
    """Of the file that is written; None: the one that was read, under its name."""
    removes: bool = False
    """The file that was read goes: deleted, or, with a target, renamed."""
    may_create: bool = False
    """`diff -uN` does not say whether a file was empty or absent before."""
    symlink: bool = False
    """It is a symlink that the patch changes or removes, with its target as content."""
    new_mode: int | None = None
    """Git's mode, when the patch sets one."""
    hunks: tuple[FileHunk, ...] = ()

    @property
    def shown(self) -> str:
        """The name that messages use."""
        return self.target or self.names[0]


def parse(text: str) -> list[FileChange]:
    """Take a patch apart.

    Raises:
        PatchError: It is empty, too large, malformed, binary, or names what is not in /workspace.
    """
    if len(text) > MAX_PATCH_BYTES:
        raise PatchError(
            f"is longer than {MAX_PATCH_BYTES >> 20} MiB", hint="Apply it in several parts."
        )
    lines = [f"{line}\n" for line in text.removesuffix("\n").split("\n")]
    starts = [at for at, line in enumerate(lines) if line.startswith(_GIT)]
    found = list(_plain(lines[: starts[0] if starts else len(lines)], 0))
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=False):
        found += _git(lines[start:end], start)
    if not found:
        raise PatchError(
            "holds no change of a file", hint="Give the output of 'git diff' or 'diff -u'."
        )
    return found


# --- git ---------------------------------------------------------------------------------------


def _git(lines: list[str], offset: int) -> Iterator[FileChange]:
    head_end = next(
        (at for at, line in enumerate(lines) if line.startswith(("--- ", "@@ "))), len(lines)
    )
    head = [line.rstrip("\r\n") for line in lines[:head_end]]
    fields = _fields(head, offset)
    files = _unidiff(lines[head_end:], offset + head_end)
    body = files[0] if files else None
    yield _git_change(head[0], fields, body, offset)
    for further in files[1:]:
        yield _plain_change(further)


def _fields(head: list[str], offset: int) -> dict[str, str]:
    fields = {}
    for at, line in enumerate(head[1:], offset + 2):
        if line == "GIT binary patch" or line.startswith("Binary files "):
            name = _git_pair(head[0].removeprefix(_GIT), None, offset)[1]
            raise _binary(f"{name!r} in line {at}")
        found = re.match(
            r"(old mode|new mode|new file mode|deleted file mode"
            r"|rename from|rename to|copy from|copy to) (.+)",
            line,
        )
        if found:
            fields[found[1]] = found[2]
        if line.startswith("index ") and line.endswith(" 120000"):
            fields["old mode"] = "120000"
    return fields


def _git_change(
    first: str, fields: dict[str, str], body: PatchedFile | None, offset: int
) -> FileChange:
    old, new = _git_pair(first.removeprefix(_GIT), body, offset)
    hunks = _hunks(body)
    mode = _mode(fields.get("new file mode") or fields.get("new mode"))
    symlink = "120000" in (fields.get("old mode"), fields.get("deleted file mode"))
    if "rename from" in fields or "copy from" in fields:
        verb = "rename" if "rename from" in fields else "copy"
        source = _clean(_named(fields.get(f"{verb} from", ""), offset))
        target = _clean(_named(fields.get(f"{verb} to", ""), offset))
        return FileChange(
            names=(source,),
            target=target,
            removes=verb == "rename",
            symlink=symlink,
            new_mode=mode,
            hunks=hunks,
        )
    if "new file mode" in fields:
        return FileChange(names=(), target=_clean(new), new_mode=mode, hunks=hunks)
    name = _clean(old)
    if "deleted file mode" in fields:
        return FileChange(names=(name,), target=None, removes=True, symlink=symlink, hunks=hunks)
    if body is not None and _NONE in (_label(body.source_file), _label(body.target_file)):
        return _plain_change(body)
    if not hunks and mode is None:
        raise PatchError(
            f"says nothing about {new!r} after line {offset + 1}",
            hint="Each 'diff --git' needs hunks, a mode, or a rename.",
        )
    return FileChange(names=(name,), target=None, symlink=symlink, new_mode=mode, hunks=hunks)


def _git_pair(rest: str, body: PatchedFile | None, offset: int) -> tuple[str, str]:
    """The two names of a `diff --git` line, which nothing but their equality may separate."""
    pair: tuple[str, str] | None = None
    try:
        if rest.startswith('"'):
            first, second = git_names.split_quoted(rest)
            pair = first, git_names.unquote(second.removeprefix(" "))
        elif rest.endswith('"') and ' "' in rest:
            first, _, second = rest.partition(' "')
            pair = first, git_names.unquote(f'"{second}')
        else:
            middle = len(rest) // 2
            halves = rest[:middle], rest[middle + 1 :]
            if rest[middle : middle + 1] == " " and _same(*halves):
                pair = halves
            elif rest.count(" ") == 1:
                first, _, second = rest.partition(" ")
                pair = first, second
    except ValueError as error:
        raise PatchError(
            f"quotes a name wrongly in line {offset + 1}", hint="Quote names as git does."
        ) from error
    if pair is None and body is not None:
        pair = _label(body.source_file), _label(body.target_file)
    if pair is None or _NONE in pair:
        return rest, rest  # not used: other lines of this file tell its names
    return _without_prefix(*pair)


def _same(first: str, second: str) -> bool:
    return first == second or first.partition("/")[2] == second.partition("/")[2] != ""


def _named(text: str, offset: int) -> str:
    try:
        return git_names.unquote(text)
    except ValueError as error:
        raise PatchError(
            f"quotes a name wrongly after line {offset + 1}", hint="Quote names as git does."
        ) from error


def _mode(text: str | None) -> int | None:
    if text is None:
        return None
    mode = int(text, 8) if re.fullmatch("[0-7]{6}", text) else 0
    if mode not in _MODES:
        raise PatchError(
            f"has the mode {text}", hint="Modes are 100644, 100755, and 120000 for a symlink."
        )
    return mode


# --- diff -u -----------------------------------------------------------------------------------


def _plain(lines: list[str], offset: int) -> Iterator[FileChange]:
    for file in _unidiff(lines, offset):
        yield _plain_change(file)


def _plain_change(file: PatchedFile) -> FileChange:
    old, new = _label(file.source_file), _label(file.target_file)
    hunks = _hunks(file)
    if file.is_binary_file:
        raise _binary(repr(new))
    if old == _NONE:
        return FileChange(names=(), target=_clean(new.removeprefix("b/")), hunks=hunks)
    if new == _NONE:
        name = _clean(old.removeprefix("a/"))
        return FileChange(names=(name,), target=None, removes=True, hunks=hunks)
    names = _candidates(old, new)
    was_empty = len(hunks) == 1 and not hunks[0].old
    is_empty = len(hunks) == 1 and not hunks[0].new
    return FileChange(
        names=names,
        target=None,
        may_create=was_empty and _EPOCH.match(file.source_timestamp or "") is not None,
        removes=is_empty and _EPOCH.match(file.target_timestamp or "") is not None,
        hunks=hunks,
    )


def _candidates(old: str, new: str) -> tuple[str, ...]:
    """`diff -u x.orig x` and `diff -ru before after` do not say which part of a name counts."""
    old, new = _without_prefix(old, new)
    names = [_clean(new)]
    if not old.startswith("/") or old.startswith(f"{protocol.WORKSPACE}/"):
        names.append(_clean(old))
    tail = new.partition("/")[2]
    if not new.startswith("/") and tail and tail == old.partition("/")[2]:
        names.append(_clean(tail))
    return tuple(dict.fromkeys(names))


# --- both --------------------------------------------------------------------------------------


def _unidiff(lines: list[str], offset: int) -> list[PatchedFile]:
    # 16 ms, and for this alone
    from unidiff.errors import UnidiffParseError
    from unidiff.patch import PatchSet

    if lines and lines[0].startswith("@@ "):
        raise PatchError(
            f"has a hunk in line {offset + 1} without the names of its file",
            hint="Each file's hunks follow a '---' and a '+++' line.",
        )
    for at, line in enumerate(lines, offset + 1):
        # The library passes over what it does not know, but nothing else begins like this.
        if line.startswith("@@") and not _HUNK.match(line):
            raise PatchError(
                f"is malformed in line {at}: {line.strip()[:80]!r} begins no hunk",
                hint="A hunk begins like '@@ -1,5 +1,6 @@'; merges cannot be applied.",
            )
    try:
        found = list(PatchSet(lines))
    except (UnidiffParseError, ValueError) as error:
        after = f" after line {offset}" if offset else ""
        raise PatchError(
            f"is malformed{after}: {str(error).strip()}",
            hint="Give the output of 'git diff' or 'diff -u' unaltered.",
        ) from error
    _refuse_leftovers(lines, found, offset)
    return found


def _refuse_leftovers(lines: list[str], files: list[PatchedFile], offset: int) -> None:
    """A hunk with more lines than it counts would lose them without a word."""
    counted = {line.diff_line_no for file in files for hunk in file for line in hunk}
    for at in range(1, len(lines)):
        line = lines[at]
        if (
            at in counted
            and at + 1 not in counted
            and line.startswith(("+", "-", " "))
            and not line.startswith("--- ")
            and line.rstrip() != "--"
        ):
            raise PatchError(
                f"has a hunk with more lines than its header says, in line {offset + at + 1}",
                hint="Count the hunk's lines anew, or give the output of 'git diff' unaltered.",
            )


def _binary(name: str) -> PatchError:
    return PatchError(
        f"changes the binary file {name}",
        hint="Take it out of the patch, and put the file there with 'sync push'.",
    )


def _label(name: str) -> str:
    name = name.rstrip("\r")
    try:
        return git_names.unquote(name)
    except ValueError:
        return name


def _without_prefix(old: str, new: str) -> tuple[str, str]:
    """Take off what git puts before names: a/ and b/, or the letters of mnemonic prefixes."""
    if old[1:2] == new[1:2] == "/" and old[0] + new[0] in _PREFIXES:
        return old[2:], new[2:]
    return old, new


def _clean(name: str) -> str:
    """Relative to /workspace, which it may not leave."""
    path = name
    if path.startswith("/"):
        inside = path.removeprefix(protocol.WORKSPACE)
        if inside == path or not inside.startswith("/"):
            raise PatchError(
                f"names {name!r}, which is outside {protocol.WORKSPACE}",
                hint=f"Names are relative to {protocol.WORKSPACE}.",
            )
        path = inside
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in path:
        raise PatchError(
            f"names {name!r}, which is no file of {protocol.WORKSPACE}",
            hint=f"Names are relative to {protocol.WORKSPACE} and without '..'.",
        )
    return "/".join(parts)


def _hunks(file: PatchedFile | None) -> tuple[FileHunk, ...]:
    return tuple(_hunk(hunk) for hunk in file or ())


def _hunk(hunk: Hunk) -> FileHunk:
    old: list[bytes] = []
    new: list[bytes] = []
    touched: Sequence[list[bytes]] = ()
    signs = ""
    for line in hunk:
        sides = {" ": (old, new), "-": (old,), "+": (new,)}.get(line.line_type)
        if sides is not None:
            signs += line.line_type
            touched = sides
            for side in sides:
                side.append(line.value.encode("utf-8", "surrogateescape"))
        elif line.line_type == "\\":
            for side in touched:
                side[-1] = side[-1].removesuffix(b"\n")
    before, after = hunk.source_start, hunk.source_length
    return FileHunk(
        header=f"@@ -{before},{after} +{hunk.target_start},{hunk.target_length} @@",
        # An empty range names the line before it.
        old_start=before - 1 if after else before,
        old=old,
        new=new,
        leading=len(signs) - len(signs.lstrip(" ")),
        trailing=len(signs) - len(signs.rstrip(" ")),
    )
