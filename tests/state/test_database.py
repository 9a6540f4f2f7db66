"""The database: one transaction at a time, whoever else writes, whoever is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyro_mcp.errors import CacheAccessError, StateVersionError
from pyro_mcp.state import commands, workspaces
from pyro_mcp.state.commands import CommandRow
from pyro_mcp.state.database import Database
from pyro_mcp.state.migrations import MIGRATIONS
from pyro_mcp.state.workspaces import WorkspaceRow


def row(workspace_id: str, *, at: float = 0.0) -> WorkspaceRow:
    return WorkspaceRow(
        id=workspace_id,
        name=None,
        environment="debian:12",
        environment_version="1.0.0",
        vcpu_count=1,
        mem_mib=512,
        ttl_seconds=600,
        network_policy="off",
        created_at=at,
        last_activity_at=at,
        generation=0,
        reset_count=0,
        last_reset_at=None,
        last_sequence=0,
        seed_mode="empty",
        seed_path=None,
        seed_entry_count=0,
        seed_bytes=0,
        forked_from=None,
    )


def command(text: str, output: str = "") -> CommandRow:
    return CommandRow(
        sequence=0,
        command=text,
        cwd="/workspace",
        exit_code=0,
        duration_ms=1,
        execution_mode="guest_vsock",
        recorded_at=0.0,
        stdout=output,
        stderr="",
        stdout_truncated=0,
        redacted=0,
        stderr_truncated=0,
    )


@pytest.fixture
def database(state_dir: Path) -> Database:
    return Database(state_dir)


def test_what_a_transaction_began_is_there_whole_or_not_at_all(database: Database) -> None:
    def fail_half_way() -> None:
        with database.changing() as connection:
            workspaces.insert(connection, row("a" * 12), {"kind": "test"})
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail_half_way()

    with database.reading() as connection:
        assert workspaces.all_rows(connection) == []


def test_a_workspace_comes_back_as_it_was_put_in(database: Database) -> None:
    with database.changing() as connection:
        workspaces.insert(connection, row("a" * 12), {"b": "2", "a": "1"})

    with database.reading() as connection:
        assert workspaces.find(connection, "a" * 12) == row("a" * 12)
        assert list(workspaces.labels_of(connection, "a" * 12)) == ["a", "b"]


def test_the_one_used_last_comes_first(database: Database) -> None:
    with database.changing() as connection:
        for number, workspace_id in enumerate(("a", "b", "c")):
            workspaces.insert(connection, row(workspace_id, at=number), {})
        workspaces.touch(connection, "a", 10.0)
        workspaces.touch(connection, "b", -5.0)

    with database.reading() as connection:
        assert [found.id for found in workspaces.all_rows(connection)] == ["a", "c", "b"]


def test_with_a_workspace_goes_all_that_belongs_to_it(database: Database) -> None:
    with database.changing() as connection:
        workspaces.insert(connection, row("a"), {"k": "v"})
        commands.append(connection, "a", command("true"))

    with database.changing() as connection:
        assert workspaces.delete(connection, "a")

    with database.changing() as connection:
        workspaces.insert(connection, row("a"), {})
        assert workspaces.labels_of(connection, "a") == {}
        assert commands.history(connection, "a") == []


def test_a_command_of_a_workspace_that_is_gone_is_not_recorded(database: Database) -> None:
    with database.changing() as connection:
        assert commands.append(connection, "gone", command("true")) is None


def test_commands_are_counted_without_a_gap_by_many_writers(database: Database) -> None:
    with database.changing() as connection:
        workspaces.insert(connection, row("a"), {})

    def record(number: int) -> int | None:
        with database.changing() as connection:
            return commands.append(connection, "a", command(f"echo {number}"))

    with ThreadPoolExecutor(16) as pool:
        numbers = list(pool.map(record, range(100)))

    assert sorted(n for n in numbers if n) == list(range(1, 101))
    with database.reading() as connection:
        assert len(commands.history(connection, "a")) == 100


def test_of_too_much_output_the_oldest_goes_and_its_commands_stay(database: Database) -> None:
    with database.changing() as connection:
        workspaces.insert(connection, row("a"), {})
        for number in range(10):
            commands.append(connection, "a", command(str(number), "x" * 100))
        commands.trim(connection, "a", keep_bytes=350)

    with database.reading() as connection:
        kept = commands.history(connection, "a")
    assert [entry.stdout != "" for entry in kept] == [False] * 7 + [True] * 3
    assert [entry.stdout_truncated for entry in kept] == [1] * 7 + [0] * 3


def test_a_database_of_a_newer_pyro_is_refused(database: Database) -> None:
    with database.reading():
        pass
    connection = sqlite3.connect(database.path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()

    with pytest.raises(StateVersionError, match="newer pyro"), database.reading():
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CacheAccessError, match="PYRO_STATE_DIR"):
        with Database(tmp_path / "file" / "state").reading():
            pass


def test_what_is_no_database_is_named(database: Database) -> None:
    database.path.parent.mkdir(parents=True, exist_ok=True)
    database.path.write_bytes(b"something else" * 100)

    with (
        pytest.raises(CacheAccessError, match=r"pyro\.db cannot be used: it is no database"),
        database.reading(),
    ):
        pass


def test_only_its_owner_can_read_it(database: Database) -> None:
    with database.changing():
        pass

    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(database.path.parent.stat().st_mode) == 0o700


_WRITER = """
import sys
from pathlib import Path
from pyro_mcp.state.database import Database
database = Database(Path(sys.argv[1]))
print("begun", flush=True)
while True:
    with database.changing() as connection:
        connection.execute("UPDATE workspaces SET last_sequence = last_sequence + 1")
        connection.execute("UPDATE workspaces SET reset_count = reset_count + 1")
"""


def test_a_writer_that_is_killed_leaves_whole_transactions(database: Database) -> None:
    with database.changing() as connection:
        workspaces.insert(connection, row("a"), {})
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(database.path.parent)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            os.kill(writer.pid, signal.SIGKILL)

        with database.reading() as connection:
            found = workspaces.find(connection, "a")
        assert found is not None
        assert found.last_sequence == found.reset_count


def test_many_processes_may_be_the_first(state_dir: Path) -> None:
    """Each finds a complete schema, whoever of them made it."""
    look = "import sys; from pathlib import Path; from pyro_mcp.state.database import Database\n"
    look += "with Database(Path(sys.argv[1])).changing() as c: c.execute('SELECT * FROM snapshots')"
    begun = [
        subprocess.Popen([sys.executable, "-c", look, str(state_dir)], stderr=subprocess.PIPE)
        for _ in range(8)
    ]

    for process in begun:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
