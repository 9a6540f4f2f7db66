"""SIGKILL at every level: afterwards nothing is left, whoever was killed.

That no process, socket, mount or file stays is looked up in the system after every test (see
`conftest.state_dir`); here only the machine's own directory and processes are named.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyro_mcp.config import Settings
from pyro_mcp.errors import GuestLostError
from pyro_mcp.machines.machine import Machine
from tests.conftest import MachineFactory
from tests.support import until
from tests.support.processes import Process, descendants, is_running

RUN = [sys.executable, "-m", "pyro_mcp", "run", "debian:12", "--timeout-seconds", "300", "--"]


@contextmanager
def cli(command: str) -> Iterator[subprocess.Popen[bytes]]:
    """`pyro run` in a process of its own, running `command`."""
    process = subprocess.Popen(
        [*RUN, "sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def monitor_of(pid: int, *, machine_id: str = "") -> Process:
    """The monitor below a process; `machine_id` says which where there are several."""

    def is_it(process: Process) -> bool:
        return "pyro_mcp.machines.monitor" in process.command and machine_id in process.command

    return until(lambda: next(filter(is_it, descendants(pid)), None))


def kernel_of(pid: int) -> Process:
    """The guest kernel below a process."""
    return one_below(pid, lambda process: process.command.startswith("/linux "))


def one_below(pid: int, wanted: Callable[[Process], bool]) -> Process:
    return until(lambda: [p for p in descendants(pid) if wanted(p)])[0]


def machine_directories(state_dir: Path) -> list[Path]:
    machines = state_dir / "machines"
    return (
        [p for p in machines.iterdir() if not p.name.startswith(".")] if machines.exists() else []
    )


def assert_all_gone(processes: list[Process], state_dir: Path) -> None:
    until(lambda: not any(is_running(process.pid) for process in processes))
    until(lambda: not machine_directories(state_dir))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ending_the_cli_ends_its_machine(
    images: object, state_dir: Path, number: signal.Signals
) -> None:
    with cli("echo begun; sleep 250") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        below = descendants(process.pid)

        process.send_signal(number)
        process.wait(30)

        assert len(below) >= 3
        assert_all_gone(below, state_dir)


def test_ending_the_cli_while_its_guest_boots_ends_its_machine(
    images: object, state_dir: Path
) -> None:
    """At points spread over the start; the seed is printed so that a failure can be repeated."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    for _ in range(8):
        with cli("sleep 250") as process:
            time.sleep(moments.uniform(0.0, 0.6))
            below = descendants(process.pid)
            process.kill()
            process.wait(30)
            assert_all_gone(below, state_dir)


def test_a_killed_kernel_ends_the_call_and_leaves_nothing(images: object, state_dir: Path) -> None:
    with cli("echo begun; sleep 250") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        below = descendants(process.pid)

        os.kill(kernel_of(process.pid).pid, signal.SIGKILL)
        _, errors = process.communicate(timeout=30)

        assert process.returncode == 1
        assert b"[error] The guest was lost" in errors
        assert_all_gone(below, state_dir)


def test_a_killed_monitor_ends_the_call_and_leaves_nothing(images: object, state_dir: Path) -> None:
    with cli("echo begun; sleep 250") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        below = descendants(process.pid)

        os.kill(monitor_of(process.pid).pid, signal.SIGKILL)
        _, errors = process.communicate(timeout=30)

        assert process.returncode == 1
        assert b"[error] The guest was lost" in errors
        assert_all_gone(below, state_dir)


def test_what_a_killed_cli_and_a_killed_monitor_leave_is_swept_by_the_next_run(
    images: object, state_dir: Path
) -> None:
    with cli("echo begun; sleep 250") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        below = descendants(process.pid)
        monitor = monitor_of(process.pid)
        os.kill(process.pid, signal.SIGSTOP)
        os.kill(monitor.pid, signal.SIGKILL)
        process.kill()
        process.wait(30)
    until(lambda: not any(is_running(process.pid) for process in below))

    with cli("echo next") as after:
        output, _ = after.communicate(timeout=60)

    assert output == b"next\n"
    assert machine_directories(state_dir) == []


def test_a_machine_of_a_killed_monitor_can_be_deleted(machine_factory: MachineFactory) -> None:
    machine = machine_factory()

    os.kill(monitor_of(os.getpid(), machine_id=machine.id).pid, signal.SIGKILL)

    until(lambda: not machine.running)
    with pytest.raises(GuestLostError):
        machine.execute("true", timeout_seconds=10)
    machine.close()
    assert not machine.directory.exists()


def test_a_directory_that_its_maker_left_unlocked_is_swept(
    settings: Settings, machine_factory: MachineFactory
) -> None:
    left = settings.state_dir / "machines" / "0123456789ab"
    left.mkdir(parents=True)
    (left / "lock").touch()
    (left / "data.ext4").write_bytes(b"x")

    machine_factory()

    assert not left.exists()


def test_a_directory_in_use_is_not_swept(machine_factory: MachineFactory) -> None:
    first: Machine = machine_factory()

    machine_factory()

    assert first.execute("echo here", timeout_seconds=30).stdout.text() == "here\n"
