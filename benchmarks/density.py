"""Many machines at the same moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.ground import SDK_LABEL, Ground
from benchmarks.peers.base import Peer
from benchmarks.peers.podman import Podman
from benchmarks.peers.runsc import Runsc
from benchmarks.rounds import NotMeasuredError, Subject, alternate, run
from benchmarks.table import Table

_ENVIRONMENT = "debian:12"
_AT_ONCE = 20
_MEM_MIB = 512


def measure(ground: Ground) -> list[Table]:
    """Machines a second, from the first call to the last answer and removal."""
    peers, missing = ground.peers(_ENVIRONMENT, [Podman, Runsc])
    ground.images(_ENVIRONMENT)

    def in_guest(number: int) -> str:
        answer = ground.pyro.run_in_vm(
            environment=_ENVIRONMENT, command=_question(number), mem_mib=_MEM_MIB
        )
        return str(answer["stdout"])

    subjects = [Subject(SDK_LABEL, lambda: _rate(in_guest), goal="all answer, ≥ 4 /s")]
    subjects += [
        Subject(peer.label, partial(_rate, partial(_in_peer, peer)), note=peer.note)
        for peer in peers
    ]
    rows = alternate(subjects, rounds=ground.rounds(3, 1))
    return [
        Table(
            title=f"{_AT_ONCE} machines at once, each asked one question (higher is better)",
            unit="machines/s",
            rows=[*rows, *missing],
            references=[SDK_LABEL],
            digits=1,
        )
    ]


def _rate(ask: Callable[[int], str]) -> float:
    started = time.perf_counter()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(ask, range(_AT_ONCE)))
    took = time.perf_counter() - started
    wrong = [n for n, answer in enumerate(answers) if answer.strip() != str(n * n)]
    if wrong:
        raise NotMeasuredError(f"wrong answers from {wrong}")
    return _AT_ONCE / took


def _in_peer(peer: Peer, number: int) -> str:
    return run(peer.one_shot("sh", "-c", _question(number))).decode()


def _question(number: int) -> str:
    return f"echo $(({number} * {number}))"
