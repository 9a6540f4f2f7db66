"""The history of a workspace's commands."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True, kw_only=True)
class CommandRow:
    """One command that ended."""

    sequence: int
    command: str
    cwd: str
    exit_code: int
    duration_ms: int
    execution_mode: str
    recorded_at: float
    stdout: str
    stderr: str
    stdout_truncated: int
    stderr_truncated: int
    redacted: int
    """1 when a secret's value was replaced in any of it."""


_COLUMNS = tuple(field.name for field in fields(CommandRow))


def append(connection: sqlite3.Connection, workspace_id: str, row: CommandRow) -> int | None:
    """Add a command at the end; its number, or None when the workspace is gone.

    The number in `row` is ignored: the database counts.
    """
    counted = connection.execute(
        "UPDATE workspaces SET last_sequence = last_sequence + 1 WHERE id = :id"
        " RETURNING last_sequence",
        {"id": workspace_id},
    ).fetchone()
    if counted is None:
        return None
    sequence = int(counted[0])
    values = {column: getattr(row, column) for column in _COLUMNS}
    connection.execute(
        f"INSERT INTO commands (workspace_id, {', '.join(_COLUMNS)})"
        f" VALUES (:id, {', '.join(':' + column for column in _COLUMNS)})",
        {**values, "sequence": sequence, "id": workspace_id},
    )
    return sequence


def history(connection: sqlite3.Connection, workspace_id: str) -> list[CommandRow]:
    """All of them, oldest first."""
    found = connection.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM commands WHERE workspace_id = :id ORDER BY sequence",
        {"id": workspace_id},
    )
    return [CommandRow(**dict(row)) for row in found]


def last(connection: sqlite3.Connection, workspace_id: str) -> CommandRow | None:
    """The latest, or None."""
    found = connection.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM commands WHERE workspace_id = :id"
        " ORDER BY sequence DESC LIMIT 1",
        {"id": workspace_id},
    ).fetchone()
    return None if found is None else CommandRow(**dict(found))


def trim(connection: sqlite3.Connection, workspace_id: str, *, keep_bytes: int) -> None:
    """Forget the output, not the command, of the oldest beyond `keep_bytes` of text in all."""
    connection.execute(
        "WITH sized AS (SELECT sequence, sum(length(stdout) + length(stderr))"
        " OVER (ORDER BY sequence DESC) AS total FROM commands WHERE workspace_id = :id)"
        " UPDATE commands SET stdout = '', stderr = '', stdout_truncated = 1, stderr_truncated = 1"
        " WHERE workspace_id = :id AND sequence IN"
        " (SELECT sequence FROM sized WHERE total > :keep)",
        {"id": workspace_id, "keep": keep_bytes},
    )
