"""Commands in a workspace, and their history."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from pyro_mcp import protocol
from pyro_mcp.config import OUTPUT_LIMIT_BYTES
from pyro_mcp.errors import UnknownWorkspaceError
from pyro_mcp.machines import requests
from pyro_mcp.machines.spec import (
    check_command,
    check_environment,
    check_timeout,
    directory_of,
)
from pyro_mcp.results.commands import (
    CommandLogEntry,
    WorkspaceExecResult,
    WorkspaceLogs,
    tried_nothing,
)
from pyro_mcp.state import commands as history
from pyro_mcp.state import workspaces as rows
from pyro_mcp.state.commands import CommandRow
from pyro_mcp.workspaces import secrets

if TYPE_CHECKING:
    from pyro_mcp.boundary.redact import Redactor
    from pyro_mcp.machines.cancel import Cancel
    from pyro_mcp.machines.requests import CommandOutcome, OnOutput
    from pyro_mcp.workspaces.networking import Watch
    from pyro_mcp.workspaces.store import InUse, Store

KEPT_OF_ONE = 256 * 1024
"""Bytes of each stream of one command that the history keeps, head and tail."""
KEPT_OF_ALL = 16 * 1024 * 1024
"""Bytes of output that the history of one workspace keeps; the oldest output goes first."""


def execute(
    store: Store,
    workspace_id: str,
    *,
    command: str,
    timeout_seconds: float,
    cwd: str = protocol.WORKSPACE,
    env: dict[str, str] | None = None,
    secret_env: dict[str, str] | None = None,
    stdin: BinaryIO | bytes | None = None,
    on_output: OnOutput | None = None,
    keep_output: bool = True,
    cancel: Cancel | None = None,
) -> WorkspaceExecResult:
    """Run one command and record it; starts the workspace when it is stopped.

    Leaving early, by an exception of any kind, ends the command and all it started; it is not
    recorded then.

    Raises:
        InvalidInputError: Also when a variable comes from both `env` and `secret_env`.
        UnknownSecretError: `secret_env` names one that the workspace has not.
    """
    check_command(command)
    check_timeout(timeout_seconds)
    check_environment(env or {})
    cwd = directory_of(cwd)
    variables = secrets.merged(env, secrets.environment(store, workspace_id, secret_env))
    watch = secrets.watch(store, workspace_id)

    tried: list[Watch] = []

    def ask(used: InUse) -> tuple[InUse, CommandOutcome]:
        if used.row.network_policy != "off":
            from pyro_mcp.workspaces import networking  # most workspaces have none

            tried[:] = [networking.Watch(used.row, used.place)]
        return used, requests.execute(
            used.place.home,
            command,
            timeout_seconds=timeout_seconds,
            cwd=cwd,
            env=variables,
            stdin=stdin,
            on_output=on_output,
            output_limit=OUTPUT_LIMIT_BYTES if keep_output else KEPT_OF_ONE,
            cancel=cancel,
            redactor=watch.redactor,
        )

    used, outcome = store.asking(workspace_id, ask)
    stdout, stderr = outcome.stdout.text(), outcome.stderr.text()
    redactor = watch.redactor()
    shown_command, command_redacted = redactor.text(_unicode(command))
    shown_cwd, cwd_redacted = redactor.text(_unicode(cwd))
    redacted = outcome.redacted or command_redacted or cwd_redacted
    told = tried[0].told(redactor) if tried else tried_nothing()
    row = CommandRow(
        sequence=0,
        command=shown_command,
        cwd=shown_cwd,
        exit_code=outcome.exit_code,
        duration_ms=outcome.duration_ms,
        execution_mode="guest_vsock",
        recorded_at=time.time(),
        stdout=_shortened(stdout),
        stderr=_shortened(stderr),
        stdout_truncated=int(outcome.stdout.truncated or len(stdout) > KEPT_OF_ONE),
        stderr_truncated=int(outcome.stderr.truncated or len(stderr) > KEPT_OF_ONE),
        redacted=int(redacted),
    )
    with store.database.changing(lasting=False) as connection:
        sequence = history.append(connection, workspace_id, row)
        rows.touch(connection, workspace_id, row.recorded_at)
        if used.row.network_learn and told["network_learned"]:
            from pyro_mcp.workspaces import networking  # loaded by now

            networking.learn(connection, workspace_id, told["network_learned"])
        if row.stdout or row.stderr:
            history.trim(connection, workspace_id, keep_bytes=KEPT_OF_ALL)
    if sequence is None:
        raise UnknownWorkspaceError(workspace_id, [])
    return WorkspaceExecResult(
        workspace_id=workspace_id,
        environment=used.row.environment,
        environment_version=used.row.environment_version,
        command=shown_command,
        **outcome.ending(keep_output=keep_output),
        execution_mode="guest_vsock",
        sequence=sequence,
        cwd=shown_cwd,
        workspace_started=used.started_now,
        redacted=redacted,
        network_learn=bool(used.row.network_learn),
        **told,
    )


def logs(store: Store, workspace_id: str) -> WorkspaceLogs:
    """The history, oldest first, without what was a secret's value then or is one now."""
    store.row(workspace_id)
    redactor = secrets.redactor(store, workspace_id)
    with store.database.reading() as connection:
        found = [redacted(row, redactor) for row in history.history(connection, workspace_id)]
    entries = [
        CommandLogEntry(
            sequence=row.sequence,
            command=row.command,
            cwd=row.cwd,
            exit_code=row.exit_code,
            duration_ms=row.duration_ms,
            execution_mode=row.execution_mode,
            stdout_file=f"{row.sequence:06d}.stdout",
            stderr_file=f"{row.sequence:06d}.stderr",
            recorded_at=row.recorded_at,
            stdout=row.stdout,
            stderr=row.stderr,
            stdout_truncated=bool(row.stdout_truncated),
            stderr_truncated=bool(row.stderr_truncated),
            redacted=bool(row.redacted),
        )
        for row in found
    ]
    return WorkspaceLogs(
        workspace_id=workspace_id,
        count=len(entries),
        entries=entries,
        redacted=any(entry.redacted for entry in entries),
    )


def redacted(row: CommandRow, redactor: Redactor) -> CommandRow:
    """A row of the history without values that became secrets after it was stored."""
    if not redactor:
        return row
    texts = map(redactor.text, (row.command, row.cwd, row.stdout, row.stderr))
    (command, one), (cwd, two), (stdout, three), (stderr, four) = texts
    changed = bool(row.redacted) or one or two or three or four
    return replace(
        row, command=command, cwd=cwd, stdout=stdout, stderr=stderr, redacted=int(changed)
    )


def _unicode(text: str) -> str:
    """As it can be stored: bytes that are not UTF-8 are replaced."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _shortened(text: str) -> str:
    if len(text) <= KEPT_OF_ONE:
        return text
    half = KEPT_OF_ONE // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[... {left_out} characters left out ...]\n{text[-half:]}"
