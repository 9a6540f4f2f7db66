"""Rows of services: what was asked for, and what was last seen of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True, kw_only=True)
class ServiceRow:
    """The latest start of one service."""

    name: str
    run: str
    command: str
    redacted: int
    cwd: str
    readiness: str | None
    ready_timeout_seconds: int
    ready_interval_ms: int
    secret_env: str
    ports: str
    host_ports: str
    started_at: float
    state: str
    ready_at: float | None
    ended_at: float | None
    exit_code: int | None
    stop_reason: str | None


_COLUMNS = tuple(field.name for field in fields(ServiceRow))


def put(connection: sqlite3.Connection, workspace_id: str, row: ServiceRow) -> None:
    """Record a start, in the place of the former one."""
    connection.execute(
        f"INSERT OR REPLACE INTO services (workspace_id, {', '.join(_COLUMNS)})"
        f" VALUES (:id, {', '.join(':' + column for column in _COLUMNS)})",
        {"id": workspace_id, **{column: getattr(row, column) for column in _COLUMNS}},
    )


def update(connection: sqlite3.Connection, workspace_id: str, row: ServiceRow) -> None:
    """Note what was seen of this very start; nothing if another has replaced it."""
    names = ", ".join(f"{column} = :{column}" for column in _COLUMNS)
    connection.execute(
        f"UPDATE services SET {names} WHERE workspace_id = :id AND name = :name AND run = :run",
        {"id": workspace_id, **{column: getattr(row, column) for column in _COLUMNS}},
    )


def find(connection: sqlite3.Connection, workspace_id: str, name: str) -> ServiceRow | None:
    """The service of that name, or None."""
    found = connection.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM services WHERE workspace_id = :id AND name = :name",
        {"id": workspace_id, "name": name},
    ).fetchone()
    return None if found is None else ServiceRow(**dict(found))


def all_of(connection: sqlite3.Connection, workspace_id: str) -> list[ServiceRow]:
    """All of a workspace, sorted by name."""
    found = connection.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM services WHERE workspace_id = :id ORDER BY name",
        {"id": workspace_id},
    )
    return [ServiceRow(**dict(row)) for row in found]


def forget_ports(connection: sqlite3.Connection, workspace_id: str) -> None:
    """No port of this host leads to any of them any more."""
    connection.execute(
        "UPDATE services SET host_ports = '[]' WHERE workspace_id = :id", {"id": workspace_id}
    )


def remove(connection: sqlite3.Connection, workspace_id: str, name: str, run: str) -> None:
    """Forget this very start."""
    connection.execute(
        "DELETE FROM services WHERE workspace_id = :id AND name = :name AND run = :run",
        {"id": workspace_id, "name": name, "run": run},
    )


def remove_all(connection: sqlite3.Connection, workspace_id: str) -> None:
    """Forget those of a machine that has ended."""
    connection.execute("DELETE FROM services WHERE workspace_id = :id", {"id": workspace_id})
