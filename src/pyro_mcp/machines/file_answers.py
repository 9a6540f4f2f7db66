"""What a guest agent answers about files, checked: it is hostile.

Every function raises `GuestLostError` for what makes no sense.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import cast

from pyro_mcp.errors import GuestLostError

Answer = dict[str, object]

_TYPES = ("file", "directory", "symlink", "special")
_STATUSES = ("added", "modified", "deleted", "type_changed")


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One entry of the workspace."""

    path: str
    """Relative to /workspace."""
    artifact_type: str
    """file, directory, symlink or special."""
    size_bytes: int
    """0 for what is no file."""
    mode: int
    mtime: float
    link_target: str | None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a directory has."""

    entries: list[FileEntry]
    truncated: bool
    skipped: int
    """Devices, pipes and sockets, which are left out."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """One line that was found; `line` counts from 1, `column` characters from 1."""

    path: str
    line: int
    column: int
    text: str
    text_truncated: bool


@dataclass(frozen=True, kw_only=True)
class SearchOutcome:
    """What a search found."""

    matches: list[Match]
    truncated: bool
    files: int
    """Files that were searched."""
    skipped: int
    """Files that are binary, too large or cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a change."""

    artifact_type: str
    size_bytes: int
    mode: int
    version: tuple[int, int] | None
    """Its inode's number and `ctime`, which the guest's kernel sets at each change; an earlier
    agent tells none."""
    link_target: str | None
    data: bytes | None
    """A file's content, where it was asked for and is small enough."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One path that is not as it was in the seed."""

    path: str
    """Relative to /workspace."""
    status: str
    """added, modified, deleted or type_changed."""
    base: Side | None
    now: Side | None
    content: bool
    """False when only the mode differs."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What an archive held."""

    entries: int
    bytes: int
    """Content of regular files."""
    skipped: list[str]
    """Paths of devices, pipes and sockets, which are left out; the first of them."""
    skipped_count: int
    artifact_type: str


def line_of(line: bytes) -> Answer:
    """One line of JSON."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _nonsense("a line")
    return value


def entry_of(answer: Answer) -> FileEntry:
    """An entry."""
    kind = _one_of(answer, "artifact_type", _TYPES)
    return FileEntry(
        path=path_of(answer),
        artifact_type=kind,
        size_bytes=int_of(answer, "size_bytes"),
        mode=int_of(answer, "mode") & 0o7777,
        mtime=_float(answer, "mtime"),
        link_target=text_of(answer, "link_target") if kind == "symlink" else None,
    )


def change_of(answer: Answer, content_bytes: int) -> Change:
    """A line of `changes`."""
    return Change(
        path=path_of(answer),
        status=_one_of(answer, "status", _STATUSES),
        base=_side(answer.get("base"), content_bytes),
        now=_side(answer.get("now"), content_bytes),
        content=bool_of(answer, "content"),
    )


def _side(value: object, content_bytes: int) -> Side | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _nonsense("a side of a change")
    kind = _one_of(value, "artifact_type", _TYPES)
    data = None
    if value.get("data") is not None:
        try:
            data = base64.b64decode(text_of(value, "data"), validate=True)
        except (binascii.Error, ValueError) as error:
            raise _nonsense("data") from error
        if len(data) > content_bytes:
            raise _nonsense("data")
    inode, changed = value.get("inode"), value.get("changed_ns")
    return Side(
        artifact_type=kind,
        size_bytes=int_of(value, "size_bytes"),
        mode=int_of(value, "mode") & 0o7777,
        version=(inode, changed) if type(inode) is int and type(changed) is int else None,
        link_target=text_of(value, "link_target") if kind == "symlink" else None,
        data=data,
    )


def transfer_of(answer: Answer) -> Transfer:
    """What an archive held."""
    skipped = answer.get("skipped")
    if not isinstance(skipped, list) or not all(isinstance(path, str) for path in skipped):
        raise _nonsense("skipped")
    return Transfer(
        entries=int_of(answer, "entries"),
        bytes=int_of(answer, "bytes"),
        skipped=skipped,
        skipped_count=int_of(answer, "skipped_count"),
        artifact_type=_one_of(answer, "artifact_type", _TYPES),
    )


def path_of(answer: Answer) -> str:
    """A path relative to /workspace, that cannot lead out of it."""
    path = text_of(answer, "path")
    parts = path.split("/")
    if "\0" in path or (path and any(part in ("", ".", "..") for part in parts)):
        raise _nonsense("path")
    return path


def text_of(answer: Answer, field: str) -> str:
    """A text."""
    value = answer.get(field)
    if not isinstance(value, str):
        raise _nonsense(field)
    return value


def _one_of(answer: Answer, field: str, known: tuple[str, ...]) -> str:
    value = text_of(answer, field)
    if value not in known:
        raise _nonsense(field)
    return value


def int_of(answer: Answer, field: str) -> int:
    """A number from 0."""
    value = answer.get(field)
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise _nonsense(field)
    return value


def _float(answer: Answer, field: str) -> float:
    value = answer.get(field)
    if type(value) not in (int, float) or not -1e18 < cast("float", value) < 1e18:
        raise _nonsense(field)
    return float(cast("float", value))


def bool_of(answer: Answer, field: str) -> bool:
    """A boolean."""
    value = answer.get(field)
    if not isinstance(value, bool):
        raise _nonsense(field)
    return value


def _nonsense(field: str) -> GuestLostError:
    return GuestLostError(f"the agent's answer is not understood: {field}")
