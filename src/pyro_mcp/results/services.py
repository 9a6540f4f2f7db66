"""Answers about services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyro_mcp.results.base import Result


@dataclass(frozen=True, kw_only=True)
class PublishedPort(Result):
    """A port of this host that leads to one of the guest."""

    host: str
    host_port: int
    guest_port: int
    protocol: str


@dataclass(frozen=True, kw_only=True)
class Service(Result):
    """One service. One that fails is a result, not an error."""

    workspace_id: str
    service_name: str
    state: str
    """running, exited, stopped or failed."""
    command: str
    cwd: str
    started_at: float
    ended_at: float | None
    exit_code: int | None
    """Of a process that ended by itself; 128 + n if signal n ended it."""
    pid: int | None
    execution_mode: str
    readiness: dict[str, Any] | None
    ready_at: float | None
    stop_reason: str | None
    published_ports: list[PublishedPort]
    """Those that listen now: as long as the service runs."""
    problem: str | None = None
    """Extra: why it is not ready, or was not; which port could not be had."""
    last_stdout: str | None = None
    """Extra: the last lines of a service that failed while its start was waited for."""
    last_stderr: str | None = None
    """Extra."""
    redacted: bool = False
    """Extra: a secret's value was taken out of this answer."""
    workspace_started: bool = False
    """Extra: the machine was stopped and was started for this call."""


@dataclass(frozen=True, kw_only=True)
class ServiceList(Result):
    """All services of a workspace, sorted by name."""

    workspace_id: str
    count: int
    running_count: int
    services: list[Service]


@dataclass(frozen=True, kw_only=True)
class ServiceLogs(Service):
    """A service and what it wrote."""

    stdout: str
    stderr: str
    tail_lines: int | None
    truncated: bool
    """Lines are missing at the beginning of one of the two."""
    stdout_bytes: int
    """Extra: all that it wrote, kept or not."""
    stderr_bytes: int
    """Extra."""
