"""Answers about what crossed between host and workspace."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_mcp.results.base import Result


@dataclass(frozen=True, kw_only=True)
class WorkspaceSync(Result):
    """What was pushed into a workspace."""

    mode: str
    """directory, tar_archive or zip_archive."""
    source_path: str
    destination: str
    entry_count: int
    bytes_written: int
    skipped: list[str]
    """Extra: what was left out and why."""


@dataclass(frozen=True, kw_only=True)
class WorkspaceSyncResult(Result):
    """A push was carried out, whole."""

    workspace_id: str
    execution_mode: str
    workspace_sync: WorkspaceSync
    workspace_started: bool
    """Extra: the machine was stopped and was started for this call."""


@dataclass(frozen=True, kw_only=True)
class WorkspaceExportResult(Result):
    """A file, directory or link of a workspace is on the host now, whole."""

    workspace_id: str
    workspace_path: str
    output_path: str
    artifact_type: str
    """file, directory or symlink."""
    entry_count: int
    bytes_written: int
    execution_mode: str
    packed: bool
    """Extra: a directory was written as an archive."""
    skipped: list[str]
    """Extra: what was left out and why."""
    workspace_started: bool
    """Extra: the machine was stopped and was started for this call."""
