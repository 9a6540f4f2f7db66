"""A machine is on one CPU, and goes to another when that is better."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pyro_mcp.machines.machine import Machine
from tests.conftest import MachineFactory
from tests.security.views import jail_of
from tests.support import until

CPUS = sorted(os.sched_getaffinity(0))

pytestmark = pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs, and this host allows one")


@pytest.fixture
def crowd() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that keep a CPU busy; ended with the test."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def _cpus(machine: Machine) -> set[int]:
    """The CPUs on which the guest kernel and its processes may run."""
    cpus: set[int] = set()
    for process in jail_of(machine).inner:
        with suppress(ProcessLookupError):  # it has just ended
            cpus |= os.sched_getaffinity(process.pid)
    return cpus


def _noted(machine: Machine) -> int:
    """The CPU as the monitor has noted it; cheap to look at, so that the other one stays idle."""
    # Empty for a moment while it is written anew.
    return int(until(lambda: (machine.directory / "cpu").read_text()))


def test_every_process_of_a_machine_is_on_one_cpu(machine_factory: MachineFactory) -> None:
    machine = machine_factory()

    machine.execute("true & true; wait", timeout_seconds=30)

    # All the time but while it goes to another, which may be just now.
    until(lambda: _cpus(machine) == {_noted(machine)})


@pytest.mark.alone
def test_a_machine_leaves_a_crowded_cpu_for_an_idle_one(
    machine_factory: MachineFactory, crowd: list[subprocess.Popen[bytes]]
) -> None:
    machine = machine_factory()
    until(lambda: _cpus(machine) == {_noted(machine)})
    here = _noted(machine)
    busy = threading.Thread(
        target=machine.execute,
        args=("while [ ! -e /tmp/enough ]; do :; done",),
        kwargs={"timeout_seconds": 120},
    )
    busy.start()

    for _ in range(2):
        spin = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        crowd.append(spin)
        os.sched_setaffinity(spin.pid, {here})
    try:
        until(lambda: _noted(machine) != here, timeout=60)
    finally:
        machine.execute("touch /tmp/enough", timeout_seconds=60)
        busy.join(120)

    until(lambda: _cpus(machine) == {_noted(machine)})
