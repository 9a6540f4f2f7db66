"""Answers about shells."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_mcp.results.base import Result


@dataclass(frozen=True, kw_only=True)
class Shell(Result):
    """One shell: a program in a terminal of the workspace."""

    workspace_id: str
    shell_id: str
    cwd: str
    """Where it was opened."""
    cols: int
    rows: int
    state: str
    """running or stopped."""
    started_at: float
    ended_at: float | None
    exit_code: int | None
    """128 + n if signal n ended it; null while it runs."""
    execution_mode: str


@dataclass(frozen=True, kw_only=True)
class ShellOpenResult(Shell):
    """A shell was opened."""

    workspace_started: bool
    """Extra: the workspace was stopped, and was started for this."""


@dataclass(frozen=True, kw_only=True)
class ShellListEntry(Shell):
    """One shell of a list."""

    output_bytes: int
    """What it ever wrote; a cursor at its end."""


@dataclass(frozen=True, kw_only=True)
class ShellList(Result):
    """The shells of a workspace that are not closed, in the order they were opened."""

    workspace_id: str
    count: int
    shells: list[ShellListEntry]


@dataclass(frozen=True, kw_only=True)
class ShellReadResult(Shell):
    """A stretch of a shell's output."""

    cursor: int
    """Where `output` begins: bytes of the whole output that lie before it."""
    next_cursor: int
    """Where to read on."""
    output: str
    truncated: bool
    """More is there now, from `next_cursor` on; or `plain` text was cut to `max_chars`."""
    plain: bool
    wait_for_idle_ms: int | None
    dropped_bytes: int
    """Extra: bytes between the cursor that was given and `cursor`, which are no longer kept."""
    wait_timed_out: bool
    """Extra: the output never came to rest, and the wait ended after its limit."""
    redacted: bool
    """Extra: the value of a secret was in `output`, and was replaced."""


@dataclass(frozen=True, kw_only=True)
class ShellWriteResult(Shell):
    """Text was typed."""

    input_length: int
    """Characters, the appended newline not counted."""
    append_newline: bool


@dataclass(frozen=True, kw_only=True)
class ShellSignalResult(Shell):
    """A signal was sent."""

    signal: str


@dataclass(frozen=True, kw_only=True)
class ShellCloseResult(Shell):
    """A shell was ended and forgotten."""

    closed: bool
