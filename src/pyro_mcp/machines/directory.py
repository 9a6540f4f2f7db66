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
import shutil
from typing import TYPE_CHECKING

from pyro_mcp.config import STATE_VARIABLE
from pyro_mcp.errors import CacheAccessError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CPU = "cpu"
_LOCK = "lock"


def make(state_dir: Path, machine_id: str) -> tuple[Path, int, int]:
    """Make a locked directory and choose its CPU: (directory, lock descriptor, CPU).

    Removes what dead processes left on the way. The CPU is the allowed one that the fewest
    machines are on.
    """
    machines = state_dir / "machines"
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        machines.mkdir(mode=0o700, exist_ok=True)
        with _locked(machines / ".lock"):
            cpus = dict.fromkeys(os.sched_getaffinity(0), 0)
            for other in machines.iterdir():
                if other.name.startswith("."):
                    continue
                if not _sweep(other):
                    with contextlib.suppress(OSError, ValueError, KeyError):
                        cpus[int((other / _CPU).read_text())] += 1
            directory = machines / machine_id
            directory.mkdir(mode=0o700)
            lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            cpu = min(cpus, key=lambda cpu: cpus[cpu])
            (directory / _CPU).write_text(str(cpu))
    except OSError as error:
        raise CacheAccessError(
            machines, error.strerror or str(error), variable=STATE_VARIABLE
        ) from error
    return directory, lock, cpu


def remove(directory: Path) -> None:
    """Remove a directory that is ours; nothing to do when the monitor has done it."""
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
