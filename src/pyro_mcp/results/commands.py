"""Answers about commands: how one ended, and a workspace's history of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

from pyro_mcp.results.base import Result


class Ending(TypedDict):
    """How a command ended, as all answers about one command tell it."""

    stdout: str
    stderr: str
    exit_code: int
    duration_ms: int
    signal: int | None
    timed_out: bool
    oom_killed: bool
    stdout_bytes: int
    stderr_bytes: int
    stdout_truncated: bool
    stderr_truncated: bool


class Tried(TypedDict):
    """What a command tried to reach, as all answers about one command tell it."""

    network_denied: int
    network_denied_to: list[dict[str, Any]]
    network_learned: list[str]


def tried_nothing() -> Tried:
    """What a command tried that had no network."""
    return Tried(network_denied=0, network_denied_to=[], network_learned=[])


@dataclass(frozen=True, kw_only=True)
class ExecResult(Result):
    """What one command did. A command that fails or times out is a result, not an error."""

    environment: str
    environment_version: str | None
    command: str
    stdout: str
    stderr: str
    exit_code: int
    """128 + n if signal n ended it, 124 after its time."""
    duration_ms: int
    execution_mode: str
    signal: int | None
    """Extra: the signal that ended the command."""
    timed_out: bool
    """Extra."""
    oom_killed: bool
    """Extra: the guest ran out of memory and its kernel ended something."""
    stdout_bytes: int
    """Extra: all that the command wrote, kept or not."""
    stderr_bytes: int
    """Extra."""
    stdout_truncated: bool
    """Extra: the middle was left out of `stdout`."""
    stderr_truncated: bool
    """Extra."""
    network_denied: int
    """Extra: attempts to reach something that were refused during the command."""
    network_denied_to: list[dict[str, Any]]
    """Extra: where, why, and what would allow it; at most 20."""
    network_learned: list[str]
    """Extra: the smallest `network_allow` that covers what the command tried."""


@dataclass(frozen=True, kw_only=True)
class WorkspaceExecResult(ExecResult):
    """What one command in a workspace did."""

    workspace_id: str
    sequence: int
    cwd: str
    workspace_started: bool
    """Extra: the machine was stopped and was started for this call."""
    redacted: bool
    """Extra: a secret's value was replaced by `[REDACTED]`, in the output or the command."""
    network_learn: bool
    """Extra: what `network_learned` says is kept with the workspace too."""


@dataclass(frozen=True, kw_only=True)
class CommandLogEntry(Result):
    """One command of the history."""

    sequence: int
    command: str
    cwd: str
    exit_code: int
    duration_ms: int
    execution_mode: str
    stdout_file: str
    stderr_file: str
    recorded_at: float
    stdout: str
    stderr: str
    stdout_truncated: bool
    """Extra."""
    stderr_truncated: bool
    """Extra."""
    redacted: bool
    """Extra."""


@dataclass(frozen=True, kw_only=True)
class WorkspaceLogs(Result):
    """The history of a workspace's commands, oldest first."""

    workspace_id: str
    count: int
    entries: list[CommandLogEntry]
    redacted: bool
    """Extra: a secret's value was replaced in one of them."""
