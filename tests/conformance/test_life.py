"""The life of a machine: booted, stopped, booted again, ended, and gone without a trace."""

from __future__ import annotations

import time

from pyro_mcp.config import Settings
from pyro_mcp.engines.base import Engine
from pyro_mcp.errors import GuestLostError, GuestStartError
from pyro_mcp.machines.machine import Machine
from pyro_mcp.machines.spec import Images, MachineSpec
from tests.conftest import MachineFactory
from tests.support import until
from tests.support.waiting import given_time

SPEC = MachineSpec("debian:12", 1, 512, 600, False, False)


def test_the_agent_says_what_it_runs_on(shared_machine: Machine) -> None:
    assert shared_machine.report["kernel"]
    assert shared_machine.running


def test_a_stopped_machine_boots_again_with_its_files(
    settings: Settings, images: Images, engine: Engine
) -> None:
    with Machine.create(settings, SPEC, images, engine) as machine:
        machine.start(life_seconds=600)
        machine.execute("echo kept > /workspace/note; echo kept > /etc/note", timeout_seconds=30)

        machine.stop()
        assert not machine.running
        machine.start(life_seconds=600)

        outcome = machine.execute("cat /workspace/note /etc/note", timeout_seconds=30)
        assert outcome.stdout.text() == "kept\nkept\n"


def test_machines_do_not_see_each_others_files(machine_factory: MachineFactory) -> None:
    first, second = machine_factory(), machine_factory()

    first.execute("echo secret > /workspace/note; echo x >> /etc/passwd", timeout_seconds=30)

    assert second.execute("cat /workspace/note", timeout_seconds=30).exit_code != 0
    assert second.execute("tail -n1 /etc/passwd", timeout_seconds=30).stdout.text() != "x\n"


def test_a_machine_ends_at_the_end_of_its_life_without_a_call(
    machine_factory: MachineFactory,
) -> None:
    def booted(life_ms: int) -> Machine | None:
        try:
            return machine_factory(life_seconds=life_ms / 1000)
        except GuestStartError:  # its life was too short even for that
            return None

    machine = given_time(booted, 2000)

    until(lambda: not machine.running, timeout=60)

    until(lambda: not machine.directory.exists())


def test_a_command_under_way_at_the_end_of_its_machines_life_says_so(
    machine_factory: MachineFactory,
) -> None:
    def lost(life_ms: int) -> GuestLostError | None:
        begun: list[bytes] = []
        try:
            machine_factory(life_seconds=life_ms / 1000).execute(
                "echo begun; sleep 600",
                timeout_seconds=600,
                on_output=lambda _stream, data: begun.append(data),
            )
        except GuestLostError as error:
            return error if begun else None
        except GuestStartError:
            return None
        raise AssertionError("it outlived its machine")

    assert "ttl" in str(given_time(lost, 2000))


def test_closing_twice_is_closing_once(settings: Settings, images: Images, engine: Engine) -> None:
    machine = Machine.create(settings, SPEC, images, engine)
    machine.start(life_seconds=600)

    machine.close()
    machine.close()

    assert not machine.directory.exists()


def test_a_guest_cannot_have_more_memory_than_it_was_given(
    machine_factory: MachineFactory,
) -> None:
    machine = machine_factory(mem_mib=256)

    outcome = machine.execute("grep MemTotal /proc/meminfo", timeout_seconds=30)

    assert 150_000 < int(outcome.stdout.text().split()[1]) <= 256 * 1024


def test_the_guests_clock_is_right(shared_machine: Machine) -> None:
    outcome = shared_machine.execute("date +%s", timeout_seconds=30)

    assert abs(int(outcome.stdout.text()) - time.time()) < 5
