"""Answers about workspaces."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyro_mcp.results.base import Result


@dataclass(frozen=True, kw_only=True)
class WorkspaceSeed(Result):
    """What /workspace began with."""

    mode: str
    """empty, directory or tar_archive."""
    seed_path: str | None
    destination: str
    entry_count: int
    bytes_written: int
    skipped: list[str] = field(default_factory=list)
    """Extra: what was left out and why; told when the workspace is created, and not kept."""


@dataclass(frozen=True, kw_only=True)
class LastCommand(Result):
    """The latest command of a workspace, without its output."""

    sequence: int
    command: str
    cwd: str
    exit_code: int
    duration_ms: int
    execution_mode: str
    redacted: bool = False
    """Extra: a secret's value was replaced in it, here or in its output."""


@dataclass(frozen=True, kw_only=True)
class Workspace(Result):
    """One workspace."""

    workspace_id: str
    name: str | None
    labels: dict[str, str]
    environment: str
    environment_version: str | None
    vcpu_count: int
    mem_mib: int
    ttl_seconds: int
    created_at: float
    last_activity_at: float
    expires_at: float | None
    """When its machine stops if nobody uses it until then; null when nothing stops it."""
    state: str
    """started or stopped."""
    network_policy: str
    network_enabled: bool
    allow_host_compat: bool
    guest_ip: str | None
    tap_name: str | None
    execution_mode: str
    workspace_path: str
    workspace_seed: WorkspaceSeed
    secrets: list[dict[str, str]]
    command_count: int
    last_command: LastCommand | None
    reset_count: int
    last_reset_at: float | None
    service_count: int
    running_service_count: int
    engine: str | None
    """Extra."""
    isolation: str
    """Extra."""
    forked_from: str | None
    """Extra: the workspace it is a copy of."""
    network_allow: list[str]
    """Extra: all that it reaches, if not empty."""
    network_private: list[str]
    """Extra: closed ranges that are open to it."""
    network_inherit: bool
    """Extra: its commands have the host's proxies, package indexes and certificates."""
    network_learn: bool
    """Extra: what it asks for is kept as `network_learned`."""
    network_learned: list[str]
    """Extra: the smallest `network_allow` for all that it has asked for."""
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WorkspaceListItem(Result):
    """One workspace, in a list."""

    workspace_id: str
    name: str | None
    labels: dict[str, str]
    environment: str
    state: str
    created_at: float
    last_activity_at: float
    expires_at: float | None
    command_count: int
    service_count: int
    running_service_count: int


@dataclass(frozen=True, kw_only=True)
class WorkspaceList(Result):
    """All workspaces, the one last used first."""

    count: int
    workspaces: list[WorkspaceListItem]


@dataclass(frozen=True, kw_only=True)
class WorkspaceDeleted(Result):
    """A workspace is gone."""

    workspace_id: str
    deleted: bool
    reason: str
