"""One sandbox in store: handed out once, replaced, never lost from sight."""

import errno
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.guest.loop import Loop
from pyro_mcp.guest.standby import Standby
from tests.guest.agent import FakeSandbox

if TYPE_CHECKING:
    from pyro_mcp.guest.processes import Place


class Workshop:
    """Makes fake sandboxes when it is told to, one at a time."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.orders: list[Callable[[Place, OSError | None], None]] = []
        self.standby = Standby(loop, self.orders.append)
        self.taken: list[Place | OSError] = []

    def deliver(self, error: OSError | None = None) -> FakeSandbox:
        sandbox = FakeSandbox(self._loop)
        self.orders.pop(0)(sandbox, error)
        return sandbox

    def take(self) -> None:
        self.standby.take(self.taken.append)

    def settle(self) -> None:
        settled: list[bool] = []
        self._loop.call_from_thread(lambda: settled.append(True))
        while not settled:
            self._loop.run_once()


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    loop = Loop()
    yield Workshop(loop)
    loop.close()


def test_one_in_store_is_given_at_once(workshop: Workshop) -> None:
    workshop.standby.refill()
    spare = workshop.deliver()

    workshop.take()

    assert workshop.taken == [spare]


def test_without_one_in_store_each_taker_has_its_own_made(workshop: Workshop) -> None:
    workshop.take()
    workshop.take()
    assert workshop.taken == []

    made = [workshop.deliver(), workshop.deliver()]

    assert workshop.taken == made
    assert workshop.orders == []


def test_a_sandbox_in_the_making_goes_to_the_taker_who_waits(workshop: Workshop) -> None:
    workshop.standby.refill()
    workshop.take()
    assert len(workshop.orders) == 1

    assert workshop.taken == [workshop.deliver()]


def test_refilling_a_full_store_makes_nothing(workshop: Workshop) -> None:
    workshop.standby.refill()
    workshop.standby.refill()
    workshop.deliver()
    workshop.standby.refill()

    assert workshop.orders == []


def test_one_that_could_not_be_made_is_told_to_who_waits(workshop: Workshop) -> None:
    error = OSError(errno.EAGAIN, "no more")
    workshop.take()

    workshop.deliver(error)

    assert workshop.taken == [error]


def test_one_that_was_killed_in_store_is_not_given(workshop: Workshop) -> None:
    workshop.standby.refill()
    spare = workshop.deliver()
    spare.kill()
    workshop.settle()

    workshop.take()

    assert workshop.taken == []
    fresh = workshop.deliver()
    assert workshop.taken == [fresh]


def test_after_closing_nothing_stays_in_store(workshop: Workshop) -> None:
    ended: list[bool] = []
    workshop.standby.refill()
    workshop.standby.close()

    late = workshop.deliver()
    late.on_ended = lambda: ended.append(True)
    workshop.settle()

    assert ended == [True]
