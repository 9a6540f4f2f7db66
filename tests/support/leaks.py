"""What a test left behind: processes, threads, descriptors, mounts and files."""

import gc
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pyro_mcp.state import database
from tests.support.processes import descendants, reap_orphans


class LeftBehindError(AssertionError):
    """A test ended and something of it is still there."""

    def __init__(self, left: Sequence[str]) -> None:
        super().__init__("\n  ".join(["the test left behind:", *left]))


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What belongs to this test process at one moment."""

    processes: frozenset[int]
    threads: frozenset[int]
    descriptors: frozenset[tuple[int, str]]
    mounts: frozenset[str]

    @classmethod
    def now(cls) -> Self:
        """Look at the system."""
        return cls(
            processes=frozenset(process.pid for process in descendants(os.getpid())),
            threads=frozenset(_ident(thread) for thread in threading.enumerate()),
            descriptors=frozenset(_descriptors()),
            mounts=frozenset(_mounts()),
        )

    def left_since(self) -> list[str]:
        """What is there now and was not then, one line each.

        What runs below a process of then (the guest processes of a shared machine) is not counted.
        Orphans that have ended are reaped here.
        """
        reap_orphans(without=self.processes)
        left = [
            f"process {process.pid} (parent {process.parent}): {process.command[:200]}"
            for process in descendants(os.getpid(), without=self.processes)
        ]
        left += [
            f"thread {thread.name}"
            for thread in threading.enumerate()
            if _ident(thread) not in self.threads
        ]
        left += [f"mount {mount}" for mount in sorted(frozenset(_mounts()) - self.mounts)]
        open_now = frozenset(_descriptors()) - self.descriptors
        if open_now:
            # What only waits for the collector is the test's own garbage, and Python itself
            # complains about a file or socket that was not closed.
            gc.collect()
            open_now = frozenset(_descriptors()) - self.descriptors
        left += [f"descriptor {number}: {target}" for number, target in sorted(open_now)]
        return left

    def kill_what_is_left(self) -> None:
        """End the processes that are new, so that one test's leak does not fail the next."""
        for process in descendants(os.getpid(), without=self.processes):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def left_in(state_dir: Path, scratch: Path) -> list[str]:
    """What machines and builds should have removed from a state and a temporary directory."""
    left = [f"temporary file {path}" for path in _walk(scratch)]
    for path in _walk(state_dir):
        # The lock that guards the list of machines stays; its name starts with a dot.
        of_a_machine = path.parent == state_dir / "machines" and not path.name.startswith(".")
        if of_a_machine or path.is_socket() or path.is_fifo():
            left.append(f"in the state directory: {path.relative_to(state_dir)}")
    return left


def _ident(thread: threading.Thread) -> int:
    return thread.ident or 0


def _descriptors() -> Iterator[tuple[int, str]]:
    # listdir, not iterdir: its own descriptor is closed before the links are read.
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
        except FileNotFoundError:
            continue
        # Connections are kept for their next use, as long as their `Pyro`, which fixtures hold;
        # how many and how long is shown in tests/state.
        if not Path(target).name.startswith(database.NAME):
            yield int(name), target


def _mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        yield f"{fields[4]} ({fields[fields.index('-') + 1]})"


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))
