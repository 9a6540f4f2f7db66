"""Answers about diffs and patches."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_mcp.results.base import Result


@dataclass(frozen=True, kw_only=True)
class DiffSummary(Result):
    """How much differs from the baseline."""

    total: int
    added: int
    modified: int
    deleted: int
    type_changed: int
    text_patched: int
    non_text: int
    lines_added: int
    """Extra."""
    lines_removed: int
    """Extra."""


@dataclass(frozen=True, kw_only=True)
class DiffEntry(Result):
    """One path that is not as it was."""

    path: str
    """Relative to /workspace."""
    status: str
    """added, modified, deleted or type_changed."""
    artifact_type: str
    """file, directory or symlink; of what was deleted, what it was."""
    text_patch: str | None
    """In git's format; null when git's format has no text for it, or when it was left out."""
    truncated: bool = False
    """Extra: it has text, which was left out for its size."""
    old_mode: str | None = None
    """Extra: permission bits before, in octal; null when it was added."""
    new_mode: str | None = None
    """Extra: permission bits now; null when it was deleted."""
    size_bytes: int = 0
    """Extra: of a file, now, or before it was deleted."""
    lines_added: int | None = None
    """Extra: null when there is no text patch."""
    lines_removed: int | None = None
    """Extra."""
    redacted: bool = False
    """Extra: a secret's value was replaced in `text_patch`, which can not be applied then."""


@dataclass(frozen=True, kw_only=True)
class WorkspaceDiff(Result):
    """How /workspace differs from what it was."""

    workspace_id: str
    changed: bool
    summary: DiffSummary
    entries: list[DiffEntry]
    patch: str
    """All text patches; `git apply` takes it."""
    against: str
    """Extra: what it is compared with."""
    truncated: bool
    """Extra: some text was left out of `patch`, see the entries."""
    skipped: list[str]
    """Extra: devices, pipes and sockets, which are no part of it; the first of them."""
    redacted: bool
    """Extra: a secret's value was replaced in `patch`, which can not be applied then."""
    workspace_started: bool
    """Extra: the machine was stopped and was started for this call."""


@dataclass(frozen=True, kw_only=True)
class PatchSummary(Result):
    """How much a patch changed."""

    total: int
    added: int
    modified: int
    deleted: int


@dataclass(frozen=True, kw_only=True)
class PatchEntry(Result):
    """One file that a patch changed."""

    path: str
    """Absolute, below /workspace."""
    status: str
    """added, modified or deleted."""
    renamed_from: str | None = None
    """Extra: the absolute path it was moved or copied from."""


@dataclass(frozen=True, kw_only=True)
class PatchResult(Result):
    """A patch was applied, all of it."""

    workspace_id: str
    changed: bool
    summary: PatchSummary
    entries: list[PatchEntry]
    patch: str
    execution_mode: str
    workspace_started: bool
    """Extra: the machine was stopped and was started for this call."""
    redacted: bool
    """Extra: a secret's value was replaced in `patch`, not in what was applied."""
