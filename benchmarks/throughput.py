"""Bytes through a command's pipes: out of the guest, and into it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from benchmarks.ground import SDK_LABEL, Ground
from benchmarks.peers.podman import Podman
from benchmarks.rounds import NotMeasuredError, Subject, alternate, run
from benchmarks.table import Table
from pyro_mcp.machines.machine import Machine

_ENVIRONMENT = "debian:12"
_MIB = 256
_BYTES = _MIB << 20
# Large blocks: with those of head or wc their own system calls would be what is measured.
_SEND = f"dd if=/dev/zero bs=1M count={_MIB} status=none"
_SWALLOW = "dd of=/dev/null bs=1M 2>&1"
_CHUNK = 1 << 20


def measure(ground: Ground) -> list[Table]:
    """MB (10^6) a second, start of the command included."""
    peers, missing = ground.peers(_ENVIRONMENT, [Podman])
    podman = next((peer for peer in peers if isinstance(peer, Podman)), None)
    with ground.machine(_ENVIRONMENT, mem_mib=512) as machine, _payload() as payload:
        outward = [Subject(SDK_LABEL, lambda: _out_of_guest(machine), goal="≥ 300 MB/s")]
        inward = [Subject(SDK_LABEL, lambda: _into_guest(machine, payload), goal="≥ 120 MB/s")]
        container = podman.start_idle() if podman else ""
        try:
            if podman:
                send = podman.into(container, "sh", "-c", _SEND)
                swallow = podman.into(container, "sh", "-c", _SWALLOW)
                outward.append(Subject("podman exec", lambda: _out_of_process(send)))
                inward.append(Subject("podman exec", lambda: _into_process(swallow, payload)))
            rounds = ground.rounds(7, 3)
            tables = [
                ("Guest to host", alternate(outward, rounds=rounds)),
                ("Host to guest", alternate(inward, rounds=rounds)),
            ]
        finally:
            if podman:
                podman.remove(container)
    return [
        Table(
            title=f"{direction}: {_MIB} MiB through a command's pipe (higher is better)",
            unit="MB/s",
            rows=[*rows, *missing],
            references=[SDK_LABEL],
            digits=0,
        )
        for direction, rows in tables
    ]


def _out_of_guest(machine: Machine) -> float:
    got = 0

    def count(_stream: str, data: bytes) -> None:
        nonlocal got
        got += len(data)

    started = time.perf_counter()
    machine.execute(_SEND, timeout_seconds=120, on_output=count, output_limit=0)
    return _rate(got, started)


def _into_guest(machine: Machine, payload: BinaryIO) -> float:
    payload.seek(0)
    started = time.perf_counter()
    outcome = machine.execute(_SWALLOW, timeout_seconds=120, stdin=payload)
    return _rate(_counted(outcome.stdout.text()), started)


def _out_of_process(argv: list[str]) -> float:
    started = time.perf_counter()
    got = 0
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        while data := os.read(process.stdout.fileno(), _CHUNK):
            got += len(data)
    return _rate(got, started)


def _into_process(argv: list[str], payload: BinaryIO) -> float:
    payload.seek(0)
    started = time.perf_counter()
    return _rate(_counted(run(argv, stdin=payload).decode()), started)


def _counted(said: str) -> int:
    """The bytes of dd's last line, "N bytes (...) copied, ..."."""
    found = re.search(r"^([0-9]+) bytes", said, re.MULTILINE)
    if found is None:
        raise NotMeasuredError(f"dd said {said!r}")
    return int(found[1])


def _rate(got: int, started: float) -> float:
    took = time.perf_counter() - started
    if got != _BYTES:
        raise NotMeasuredError(f"{got} bytes arrived of {_BYTES}")
    return got / took / 1e6


@contextmanager
def _payload() -> Iterator[BinaryIO]:
    """The bytes to send, in memory, as a file."""
    with os.fdopen(os.memfd_create("payload"), "w+b") as file:
        for _ in range(_BYTES // _CHUNK):
            file.write(bytes(_CHUNK))
        file.flush()
        yield file
