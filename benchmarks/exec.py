"""A command in a machine that runs already: what each call costs."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.ground import SDK_LABEL, Ground
from benchmarks.peers.podman import Podman
from benchmarks.rounds import NotMeasuredError, Subject, alternate, seconds
from benchmarks.table import Table

_ENVIRONMENT = "debian:12"


def measure(ground: Ground) -> list[Table]:
    """Milliseconds from the call to the answer, for a command that does nothing."""
    peers, missing = ground.peers(_ENVIRONMENT, [Podman])
    with ground.machine(_ENVIRONMENT, mem_mib=512) as machine:

        def in_guest() -> float:
            started = time.perf_counter()
            outcome = machine.execute("true", timeout_seconds=30)
            took = time.perf_counter() - started
            if outcome.exit_code != 0:
                raise NotMeasuredError(f"'true' ended with {outcome.exit_code}")
            return took * 1000

        subjects = [
            Subject(SDK_LABEL, in_guest, goal="≤ 10 ms", note="Machine.execute"),
            Subject("sh -lc on the host", partial(_milliseconds, ["sh", "-lc", "true"])),
        ]
        running: list[tuple[Podman, str]] = []
        try:
            for peer in peers:
                if isinstance(peer, Podman):
                    container = peer.start_idle()
                    running.append((peer, container))
                    argv = peer.into(container, "sh", "-lc", "true")
                    subjects.append(Subject("podman exec", partial(_milliseconds, argv)))
            rows = alternate(subjects, rounds=ground.rounds(60, 20), warm_up=3)
        finally:
            for peer, container in running:
                peer.remove(container)
    return [
        Table(
            title="Exec round trip: 'true' in a running guest",
            unit="ms",
            rows=[*rows, *missing],
            references=[SDK_LABEL],
            digits=1,
        )
    ]


def _milliseconds(argv: list[str]) -> float:
    return seconds(argv) * 1000
