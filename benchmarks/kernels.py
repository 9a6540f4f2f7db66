"""The guest kernel beside the distribution's, the peers and the host: what a program asks of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import bare_kernel
from benchmarks.ground import Ground
from benchmarks.memory import settled
from benchmarks.peers.base import Peer
from benchmarks.peers.native import Native
from benchmarks.peers.podman import Podman
from benchmarks.peers.runsc import Runsc
from benchmarks.processes import adopt_orphans, descendants
from benchmarks.rounds import NotMeasuredError, Subject, alternate, last_cpu, run
from benchmarks.table import Matrix, Table
from pyro_mcp.config import DEBIAN_KERNEL, OWN_KERNEL
from pyro_mcp.guest.rest import AFTER_SECONDS
from pyro_mcp.machines.choose import choose_engine
from pyro_mcp.machines.machine import Machine
from pyro_mcp.machines.spec import Images, MachineSpec

_ENVIRONMENT = "debian:12"
_SOURCE = Path(__file__).with_name("kernel_steps.c")
_RECEIVE = "cat > /tmp/steps && chmod +x /tmp/steps && exec /tmp/steps"
_OWN, _DEBIAN, _NATIVE = "own kernel", "Debian's kernel", "native, 1 CPU"
_GOALS = "goals: getpid ≤ 10, fork+exec ≤ 3500, first touch in order ≤ 6 where native is 2"
_MEM_MIB = 512
_LIFE_SECONDS = 3600
_REST_SECONDS = AFTER_SECONDS + 10


def measure(ground: Ground) -> list[Table | Matrix]:
    """Steps in each subject, all on one CPU; boot with power-off, and memory, of both kernels."""
    adopt_orphans()
    program = _compile()
    peers, missing = ground.peers(_ENVIRONMENT, [Native, Podman, Runsc])
    steps: dict[str, dict[str, list[float]]] = {}
    cpu = last_cpu()

    def subject(
        label: str, work: Callable[[], bytes], *, goal: str = "", note: str = ""
    ) -> Subject:
        column = steps.setdefault(label, {})

        def once() -> float:
            took = _parse(work())
            for step, value in took.items():
                column.setdefault(step, []).append(value)
            return sum(took.values())

        return Subject(label, once, goal=goal, note=note)

    def of_peer(peer: Peer) -> Subject:
        argv = peer.one_shot("sh", "-c", _RECEIVE)
        label = _NATIVE if isinstance(peer, Native) else peer.label
        return subject(label, partial(run, argv, stdin=program, cpu=cpu), note=peer.note)

    own, debian = _images(ground, OWN_KERNEL), _images(ground, DEBIAN_KERNEL)
    rounds = ground.rounds(5, 1)
    rows = alternate(
        [
            subject(_OWN, partial(_steps, ground, own, program)),
            subject(_DEBIAN, partial(_steps, ground, debian, program)),
            *(of_peer(peer) for peer in peers),
        ],
        rounds=rounds,
        warm_up=0,
    )
    life = alternate(
        [
            Subject(_OWN, partial(_life, ground, own), goal=f"≤ 0.6 x {_DEBIAN}"),
            Subject(_DEBIAN, partial(_life, ground, debian)),
        ],
        rounds=ground.rounds(10, 3),
    )
    memory = alternate(
        [
            Subject(_OWN, partial(_memory, ground, own), goal="≤ 24 MiB"),
            Subject(_DEBIAN, partial(_memory, ground, debian)),
        ],
        rounds=ground.rounds(5, 1),
        warm_up=0,
    )
    rest = alternate(
        [
            Subject(_OWN, partial(_memory, ground, own, at_rest=True), goal="≤ 24 MiB"),
            Subject(_DEBIAN, partial(_memory, ground, debian, at_rest=True)),
        ],
        rounds=ground.rounds(5, 1),
        warm_up=0,
    )
    return [
        Table(
            title="Kernels: sum of the steps below, one of each",
            unit="us", rows=[*rows, *missing], references=[_NATIVE, _DEBIAN], digits=0,
        ),
        Matrix(title="Kernels, step by step", unit="us", columns=steps, remarks=[_GOALS]),
        Table(
            title="A machine booted and powered off",
            unit="s", rows=life, references=[_DEBIAN],
        ),
        Table(
            title=f"The kernel's processes of a machine of {_MEM_MIB} MiB, after one command",
            unit="MiB", rows=memory, references=[_DEBIAN], digits=1,
        ),
        Table(
            title=f"The same after {_REST_SECONDS:.0f} s in which nothing was asked for",
            unit="MiB", rows=rest, references=[_DEBIAN], digits=1,
        ),
        *bare_kernel.measure(ground),
    ]  # fmt: skip


def _compile() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "steps"
        run(["gcc", "-O2", "-static", "-o", str(target), str(_SOURCE)])
        return target.read_bytes()


def _images(ground: Ground, kernel: str) -> Images:
    with ground.kernel(kernel):
        return ground.images(_ENVIRONMENT)


def _machine(ground: Ground, images: Images) -> Machine:
    spec = MachineSpec(_ENVIRONMENT, 1, _MEM_MIB, _LIFE_SECONDS, False, False)
    return Machine.create(ground.pyro.manager.settings, spec, images, choose_engine())


def _steps(ground: Ground, images: Images, program: bytes) -> bytes:
    with _machine(ground, images) as machine:
        machine.start(life_seconds=_LIFE_SECONDS)
        outcome = machine.execute(_RECEIVE, stdin=program, timeout_seconds=600)
    if outcome.exit_code != 0:
        raise NotMeasuredError(f"status {outcome.exit_code}: {outcome.stderr.text()[-300:]}")
    return outcome.stdout.text().encode()


def _life(ground: Ground, images: Images) -> float:
    with _machine(ground, images) as machine:
        started = time.perf_counter()
        machine.start(life_seconds=_LIFE_SECONDS)
        machine.stop()
        return time.perf_counter() - started


def _memory(ground: Ground, images: Images, *, at_rest: bool = False) -> float:
    with _machine(ground, images) as machine:
        machine.start(life_seconds=_LIFE_SECONDS)
        machine.execute("true", timeout_seconds=60)
        if at_rest:
            time.sleep(_REST_SECONDS)
        return settled(_of_kernels)


def _of_kernels() -> set[int]:
    """The kernel's process and those in which programs of the guest run, not the monitor."""
    names = ("linux", "uml-userspace")
    return {pid for pid in descendants() if _name(pid) in names}


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _parse(output: bytes) -> dict[str, float]:
    took = {}
    for line in output.decode().splitlines():
        name, _, value = line.rpartition(" ")
        took[name] = float(value)
    if not took:
        raise NotMeasuredError("no step was reported")
    return took
