"""What people do in a machine, timed inside it, step by step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.ground import SDK_LABEL, Ground
from benchmarks.peers.base import Peer
from benchmarks.peers.native import Native
from benchmarks.peers.podman import Podman
from benchmarks.peers.qemu import QemuTcg
from benchmarks.peers.runsc import Runsc
from benchmarks.rounds import NotMeasuredError, Subject, alternate, last_cpu, run
from benchmarks.table import Matrix, Row, Table
from pyro_mcp.config import DEBIAN_KERNEL, OWN_KERNEL

_ENVIRONMENT = "bench:12"
_MEM_MIB = 1024
_STEPS = Path(__file__).with_name("work_steps.py").read_bytes()
_TOTAL = "total"
_NATIVE = "native, 1 CPU"

Run = Callable[[], bytes]


def measure(ground: Ground) -> list[Table | Matrix]:
    """The whole list in each subject, all on one CPU, and natively on all."""
    peers, missing = ground.peers(_ENVIRONMENT, [Native, Podman, Runsc, QemuTcg])
    for kernel in (OWN_KERNEL, DEBIAN_KERNEL):
        with ground.kernel(kernel):
            ground.images(_ENVIRONMENT)
    steps: dict[str, dict[str, list[float]]] = {}
    cpu = last_cpu()

    def subject(label: str, work: Run, *, goal: str = "", note: str = "") -> Subject:
        column = steps.setdefault(label, {})

        def once() -> float:
            took = _parse(work())
            for step, value in took.items():
                column.setdefault(step, []).append(value)
            return sum(took.values())

        return Subject(label, once, goal=goal, note=note)

    def pinned(peer: Peer) -> Subject:
        argv = peer.one_shot("python3", "-")
        label = _NATIVE if isinstance(peer, Native) else peer.label
        return subject(label, partial(run, argv, stdin=_STEPS, cpu=cpu), note=peer.note)

    subjects = [
        subject(SDK_LABEL, partial(_in_guest, ground, OWN_KERNEL), goal=f"≤ 1.6 x {_NATIVE}"),
        subject(f"{SDK_LABEL}, Debian's kernel", partial(_in_guest, ground, DEBIAN_KERNEL)),
        *(pinned(peer) for peer in peers if not isinstance(peer, QemuTcg)),
    ]
    for peer in peers:
        if isinstance(peer, Native):
            argv = peer.one_shot("python3", "-")
            subjects.append(subject("native, all CPUs", partial(run, argv, stdin=_STEPS)))
    rows = alternate(subjects, rounds=ground.rounds(5, 1), warm_up=0)
    for peer in peers:
        if isinstance(peer, QemuTcg) and not ground.quick:
            # Minutes a round: once says enough.
            slow = subject(peer.label, partial(peer.work, _STEPS, cpu, _MEM_MIB), note=peer.note)
            rows += alternate([slow], rounds=1, warm_up=0)
        elif isinstance(peer, QemuTcg):
            missing = [*missing, Row(label=peer.label, note="left out by --quick")]
    return [
        Table(
            title="Work mix, total of all steps, each subject on one CPU",
            unit="s",
            rows=[*rows, *missing],
            references=[SDK_LABEL, _NATIVE] if _NATIVE in steps else [SDK_LABEL],
            digits=2,
        ),
        Matrix(title="Work mix, step by step", unit="s", columns=steps),
    ]


def _in_guest(ground: Ground, kernel: str) -> bytes:
    with ground.kernel(kernel):
        answer = ground.pyro.run_in_vm(
            environment=_ENVIRONMENT,
            command="exec python3 -",
            stdin=_STEPS,
            mem_mib=_MEM_MIB,
            timeout_seconds=1200,
            ttl_seconds=1800,
        )
    if answer["exit_code"] != 0:
        raise NotMeasuredError(f"status {answer['exit_code']}: {answer['stderr'][-300:]}")
    return str(answer["stdout"]).encode()


def _parse(output: bytes) -> dict[str, float]:
    took: dict[str, float] = {}
    for line in output.decode().splitlines():
        name, _, value = line.rpartition(" ")
        if name == "cpus":
            continue
        took[name] = float(value)
    if not took:
        raise NotMeasuredError("no step was reported")
    return took
