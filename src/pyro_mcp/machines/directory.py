"""A machine's directory: made, locked, swept.

`<state>/machines/<id>/` belongs to whoever holds the lock on its file `lock`. The process that
makes it takes the lock and shares it with the monitor (an flock belongs to the open file, which
both then hold), so a directory whose lock is free belongs to nobody and is removed by whoever
comes next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from pyro_mcp.config import STATE_VARIABLE
from pyro_mcp.errors import CacheAccessError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MACHINES, WORKSPACES = "machines", "workspaces"
_CPU = "cpu"
_LOCK = "lock"


def make(state_dir: Path, machine_id: str) -> tuple[Path, int, int]:
    """Make a locked directory and choose its CPU: (directory, lock descriptor, CPU).

    Removes what dead processes left on the way.
    """
    machines = state_dir / MACHINES
    with accessing(machines):
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        machines.mkdir(mode=0o700, exist_ok=True)
        with _locked(state_dir / ".cpus"):
            for other in machines.iterdir():
                if not other.name.startswith("."):
                    _sweep(other)
            directory = machines / machine_id
            directory.mkdir(mode=0o700)
            lock = take_lock(directory)
            return directory, lock, _assign_cpu(state_dir, directory)


def take_lock(directory: Path) -> int:
    """Open and hold a machine's lock; waits for whoever holds it."""
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except BaseException:
        os.close(lock)
        raise
    return lock


def assign_cpu(state_dir: Path, directory: Path) -> int:
    """Choose the allowed CPU that the fewest running machines are on, and note it."""
    with _locked(state_dir / ".cpus"):
        return _assign_cpu(state_dir, directory)


def is_running(directory: Path) -> bool:
    """Whether anybody holds the machine's lock."""
    try:
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


@contextlib.contextmanager
def accessing(where: Path) -> Iterator[None]:
    """Turn the system's refusals about the state directory into pyro's error."""
    try:
        yield
    except OSError as error:
        raise CacheAccessError(
            where, error.strerror or str(error), variable=STATE_VARIABLE
        ) from error


def _assign_cpu(state_dir: Path, directory: Path) -> int:
    crowd = dict.fromkeys(os.sched_getaffinity(0), 0)
    for kind in (MACHINES, WORKSPACES):
        with contextlib.suppress(FileNotFoundError):
            for other in (state_dir / kind).iterdir():
                if other != directory and is_running(other):
                    with contextlib.suppress(OSError, ValueError, KeyError):
                        crowd[int((other / _CPU).read_text())] += 1
    cpu = min(crowd, key=lambda cpu: crowd[cpu])
    (directory / _CPU).write_text(str(cpu))
    return cpu


def remove(directory: Path) -> None:
    """Remove a directory that is ours; nothing to do when the monitor has done it."""
    import shutil  # most calls remove nothing

    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)


def _sweep(directory: Path) -> bool:
    """Remove `directory` if nobody holds its lock; False if somebody does."""
    try:
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # Its maker died between mkdir and the lock; the machines' lock is ours meanwhile.
        remove(directory)
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        remove(directory)
        return True
    finally:
        os.close(lock)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
