"""Answers about snapshots and resets."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_mcp.results.base import Result
from pyro_mcp.results.workspaces import Workspace


@dataclass(frozen=True, kw_only=True)
class ResetSummary(Result):
    """What a reset restored."""

    snapshot_name: str
    kind: str
    destination: str
    entry_count: int
    bytes_written: int


@dataclass(frozen=True, kw_only=True)
class WorkspaceResetResult(Workspace):
    """A workspace after a reset."""

    workspace_reset: ResetSummary


@dataclass(frozen=True, kw_only=True)
class Snapshot(Result):
    """One snapshot: the baseline, or a named one."""

    workspace_id: str
    snapshot_name: str
    kind: str
    created_at: float
    entry_count: int
    bytes_written: int
    deletable: bool


@dataclass(frozen=True, kw_only=True)
class SnapshotCreateResult(Result):
    """A snapshot was taken."""

    workspace_id: str
    snapshot: Snapshot
    execution_mode: str


@dataclass(frozen=True, kw_only=True)
class SnapshotList(Result):
    """The baseline, then the named snapshots, newest first."""

    workspace_id: str
    count: int
    snapshots: list[Snapshot]


@dataclass(frozen=True, kw_only=True)
class SnapshotDeleted(Result):
    """A snapshot is gone."""

    workspace_id: str
    snapshot_name: str
    deleted: bool
