"""What an idle machine costs the host in memory, everything that serves it included."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from benchmarks.ground import Ground
from benchmarks.peers.podman import Podman
from benchmarks.peers.runsc import Runsc
from benchmarks.processes import adopt_orphans, descendants, memory_mib
from benchmarks.rounds import NotMeasuredError, Subject, alternate
from benchmarks.table import Table

_ENVIRONMENT = "debian:12"
_SETTLED_MIB = 0.5
_LOOK_SECONDS = 0.5


def measure(ground: Ground) -> list[Table]:
    """Proportional set size of all processes that came with one idle machine."""
    adopt_orphans()
    peers, missing = ground.peers(_ENVIRONMENT, [Podman, Runsc])
    subjects = [_pyro(ground, mem_mib) for mem_mib in (256, 512, 1024)]
    for peer in peers:
        if isinstance(peer, Podman):
            subjects.append(_subject("podman container", partial(_container, peer)))
        elif isinstance(peer, Runsc):
            argv = peer.one_shot("sh", "-c", "echo up; exec sleep 1000")
            subjects.append(_subject("runsc do", partial(_process, argv)))
    rows = alternate(subjects, rounds=ground.rounds(3, 1), warm_up=0)
    return [
        Table(
            title="Host memory of an idle machine (PSS, after one command)",
            unit="MiB",
            rows=[*rows, *missing],
            references=[subjects[0].label],
            digits=1,
        )
    ]


def _pyro(ground: Ground, mem_mib: int) -> Subject:
    @contextmanager
    def machine() -> Iterator[None]:
        with ground.machine(_ENVIRONMENT, mem_mib=mem_mib) as it:
            it.execute("true", timeout_seconds=30)
            yield

    return _subject(f"pyro, {mem_mib} MiB guest", machine, goal="≤ 80 MiB")


def _subject(
    label: str, start: Callable[[], AbstractContextManager[None]], goal: str = ""
) -> Subject:
    def once() -> float:
        before = descendants()
        with start():
            return settled(lambda: descendants() - before)

    return Subject(label, once, goal=goal)


def settled(processes: Callable[[], set[int]]) -> float:
    """Memory of these processes, in MiB, once two looks in a row agree."""
    last = memory_mib(processes())
    for _ in range(20):
        time.sleep(_LOOK_SECONDS)
        now = memory_mib(processes())
        if abs(now - last) < _SETTLED_MIB:
            return now
        last = now
    raise NotMeasuredError("its memory did not come to rest")


@contextmanager
def _container(peer: Podman) -> Iterator[None]:
    container = peer.start_idle()
    try:
        yield
    finally:
        peer.remove(container)


@contextmanager
def _process(argv: list[str]) -> Iterator[None]:
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != b"up\n":
                raise NotMeasuredError(f"{argv[0]} did not start")
            yield
        finally:
            process.terminate()
