"""Bad commands: what they may do to themselves, and what they may not do to anyone else."""

from __future__ import annotations

import threading

import pytest

from pyro_mcp.errors import GuestLostError
from pyro_mcp.machines.machine import Machine
from pyro_mcp.machines.requests import CommandOutcome
from tests.conftest import MachineFactory
from tests.support import until
from tests.support.waiting import given_time


def assert_answers(machine: Machine) -> None:
    assert machine.execute("echo alive", timeout_seconds=60).stdout.text() == "alive\n"


def cut_off(machine: Machine, command: str) -> CommandOutcome:
    """How a command ends that is too slow, once it had the time to say that it has begun."""

    def attempt(limit_ms: int) -> CommandOutcome | None:
        outcome = machine.execute(command, timeout_seconds=limit_ms / 1000)
        return outcome if outcome.stdout.text().startswith("begun\n") else None

    return given_time(attempt, 1000)


def test_a_command_past_its_time_ends_with_124_and_keeps_its_output(
    shared_machine: Machine,
) -> None:
    outcome = cut_off(shared_machine, "echo begun; sleep 300")

    assert (outcome.exit_code, outcome.timed_out) == (124, True)
    assert outcome.stdout.text() == "begun\n"


def test_a_command_past_its_time_is_asked_to_end_first(shared_machine: Machine) -> None:
    outcome = cut_off(
        shared_machine, "trap 'echo asked; exit 3' TERM; echo begun; while :; do sleep 0.1; done"
    )

    assert outcome.stdout.text() == "begun\nasked\n"
    assert outcome.exit_code == 124


def test_a_tree_that_ignores_term_is_killed_whole(shared_machine: Machine) -> None:
    outcome = shared_machine.execute(
        "trap '' TERM; (trap '' TERM; setsid sh -c \"trap '' TERM; sleep 7777\") & sleep 7777",
        timeout_seconds=1,
    )

    assert (outcome.exit_code, outcome.timed_out) == (124, True)
    left = shared_machine.execute("ps -e 2>/dev/null; cat /proc/loadavg", timeout_seconds=30)
    assert "7777" not in left.stdout.text()


def test_a_gigabyte_of_output_is_kept_in_part_and_counted_whole(shared_machine: Machine) -> None:
    size = 1_000_000_000

    outcome = shared_machine.execute(
        f"echo first; head -c {size} /dev/zero | tr '\\0' x; echo; echo last",
        timeout_seconds=200,
        output_limit=10_000,
    )

    text = outcome.stdout.text()
    assert outcome.stdout.total == len("first\n") + size + len("\nlast\n")
    assert outcome.stdout.truncated
    assert text.startswith("first\nxxx")
    assert text.endswith("xxx\nlast\n")
    assert len(text) < 11_000


def test_leaving_a_command_early_ends_it(shared_machine: Machine) -> None:
    class EnoughError(Exception):
        pass

    def leave(_stream: str, _data: bytes) -> None:
        raise EnoughError

    with pytest.raises(EnoughError):
        shared_machine.execute(
            "echo $$; while :; do date +%N > /tmp/beat; sleep 0.05; done",
            timeout_seconds=300,
            on_output=leave,
        )

    def stopped_beating() -> bool:
        outcome = shared_machine.execute(
            'a=$(cat /tmp/beat); sleep 0.3; [ "$a" = "$(cat /tmp/beat)" ]', timeout_seconds=30
        )
        return outcome.exit_code == 0

    until(stopped_beating, timeout=30)


def test_a_slow_reader_holds_back_its_own_command_only(shared_machine: Machine) -> None:
    blocked, go_on = threading.Event(), threading.Event()

    def stall(_stream: str, _data: bytes) -> None:
        blocked.set()
        go_on.wait(60)

    reader = threading.Thread(
        target=shared_machine.execute,
        args=("head -c 50000000 /dev/zero",),
        kwargs={"timeout_seconds": 120, "on_output": stall, "output_limit": 1000},
    )
    reader.start()
    try:
        assert blocked.wait(60)
        assert_answers(shared_machine)
    finally:
        go_on.set()
        reader.join(120)


def test_removing_everything_leaves_the_agent_answering(machine_factory: MachineFactory) -> None:
    machine = machine_factory()

    machine.execute("rm -rf --no-preserve-root / 2>/dev/null", timeout_seconds=120)

    with pytest.raises(Exception, match="/bin/sh"):
        machine.execute("true", timeout_seconds=30)
    assert machine.running


def test_killing_everything_ends_the_command_alone(shared_machine: Machine) -> None:
    outcome = shared_machine.execute("kill -9 -1; echo survived", timeout_seconds=30)

    assert outcome.exit_code in {0, 137}
    assert_answers(shared_machine)


def test_a_fork_bomb_ends_with_its_time(machine_factory: MachineFactory) -> None:
    machine = machine_factory()

    outcome = machine.execute("bomb() { bomb | bomb & }; bomb; sleep 60", timeout_seconds=5)

    assert outcome.exit_code != 0
    until(lambda: machine.execute("true", timeout_seconds=60).exit_code == 0, timeout=120)


def test_filling_the_memory_ends_the_command_alone(machine_factory: MachineFactory) -> None:
    machine = machine_factory(mem_mib=256)

    outcome = machine.execute(
        'python3 -c "x = []\nwhile True: x.append(bytearray(1 << 20))"', timeout_seconds=120
    )

    assert outcome.exit_code != 0
    assert outcome.oom_killed or "MemoryError" in outcome.stderr.text()
    assert_answers(machine)


def test_filling_the_disk_is_an_error_of_the_command(machine_factory: MachineFactory) -> None:
    machine = machine_factory()

    outcome = machine.execute(
        "fallocate -l 100G big 2>&1 || dd if=/dev/zero of=big bs=1M seek=20000 count=1 2>&1",
        timeout_seconds=120,
    )

    assert outcome.exit_code != 0
    assert_answers(machine)


def test_a_guest_that_panics_ends_the_call_with_its_last_words(
    machine_factory: MachineFactory,
) -> None:
    machine = machine_factory()

    with pytest.raises(GuestLostError, match=r"panic|ended"):
        machine.execute(
            "echo 2 > /proc/sys/vm/panic_on_oom; "
            'python3 -c "x = []\nwhile True: x.append(bytearray(1 << 20))"; sleep 60',
            timeout_seconds=60,
        )
    until(lambda: not machine.running, timeout=10)
