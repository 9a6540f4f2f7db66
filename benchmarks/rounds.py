"""Taking measurements in turn, so that drift of the host meets all subjects alike."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple

from benchmarks.table import Row
from pyro_mcp.errors import PyroError

_LIMIT_SECONDS = 1200


class NotMeasuredError(Exception):
    """Why a subject has no figures: not installed, or it failed here."""


class Subject(NamedTuple):
    """Something to be measured."""

    label: str
    once: Callable[[], float]
    """One measurement; raises `NotMeasuredError` or `PyroError` when it does not work here."""
    goal: str = ""
    note: str = ""


def alternate(subjects: Sequence[Subject], *, rounds: int, warm_up: int = 1) -> list[Row]:
    """Measure all subjects in every round, A B A B; the first `warm_up` rounds do not count.

    A subject that fails is left out of the rounds that follow, and its row says why.
    """
    series: dict[str, list[float]] = {subject.label: [] for subject in subjects}
    failed: dict[str, str] = {}
    for number in range(warm_up + rounds):
        for subject in subjects:
            if subject.label in failed:
                continue
            progress(f"{subject.label}, round {number + 1} of {warm_up + rounds}")
            try:
                value = subject.once()
            except (NotMeasuredError, PyroError) as error:
                failed[subject.label] = f"failed: {' '.join(str(error).split())[:300]}"
                continue
            if number >= warm_up:
                series[subject.label].append(value)
    progress("")
    return [
        Row(
            label=subject.label,
            series=tuple(series[subject.label]),
            goal=subject.goal,
            note="; ".join(filter(None, (subject.note, failed.get(subject.label)))),
        )
        for subject in subjects
    ]


def progress(text: str) -> None:
    """Say on a terminal what is being done, on one line; an empty text clears it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def run(
    argv: Sequence[str], *, stdin: bytes | IO[bytes] | None = None, cpu: int | None = None
) -> bytes:
    """Run a program to its end and give what it printed.

    Raises:
        NotMeasuredError: It is not there, failed, or took too long.
    """
    if cpu is not None:
        argv = ["taskset", "--cpu-list", str(cpu), *argv]
    try:
        finished = subprocess.run(
            argv,
            capture_output=True,
            timeout=_LIMIT_SECONDS,
            input=stdin if isinstance(stdin, bytes) else None,
            stdin=None if isinstance(stdin, bytes) else stdin or subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotMeasuredError(str(error)) from error
    if finished.returncode != 0:
        said = (finished.stderr or finished.stdout).decode(errors="replace").strip()
        raise NotMeasuredError(f"{argv[0]} ended with {finished.returncode}: {said[-300:]}")
    return finished.stdout


def seconds(argv: Sequence[str], *, expected: bytes = b"") -> float:
    """How long a whole process took; its output must contain `expected`."""
    started = time.perf_counter()
    output = run(argv)
    took = time.perf_counter() - started
    if expected not in output:
        raise NotMeasuredError(f"{argv[0]} answered {output[-100:]!r}")
    return took


def last_cpu() -> int:
    """The CPU that subjects are pinned to; not the first, which serves most interrupts."""
    return max(os.sched_getaffinity(0))
