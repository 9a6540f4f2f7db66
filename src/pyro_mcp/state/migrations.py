"""The schema, as the steps that lead to it: each is applied once and recorded with its effect.

A step that has been released is never changed; what is new is a step behind it.
"""

from __future__ import annotations

_FIRST = (
    """
    CREATE TABLE workspaces (
        id TEXT PRIMARY KEY,
        name TEXT,
        environment TEXT NOT NULL,
        environment_version TEXT NOT NULL,
        vcpu_count INTEGER NOT NULL,
        mem_mib INTEGER NOT NULL,
        ttl_seconds INTEGER NOT NULL,
        network_policy TEXT NOT NULL,
        created_at REAL NOT NULL,
        last_activity_at REAL NOT NULL,
        -- which of the files data-N.ext4 in its directory is its disk
        generation INTEGER NOT NULL DEFAULT 0,
        reset_count INTEGER NOT NULL DEFAULT 0,
        last_reset_at REAL,
        last_sequence INTEGER NOT NULL DEFAULT 0,
        seed_mode TEXT NOT NULL,
        seed_path TEXT,
        seed_entry_count INTEGER NOT NULL,
        seed_bytes INTEGER NOT NULL,
        forked_from TEXT
    ) STRICT
    """,
    """
    CREATE TABLE labels (
        workspace_id TEXT NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (workspace_id, key)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE commands (
        workspace_id TEXT NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE,
        sequence INTEGER NOT NULL,
        command TEXT NOT NULL,
        cwd TEXT NOT NULL,
        exit_code INTEGER NOT NULL,
        duration_ms INTEGER NOT NULL,
        execution_mode TEXT NOT NULL,
        recorded_at REAL NOT NULL,
        stdout TEXT NOT NULL,
        stderr TEXT NOT NULL,
        stdout_truncated INTEGER NOT NULL,
        stderr_truncated INTEGER NOT NULL,
        PRIMARY KEY (workspace_id, sequence)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE snapshots (
        workspace_id TEXT NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        -- its file is snapshots/FILE in the workspace's directory
        file TEXT NOT NULL,
        created_at REAL NOT NULL,
        entry_count INTEGER NOT NULL,
        bytes_written INTEGER NOT NULL,
        PRIMARY KEY (workspace_id, name)
    ) STRICT, WITHOUT ROWID
    """,
)

_REDACTED = ("ALTER TABLE commands ADD COLUMN redacted INTEGER NOT NULL DEFAULT 0",)

_SERVICES = (
    """
    CREATE TABLE services (
        workspace_id TEXT NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        -- names this start of it to the guest
        run TEXT NOT NULL,
        command TEXT NOT NULL,
        -- 1: a secret's value was taken out of the command, which so cannot be run again
        redacted INTEGER NOT NULL,
        cwd TEXT NOT NULL,
        -- JSON: what was asked for
        readiness TEXT,
        ready_timeout_seconds INTEGER NOT NULL,
        ready_interval_ms INTEGER NOT NULL,
        secret_env TEXT NOT NULL,
        ports TEXT NOT NULL,
        -- JSON: the host's ports, in the order of `ports`
        host_ports TEXT NOT NULL,
        started_at REAL NOT NULL,
        -- as last seen; while it is `running` the guest says more
        state TEXT NOT NULL,
        ready_at REAL,
        ended_at REAL,
        exit_code INTEGER,
        stop_reason TEXT,
        PRIMARY KEY (workspace_id, name)
    ) STRICT, WITHOUT ROWID
    """,
)

# Lists of text as JSON; see network.policy.
_NETWORK = (
    "ALTER TABLE workspaces ADD COLUMN network_allow TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE workspaces ADD COLUMN network_private TEXT NOT NULL DEFAULT '[]'",
)
_INHERIT = ("ALTER TABLE workspaces ADD COLUMN network_inherit INTEGER NOT NULL DEFAULT 0",)
_LEARN = (
    "ALTER TABLE workspaces ADD COLUMN network_learn INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE workspaces ADD COLUMN network_learned TEXT NOT NULL DEFAULT '[]'",
)

MIGRATIONS = (_FIRST, _REDACTED, _SERVICES, _NETWORK, _INHERIT, _LEARN)
