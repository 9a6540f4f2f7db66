"""The database: opened, migrated, and changed one transaction at a time.

Any number of processes use it at once. Readers never wait (write-ahead log); writers wait for each
other, at most `BUSY_SECONDS`. Slow work is done outside a transaction, only the switch inside.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from pyro_mcp.config import STATE_VARIABLE
from pyro_mcp.errors import CacheAccessError, DiskSpaceError, StateVersionError
from pyro_mcp.host.files import free_mib
from pyro_mcp.state.connections import Connections
from pyro_mcp.state.migrations import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "pyro.db"
RESERVE = "reserve"
"""Given up when the file system is full, so that removing a workspace is still possible."""
BUSY_SECONDS = 60
_NEEDED_MIB = 1
"""Of room, for a change and its log; as large is the reserve."""
_PLENTY_MIB = 64


class Database:
    """One state directory's database. Makes no connection before it is used."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self.path = state_dir / NAME
        self._connections = Connections(self.path, busy_seconds=BUSY_SECONDS)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A consistent view; nothing can be changed through it."""
        with self._connected() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                _roll_back(connection)

    @contextmanager
    def changing(self, *, lasting: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction: everything in the block takes effect, or nothing.

        It survives a crash of pyro at any point. With `lasting` it also survives a power cut,
        for which it waits for the disk; without, that may lose it with all after it that did not
        wait either.
        """
        with self._connected() as connection:
            connection.execute(f"PRAGMA synchronous = {'FULL' if lasting else 'NORMAL'}")
            # Taken for writing at once: a transaction that began by reading could be refused
            # in the middle, when another process wrote in between.
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise

    def close(self) -> None:
        """Let go of what is kept for the next use."""
        self._connections.close()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with ExitStack() as owned:
            try:
                self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                _keep_reserve(self._state_dir)
                connection = owned.enter_context(self._connections.lent())
            except (OSError, sqlite3.OperationalError) as error:
                why = error.strerror if isinstance(error, OSError) else None
                raise CacheAccessError(
                    self._state_dir, why or str(error), variable=STATE_VARIABLE
                ) from error
            try:
                self._migrate(connection)
                yield connection
            except sqlite3.OperationalError as error:
                if (free := free_mib(self._state_dir)) < _NEEDED_MIB and _is_full(error):
                    raise DiskSpaceError(
                        self._state_dir,
                        needed_mib=_NEEDED_MIB,
                        free_mib=free,
                        variable=STATE_VARIABLE,
                    ) from error
                raise
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                raise CacheAccessError(
                    self.path, f"it is no database, or damaged: {error}", variable=STATE_VARIABLE
                ) from error

    def _migrate(self, connection: sqlite3.Connection) -> None:
        if _version(connection) == len(MIGRATIONS):
            return
        connection.execute("PRAGMA journal_mode = WAL")
        os.chmod(self.path, 0o600)  # noqa: PTH101
        while True:
            connection.execute("BEGIN IMMEDIATE")
            try:
                # Another process may have been first.
                version = _version(connection)
                if version > len(MIGRATIONS):
                    raise StateVersionError(self.path, found=version, known=len(MIGRATIONS))
                if version < len(MIGRATIONS):
                    for statement in MIGRATIONS[version]:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {version + 1}")
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise
            if version >= len(MIGRATIONS) - 1:
                return


def _keep_reserve(state_dir: Path) -> None:
    reserve = state_dir / RESERVE
    free = free_mib(state_dir)
    if free < _NEEDED_MIB:
        reserve.unlink(missing_ok=True)
    elif free >= _PLENTY_MIB and not reserve.exists():
        descriptor = os.open(reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _NEEDED_MIB << 20)
        finally:
            os.close(descriptor)


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:  # some errors, a full disk among them, end it by themselves
        connection.execute("ROLLBACK")


def _is_full(error: sqlite3.OperationalError) -> bool:
    # A log that cannot be made or mapped is an error of input and output.
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    # Errors of the module itself have no code.
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
