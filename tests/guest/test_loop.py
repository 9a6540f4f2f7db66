"""The agent's loop: what one handler does must not reach the others."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from pyro_mcp.guest import loop as events
from pyro_mcp.guest.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_a_descriptor_that_an_earlier_handler_forgot_is_not_handled(loop: Loop) -> None:
    """Both are ready at once, and each handler closes the other."""
    pairs = [socket.socketpair(), socket.socketpair()]
    handled = []

    def watch(index: int) -> None:
        ours, other = pairs[index][0], pairs[1 - index][0]

        def handle(_events: int) -> None:
            handled.append(index)
            loop.forget(other.fileno())
            loop.forget(ours.fileno())

        loop.watch(ours.fileno(), events.IN, handle)

    for index in (0, 1):
        watch(index)
        pairs[index][1].send(b"x")
    loop.run_once()

    assert len(handled) == 1
    for pair in pairs:
        for end in pair:
            end.close()


def test_what_a_handler_raises_goes_to_its_owner(loop: Loop) -> None:
    reader, writer = os.pipe()
    faults: list[Exception] = []

    def fail(_events: int) -> None:
        raise ValueError

    loop.watch(reader, events.IN, fail, faults.append)
    os.write(writer, b"x")
    loop.run_once()

    assert [type(fault) for fault in faults] == [ValueError]
    loop.forget(reader)
    os.close(reader)
    os.close(writer)


def test_timers_run_in_order_and_a_cancelled_one_does_not(loop: Loop) -> None:
    order: list[str] = []

    def early() -> None:
        order.append("early")
        loop.cancel(late)

    # Begun in the order of their ends, which stays theirs however long each line takes.
    loop.call_in(0.001, early)
    late = loop.call_in(0.002, lambda: order.append("late"))
    loop.call_in(0.003, lambda: order.append("last"))

    while "last" not in order:
        loop.run_once()

    assert order == ["early", "last"]


def test_a_thread_can_have_the_loop_call(loop: Loop) -> None:
    called_in: list[int] = []

    thread = threading.Thread(
        target=lambda: loop.call_from_thread(lambda: called_in.append(threading.get_ident()))
    )
    thread.start()
    while not called_in:
        loop.run_once()
    thread.join()

    assert called_in == [threading.get_ident()]
