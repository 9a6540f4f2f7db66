"""What is asked of a guest agent about several files at once: a look at them, and changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.machines import file_answers, files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pyro_mcp.machines.files import FileEntry

_PATHS_AT_ONCE = 500
_LONGEST_REQUEST = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Step:
    """One file or symlink that is replaced, made or removed."""

    path: str
    before: float | None
    """`mtime` of the file or link that is there; None: there is none."""
    kind: str | None
    """file or symlink; None removes it."""
    mode: int = 0o644
    content: bytes = b""
    """A symlink's is its target."""
    replaces_directory: bool = False
    """In its place is a directory, which the other steps leave without files."""


def look(home: Path, paths: Sequence[str]) -> dict[str, FileEntry]:
    """Entries of those paths that exist; no link is followed, on the way to them neither.

    Raises `WorkspaceFileError` and `GuestLostError` as all of `machines.files`.
    """
    found: dict[str, FileEntry] = {}
    for part in _parts(paths):
        lines: list[file_answers.Answer] = []
        files.ask_lines(home, {"op": "look", "paths": part}, lines.append, most=len(part))
        for line in lines:
            entry = file_answers.entry_of(line)
            found[entry.path] = entry
    return found


def digests(home: Path, paths: Sequence[str]) -> dict[str, str]:
    """What tells contents apart, of those paths that are regular files; links are not followed."""
    found: dict[str, str] = {}
    for part in _parts(paths):
        lines: list[file_answers.Answer] = []
        files.ask_lines(home, {"op": "digests", "paths": part}, lines.append, most=len(part))
        for line in lines:
            found[file_answers.path_of(line)] = file_answers.text_of(line, "digest")
    return found


def commit(home: Path, steps: Iterable[Step]) -> None:
    """Take all steps, or none.

    Raises:
        WorkspaceFileError: One cannot be taken, or what is there is not what `before` says;
            the workspace is as it was.
    """
    files.ask(home, {"op": "commit"}, source=files.source_of(_stream(steps)))


def _stream(steps: Iterable[Step]) -> Iterator[bytes]:
    for step in steps:
        line = {
            "path": step.path,
            "mtime": step.before,
            "kind": step.kind,
            "mode": step.mode,
            "size_bytes": len(step.content),
            "replaces_directory": step.replaces_directory,
        }
        yield json.dumps(line).encode() + b"\n" + step.content


def _parts(paths: Sequence[str]) -> Iterator[list[str]]:
    """No more at once than one request carries."""
    part: list[str] = []
    size = 0
    for path in paths:
        if len(part) == _PATHS_AT_ONCE or size > _LONGEST_REQUEST:
            yield part
            part, size = [], 0
        part.append(path)
        size += 6 * len(path)
    if part:
        yield part
