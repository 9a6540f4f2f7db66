"""Which host CPU a machine is on: one, and another when that is crowded and one is idle.

The guest kernel and the processes it runs hand over to each other all the time. On one CPU that
is a switch, across two it is a sleep and a wake-up, so the whole jail stays together (measured:
a work list 2.3 times faster). What a place costs is read from the kernel: how long the jail's
processes were ready to run and did not (/proc/PID/schedstat), and how idle each CPU was
(/proc/stat; proc(5)).
"""

from __future__ import annotations

import fcntl
import os
import time

NOTE = "cpu"
_MOVES = "../../.cpus"
"""Locked while machines are placed; its time is that of the last move."""

_LOOK_SECONDS = 2.0
_IDLE_SECONDS = 10.0
"""Between two looks at a machine that does next to nothing."""
_WAITED = 0.25
"""Share of the time that a crowded machine was ready to run and did not."""
_FREE = 0.7
"""Share of the time that a CPU worth moving to had nothing to do."""
_BUSY = 0.02


class Placement:
    """Keeps an eye on one machine; the working directory is the machine's."""

    def __init__(self, jail: int, cpu: int) -> None:
        self.cpu = cpu
        self._jail = jail
        self._allowed = os.sched_getaffinity(0)
        self._seen = self._read()
        self.look_again_at = self._seen.when + _later(_LOOK_SECONDS)
        """Monotonic time of the next look; never where there is no second CPU."""
        if len(self._allowed) < 2 or self._seen.jail is None:
            self.look_again_at = float("inf")

    def look(self) -> None:
        """Move the machine if it should be elsewhere; also sets when to look again."""
        before, self._seen = self._seen, self._read()
        now = self._seen
        seconds = now.when - before.when
        used, waited = 0.0, 0.0
        for pid, (ran, stood) in (now.jail or {}).items():
            ran_before, stood_before = (before.jail or {}).get(pid, (0, 0))
            used += (ran - ran_before) / 1e9
            waited += (stood - stood_before) / 1e9
        busy = used + waited > _BUSY * seconds
        self.look_again_at = now.when + _later(_LOOK_SECONDS if busy else _IDLE_SECONDS)
        if waited < _WAITED * seconds:
            return
        free = {
            cpu: now.idle[cpu] - before.idle.get(cpu, 0.0)
            for cpu in now.idle.keys() & self._allowed - {self.cpu}
        }
        best = max(free, key=lambda cpu: free[cpu], default=None)
        if best is not None and free[best] > _FREE * seconds:
            self._move(best, seconds)

    def _move(self, cpu: int, seconds: float) -> None:
        try:
            moves = os.open(_MOVES, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return  # its directory is being removed
        try:
            fcntl.flock(moves, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # What was seen holds no longer if another machine has just gone there.
            if time.time() - os.fstat(moves).st_mtime >= seconds:
                self._move_all(cpu)
                os.utime(moves)
        except OSError:
            return  # another machine is being placed
        finally:
            os.close(moves)

    def _move_all(self, cpu: int) -> None:
        moved: set[int] = set()
        # The kernel process may start others meanwhile, on the CPU where it then is.
        while fresh := set(_tree(self._jail)) - moved:
            for pid in fresh:
                try:  # noqa: SIM105 - contextlib is not loaded here
                    os.sched_setaffinity(pid, {cpu})
                except ProcessLookupError:
                    pass
            moved |= fresh
        self.cpu = cpu
        with open(NOTE, "w", encoding="ascii") as note:  # noqa: PTH123
            note.write(str(cpu))

    def _read(self) -> _Seen:
        jail: dict[int, tuple[int, int]] | None = {}
        for pid in _tree(self._jail):
            try:
                with open(f"/proc/{pid}/schedstat", encoding="ascii") as source:  # noqa: PTH123
                    ran, stood, _ = source.read().split()
            except FileNotFoundError:
                # It has ended, or this host's kernel does not count.
                if pid == self._jail:
                    jail = None
                    break
                continue
            except (OSError, ValueError):
                continue
            if jail is not None:
                jail[pid] = int(ran), int(stood)
        return _Seen(time.monotonic(), jail, _idle())


class _Seen:
    """What one look showed: times in nanoseconds of each process, idle seconds of each CPU."""

    def __init__(
        self, when: float, jail: dict[int, tuple[int, int]] | None, idle: dict[int, float]
    ) -> None:
        self.when = when
        self.jail = jail
        self.idle = idle


def _tree(root: int) -> list[int]:
    """A process and all below it that run now."""
    found = [root]
    for pid in found:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
                with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as source:  # noqa: PTH123
                    found += [int(child) for child in source.read().split()]
        except OSError:
            continue  # it has ended
    return found


def _idle() -> dict[int, float]:
    idle = {}
    tick = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat", encoding="ascii") as source:  # noqa: PTH123
        for line in source:
            name, *fields = line.split()
            if name.startswith("cpu") and name != "cpu":
                idle[int(name[3:])] = int(fields[3]) / tick
    return idle


def _later(seconds: float) -> float:
    # Machines that were started together should not all look, and move, at once.
    return seconds * (0.8 + os.urandom(1)[0] / 640)
