"""Connections are kept for the next use: few, of this process, to the file that is there now."""

from __future__ import annotations

import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from pyro_mcp.state.database import NAME, Database


def add(database: Database, text: str) -> None:
    with database.changing() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS seen (text TEXT)")
        connection.execute("INSERT INTO seen VALUES (?)", (text,))


def seen(database: Database) -> list[str]:
    with database.reading() as connection:
        return [str(row[0]) for row in connection.execute("SELECT text FROM seen")]


def connections_to(database: Database) -> int:
    """How many this process has: each has a descriptor of the log.

    Of the database itself SQLite keeps one longer, since closing it would give up its locks.
    """
    links = (Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
    log = f"{database.path}-wal"
    return sum(str(link.readlink()) == log for link in links if link.is_symlink())


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(tmp_path / "state")
    add(database, "first")
    return database


def test_one_connection_serves_one_use_after_the_other(database: Database) -> None:
    for _ in range(20):
        seen(database)

    assert connections_to(database) == 1


def test_of_many_at_once_a_few_are_kept(database: Database) -> None:
    at_once: list[int] = []
    # One counts while the others wait: whoever goes on closes or opens something.
    together = Barrier(20, action=lambda: at_once.append(connections_to(database)))

    def read(_number: int) -> None:
        with database.reading():
            together.wait()

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(read, range(20)))

    assert at_once == [20]
    assert connections_to(database) == 4


def test_what_is_kept_goes_with_the_database_object(database: Database) -> None:
    other = Database(database.path.parent)
    seen(other)
    with_both = connections_to(database)
    del other

    assert connections_to(database) == with_both - 1


def test_a_closed_one_keeps_none_and_goes_on_working(database: Database) -> None:
    seen(database)
    database.close()

    assert connections_to(database) == 0
    assert seen(database) == ["first"]


def test_after_an_error_the_next_one_begins_anew(database: Database) -> None:
    def fail_half_way() -> None:
        with database.changing() as connection:
            connection.execute("INSERT INTO seen VALUES ('half')")
            connection.execute("no SQL")

    with pytest.raises(sqlite3.Error):
        fail_half_way()

    assert connections_to(database) == 0
    assert seen(database) == ["first"]


def test_a_state_directory_that_was_removed_and_made_anew_is_the_one_that_is_read(
    database: Database,
) -> None:
    seen(database)
    shutil.rmtree(database.path.parent)

    add(database, "of the new one")

    assert seen(database) == ["of the new one"]
    assert seen(Database(database.path.parent)) == ["of the new one"]


def test_a_child_of_a_fork_makes_its_own(database: Database) -> None:
    seen(database)
    child = os.fork()
    if not child:
        code = 1
        try:
            add(database, "the child's")
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    add(database, "the parent's")

    assert status == 0
    assert seen(database) == ["first", "the child's", "the parent's"]
    with sqlite3.connect(database.path.parent / NAME) as checked:
        assert checked.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    checked.close()


def test_what_is_to_last_is_on_the_disk_before_it_is_done(database: Database) -> None:
    with database.changing() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    with database.changing(lasting=False) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 1  # NORMAL
