"""Connections to one database file that wait for their next use.

Opening one costs a quarter of a millisecond, and closing the last one there is writes the log
into the database, which waits for the disk.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST_KEPT = 4
"""Each holds three descriptors."""


class _File(NamedTuple):
    """Which file a connection is to, and in which process it may be used."""

    process: int
    device: int
    inode: int


class Connections:
    """Those of one process and one path; from any thread, each used by one at a time."""

    def __init__(self, path: Path, *, busy_seconds: float) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._lock = threading.Lock()
        self._kept: list[tuple[_File, sqlite3.Connection]] = []
        weakref.finalize(self, _close_all, self._kept)

    @contextmanager
    def lent(self) -> Iterator[sqlite3.Connection]:
        """One that nobody else uses, in no transaction; kept when the block ends without an error.

        Raises:
            sqlite3.OperationalError: The file cannot be opened.
        """
        file = self._file()
        connection = self._kept_for(file) or self._open()
        keep = False
        try:
            yield connection
            keep = file is not None and self._file() == file
        finally:
            with self._lock:
                keep = keep and len(self._kept) < _MOST_KEPT
                if file is not None and keep:
                    self._kept.append((file, connection))
            if not keep:
                connection.close()

    def close(self) -> None:
        """Close those that nobody uses now; the next use opens another."""
        with self._lock:
            _close_all(self._kept)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=self._busy_seconds,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _kept_for(self, file: _File | None) -> sqlite3.Connection | None:
        with self._lock:
            while self._kept:
                known, connection = self._kept.pop()
                if known == file:
                    return connection
                _drop(known, connection)
        return None

    def _file(self) -> _File | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116
        except FileNotFoundError:
            return None
        return _File(os.getpid(), found.st_dev, found.st_ino)


_OF_OTHER_PROCESSES: list[sqlite3.Connection] = []
"""A child of fork(2) must neither use nor close what its parent opened (sqlite.org/howtocorrupt,
2.6); here they are out of the garbage collector's reach."""


def _drop(known: _File, connection: sqlite3.Connection) -> None:
    if known.process == os.getpid():
        connection.close()
    else:
        _OF_OTHER_PROCESSES.append(connection)


def _close_all(kept: list[tuple[_File, sqlite3.Connection]]) -> None:
    while kept:
        _drop(*kept.pop())
