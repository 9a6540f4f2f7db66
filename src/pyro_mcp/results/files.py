"""Answers about files, of a running workspace and of a stopped one's disk."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_mcp.results.base import Result


@dataclass(frozen=True, kw_only=True)
class PathEntry(Result):
    """One entry of a directory."""

    path: str
    """Absolute. Bytes that are not UTF-8 are lone surrogates, as `os.fsdecode` gives them."""
    artifact_type: str
    """file, directory or symlink."""
    size_bytes: int
    link_target: str | None


@dataclass(frozen=True, kw_only=True)
class FileList(Result):
    """What a directory of a workspace has."""

    workspace_id: str
    path: str
    recursive: bool
    entries: list[PathEntry]
    execution_mode: str
    truncated: bool
    """Extra."""
    skipped_special: int
    """Extra: devices, pipes and sockets, which are no entries."""
    workspace_started: bool
    """Extra: it was stopped and was started for this."""


@dataclass(frozen=True, kw_only=True)
class FileStat(Result):
    """One entry of a workspace."""

    workspace_id: str
    path: str
    artifact_type: str
    """file, directory, symlink or special."""
    size_bytes: int
    mode: int
    modified_at: float
    link_target: str | None
    execution_mode: str
    workspace_started: bool


@dataclass(frozen=True, kw_only=True)
class FileRead(Result):
    """Part of a file, as text."""

    workspace_id: str
    path: str
    size_bytes: int
    """Of the whole file."""
    max_bytes: int
    content: str
    truncated: bool
    execution_mode: str
    offset: int
    """Extra."""
    bytes_read: int
    """Extra: how far the content reaches, from the offset."""
    workspace_started: bool
    """Extra."""
    redacted: bool
    """Extra: a secret's value was replaced in the content; sizes are the file's."""


@dataclass(frozen=True, kw_only=True)
class FileWrite(Result):
    """A file has its new content."""

    workspace_id: str
    path: str
    size_bytes: int
    bytes_written: int
    execution_mode: str
    workspace_started: bool
    """Extra."""


@dataclass(frozen=True, kw_only=True)
class FileDeleted(Result):
    """An entry is gone, with all that was below it."""

    workspace_id: str
    path: str
    deleted_count: int
    execution_mode: str
    workspace_started: bool


@dataclass(frozen=True, kw_only=True)
class FileMoved(Result):
    """An entry has another path."""

    workspace_id: str
    path: str
    to: str
    execution_mode: str
    workspace_started: bool


@dataclass(frozen=True, kw_only=True)
class SearchMatch(Result):
    """One line; `line` and `column` count from 1, columns in characters."""

    path: str
    line: int
    column: int
    text: str
    """At most 400 characters, those around the match."""
    text_truncated: bool


@dataclass(frozen=True, kw_only=True)
class FileSearch(Result):
    """The lines that match."""

    workspace_id: str
    path: str
    pattern: str
    matches: list[SearchMatch]
    count: int
    truncated: bool
    """There are more matches."""
    files_searched: int
    files_skipped: int
    """Binary, too large, or not readable."""
    execution_mode: str
    workspace_started: bool
    redacted: bool
    """A secret's value was replaced in the text of a match."""


@dataclass(frozen=True, kw_only=True)
class DiskExport(Result):
    """The disk of a stopped workspace, as one image on the host."""

    workspace_id: str
    output_path: str
    disk_format: str
    """ext4."""
    bytes_written: int


@dataclass(frozen=True, kw_only=True)
class DiskList(Result):
    """A directory of a stopped workspace's disk."""

    workspace_id: str
    path: str
    recursive: bool
    entries: list[PathEntry]
    truncated: bool
    """Extra."""


@dataclass(frozen=True, kw_only=True)
class DiskRead(Result):
    """The head of a file of a stopped workspace's disk."""

    workspace_id: str
    path: str
    size_bytes: int
    max_bytes: int
    content: str
    truncated: bool
    redacted: bool
    """Extra: a secret's value was replaced in the content; sizes are the file's."""
