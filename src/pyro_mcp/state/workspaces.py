"""Rows of workspaces and their labels."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, kw_only=True)
class WorkspaceRow:
    """One workspace, as stored. Whether it runs is not: that is asked of its lock."""

    id: str
    name: str | None
    environment: str
    environment_version: str
    vcpu_count: int
    mem_mib: int
    ttl_seconds: int
    network_policy: str
    created_at: float
    last_activity_at: float
    generation: int
    reset_count: int
    last_reset_at: float | None
    last_sequence: int
    seed_mode: str
    seed_path: str | None
    seed_entry_count: int
    seed_bytes: int
    forked_from: str | None
    network_allow: str = "[]"
    network_private: str = "[]"
    network_inherit: int = 0
    network_learn: int = 0
    network_learned: str = "[]"


_COLUMNS = tuple(field.name for field in fields(WorkspaceRow))


def insert(connection: sqlite3.Connection, row: WorkspaceRow, labels: Mapping[str, str]) -> None:
    """Make a workspace visible; its files are whole by then."""
    names = ", ".join(_COLUMNS)
    values = ", ".join(f":{column}" for column in _COLUMNS)
    connection.execute(
        f"INSERT INTO workspaces ({names}) VALUES ({values})",
        {column: getattr(row, column) for column in _COLUMNS},
    )
    set_labels(connection, row.id, labels)


def find(connection: sqlite3.Connection, workspace_id: str) -> WorkspaceRow | None:
    """The workspace of that id, or None."""
    found = connection.execute(
        "SELECT * FROM workspaces WHERE id = :id", {"id": workspace_id}
    ).fetchone()
    return None if found is None else WorkspaceRow(**dict(found))


def all_rows(connection: sqlite3.Connection) -> list[WorkspaceRow]:
    """Every workspace, the one last used first."""
    found = connection.execute(
        "SELECT * FROM workspaces ORDER BY last_activity_at DESC, created_at DESC, id"
    )
    return [WorkspaceRow(**dict(row)) for row in found]


def delete(connection: sqlite3.Connection, workspace_id: str) -> bool:
    """Forget a workspace and all that belongs to it; False when there was none."""
    done = connection.execute("DELETE FROM workspaces WHERE id = :id", {"id": workspace_id})
    return done.rowcount > 0


def touch(connection: sqlite3.Connection, workspace_id: str, now: float) -> None:
    """Note activity; time never runs backwards here, whatever the host's clock does."""
    connection.execute(
        "UPDATE workspaces SET last_activity_at = max(last_activity_at, :now) WHERE id = :id",
        {"id": workspace_id, "now": now},
    )


def set_name(connection: sqlite3.Connection, workspace_id: str, name: str | None) -> None:
    """Give it another name, or none."""
    connection.execute(
        "UPDATE workspaces SET name = :name WHERE id = :id", {"id": workspace_id, "name": name}
    )


def set_ttl(connection: sqlite3.Connection, workspace_id: str, ttl_seconds: int) -> None:
    """Give it another time to live."""
    connection.execute(
        "UPDATE workspaces SET ttl_seconds = :ttl WHERE id = :id",
        {"id": workspace_id, "ttl": ttl_seconds},
    )


def set_learned(connection: sqlite3.Connection, workspace_id: str, network_learned: str) -> None:
    """Keep the allow list for what it has asked for."""
    connection.execute(
        "UPDATE workspaces SET network_learned = :learned WHERE id = :id",
        {"id": workspace_id, "learned": network_learned},
    )


def set_network(
    connection: sqlite3.Connection,
    workspace_id: str,
    *,
    network_policy: str,
    network_allow: str,
    network_private: str,
) -> None:
    """Give it another network policy."""
    connection.execute(
        "UPDATE workspaces SET network_policy = :policy, network_allow = :allow,"
        " network_private = :private WHERE id = :id",
        {
            "id": workspace_id,
            "policy": network_policy,
            "allow": network_allow,
            "private": network_private,
        },
    )


def switch_generation(
    connection: sqlite3.Connection, workspace_id: str, *, generation: int, now: float
) -> None:
    """The reset's switch: another disk, an empty history."""
    connection.execute(
        "UPDATE workspaces SET generation = :generation, reset_count = reset_count + 1,"
        " last_reset_at = :now, last_sequence = 0 WHERE id = :id",
        {"id": workspace_id, "generation": generation, "now": now},
    )
    connection.execute("DELETE FROM commands WHERE workspace_id = :id", {"id": workspace_id})


def labels_of(connection: sqlite3.Connection, workspace_id: str) -> dict[str, str]:
    """Its labels, sorted by key."""
    found = connection.execute(
        "SELECT key, value FROM labels WHERE workspace_id = :id ORDER BY key",
        {"id": workspace_id},
    )
    return {row["key"]: row["value"] for row in found}


def set_labels(
    connection: sqlite3.Connection, workspace_id: str, labels: Mapping[str, str]
) -> None:
    """Set these labels; others stay."""
    connection.executemany(
        "INSERT INTO labels (workspace_id, key, value) VALUES (:id, :key, :value)"
        " ON CONFLICT (workspace_id, key) DO UPDATE SET value = excluded.value",
        [{"id": workspace_id, "key": key, "value": value} for key, value in labels.items()],
    )


def clear_labels(connection: sqlite3.Connection, workspace_id: str, keys: Iterable[str]) -> None:
    """Remove these labels; absent ones are none the worse."""
    connection.executemany(
        "DELETE FROM labels WHERE workspace_id = :id AND key = :key",
        [{"id": workspace_id, "key": key} for key in keys],
    )
