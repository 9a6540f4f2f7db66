"""One command in a machine that did not exist before and is gone afterwards."""

from __future__ import annotations

from benchmarks.ground import CLI, CLI_LABEL, SDK_LABEL, Ground
from benchmarks.peers.base import Peer
from benchmarks.peers.bwrap import Bwrap
from benchmarks.peers.podman import Podman, PodmanVfs
from benchmarks.peers.runsc import Runsc
from benchmarks.rounds import NotMeasuredError, Subject, alternate, seconds
from benchmarks.stopwatch import Stopwatch
from benchmarks.table import Row, Table

_ENVIRONMENT = "debian:12"
_COMMAND = ("git", "--version")
_EXPECTED = b"git version"


def measure(ground: Ground) -> list[Table]:
    """The whole of a one-shot run against peers, and where the SDK's time goes."""
    phases: dict[str, list[float]] = {}
    peers, missing = ground.peers(_ENVIRONMENT, [Podman, PodmanVfs, Runsc, Bwrap])
    ground.images(_ENVIRONMENT)

    def sdk() -> float:
        watch = Stopwatch()
        answer = ground.pyro.run_in_vm(
            environment=_ENVIRONMENT,
            command=" ".join(_COMMAND),
            on_phase=lambda phase, _facts: watch.lap(phase),
        )
        watch.stop()
        if _EXPECTED not in answer["stdout"].encode():
            raise NotMeasuredError(f"the guest answered {answer}")
        # What of the last phase is not the command itself is the machine's end.
        in_guest = answer["duration_ms"] / 1000
        for phase, took in watch.laps.items():
            phases.setdefault(phase, []).append(took)
        phases.setdefault("  of it: the command, as the guest saw it", []).append(in_guest)
        return watch.total

    def cli() -> float:
        return seconds([CLI, "run", _ENVIRONMENT, "--", *_COMMAND], expected=_EXPECTED)

    def peer(it: Peer) -> Subject:
        argv = it.one_shot(*_COMMAND)
        return Subject(it.label, lambda: seconds(argv, expected=_EXPECTED), note=it.note)

    rounds = ground.rounds(15, 5)
    rows = alternate(
        [
            Subject(
                SDK_LABEL, sdk, goal="≤ 0.35 s and below podman", note="run_in_vm, warm process"
            ),
            Subject(CLI_LABEL, cli, goal="≤ 0.5 s and below podman", note="whole process"),
            *map(peer, peers),
        ],
        rounds=rounds,
    )
    return [
        Table(
            title=f"Cold one-shot: '{' '.join(_COMMAND)}' in {_ENVIRONMENT}",
            unit="s",
            rows=[*rows, *missing],
            references=[SDK_LABEL, CLI_LABEL],
        ),
        Table(
            title="Where a cold run_in_vm spends its time",
            unit="s",
            rows=[
                # The warm-up is in there as well: the last ones are the measured rounds.
                Row(label=_SHOWN.get(phase, phase), series=tuple(series[-rounds:]))
                for phase, series in phases.items()
            ],
        ),
    ]


_SHOWN = {
    "checks": "arguments",
    "create": "create: directory, lock, data disk",
    "start": "start: monitor, jail, kernel, agent",
    "execute": "execute: command, then everything removed",
}
