"""A machine rests when nothing runs any more, and not a moment in between."""

import threading
from collections.abc import Iterator

import pytest

from pyro_mcp.guest.loop import Loop
from pyro_mcp.guest.rest import Rest


class Machine:
    """What `Rest` looks at."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.quiet = True
        self.looked = 0
        self.rested = threading.Event()
        self.rest = Rest(loop, quiet=self._quiet, on_rest=self.rested.set, after_seconds=0.01)

    def _quiet(self) -> bool:
        self.looked += 1
        return self.quiet


@pytest.fixture
def machine() -> Iterator[Machine]:
    loop = Loop()
    yield Machine(loop)
    loop.close()


def test_a_machine_that_is_quiet_for_a_while_rests(machine: Machine) -> None:
    machine.rest.begin_again()

    machine.loop.run_once()

    assert machine.rested.wait(10)


def test_a_machine_in_which_something_runs_rests_after_its_end(machine: Machine) -> None:
    machine.quiet = False
    machine.rest.begin_again()
    machine.loop.run_once()
    assert machine.looked == 1
    assert not machine.rested.is_set()

    machine.quiet = True
    machine.rest.begin_again()
    machine.loop.run_once()

    assert machine.rested.wait(10)
