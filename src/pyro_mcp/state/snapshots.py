"""Rows of named snapshots. The baseline needs none: it is the seed and an empty disk."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True, kw_only=True)
class SnapshotRow:
    """One named snapshot."""

    name: str
    file: str
    created_at: float
    entry_count: int
    bytes_written: int


_COLUMNS = tuple(field.name for field in fields(SnapshotRow))


def insert(connection: sqlite3.Connection, workspace_id: str, row: SnapshotRow) -> None:
    """Make a snapshot visible; raises `sqlite3.IntegrityError` if the name is taken."""
    connection.execute(
        f"INSERT INTO snapshots (workspace_id, {', '.join(_COLUMNS)})"
        f" VALUES (:id, {', '.join(':' + column for column in _COLUMNS)})",
        {"id": workspace_id, **{column: getattr(row, column) for column in _COLUMNS}},
    )


def find(connection: sqlite3.Connection, workspace_id: str, name: str) -> SnapshotRow | None:
    """The snapshot of that name, or None."""
    found = connection.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM snapshots WHERE workspace_id = :id AND name = :name",
        {"id": workspace_id, "name": name},
    ).fetchone()
    return None if found is None else SnapshotRow(**dict(found))


def all_of(connection: sqlite3.Connection, workspace_id: str) -> list[SnapshotRow]:
    """All named ones, newest first."""
    found = connection.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM snapshots WHERE workspace_id = :id"
        " ORDER BY created_at DESC, name",
        {"id": workspace_id},
    )
    return [SnapshotRow(**dict(row)) for row in found]


def delete(connection: sqlite3.Connection, workspace_id: str, name: str) -> bool:
    """Forget a snapshot; False when there was none of that name."""
    done = connection.execute(
        "DELETE FROM snapshots WHERE workspace_id = :id AND name = :name",
        {"id": workspace_id, "name": name},
    )
    return done.rowcount > 0
