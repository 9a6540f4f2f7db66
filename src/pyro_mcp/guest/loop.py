"""The agent's one loop: descriptors, deadlines, and calls from its threads."""

from __future__ import annotations

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[int], None]
    Fault = Callable[[Exception], None]

IN = select.EPOLLIN
OUT = select.EPOLLOUT
GONE = select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP
PEER_CLOSED = select.EPOLLRDHUP

now = time.monotonic

_LONGEST_WAIT_SECONDS = 86400.0
"""epoll_wait(2) takes milliseconds in 31 bits."""


class Timer:
    """A call that is due at some time."""

    def __init__(self, when: float, call: Callable[[], None], on_fault: Fault | None) -> None:
        self.when = when
        self.call = call
        self.on_fault = on_fault


class Loop:
    """Calls a handler with the events of its descriptor; level-triggered.

    A handler must bear an event that is no longer true: its descriptor's number may have been
    closed and given out again since. What a handler raises goes to `on_fault` of its
    registration, so that one broken command does not end the agent.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, tuple[int, Handler, Fault | None]] = {}
        self._timers: set[Timer] = set()
        self._calls: list[tuple[Callable[[], None], Fault | None]] = []
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.watch(self._wake, IN, self._run_calls)

    def watch(
        self, descriptor: int, events: int, handler: Handler, on_fault: Fault | None = None
    ) -> None:
        """Register a descriptor, or change its registration."""
        known = self._handlers.get(descriptor)
        if known is None:
            self._epoll.register(descriptor, events)
        elif known[0] != events:
            self._epoll.modify(descriptor, events)
        self._handlers[descriptor] = (events, handler, on_fault)

    def forget(self, descriptor: int) -> None:
        """Stop watching; must come before the descriptor is closed. May be called twice."""
        if self._handlers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def call_in(
        self, seconds: float, call: Callable[[], None], on_fault: Fault | None = None
    ) -> Timer:
        """Call once, after `seconds`."""
        timer = Timer(now() + seconds, call, on_fault)
        self._timers.add(timer)
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Take back a timer; None and one that has run are fine."""
        if timer is not None:
            self._timers.discard(timer)

    def call_from_thread(self, call: Callable[[], None], on_fault: Fault | None = None) -> None:
        """Have the loop's own thread call; the one method for other threads."""
        self._calls.append((call, on_fault))
        os.eventfd_write(self._wake, 1)

    def run(self) -> None:
        """Run for ever; ends only by an exception that has no `on_fault`."""
        while True:
            self.run_once()

    def run_once(self) -> None:
        """Wait for something to happen, and handle it."""
        for descriptor, events in self._epoll.poll(self._patience()):
            registered = self._handlers.get(descriptor)
            if registered is None:
                continue  # forgotten by an earlier handler of this round
            _, handler, on_fault = registered
            try:
                handler(events)
            except Exception as error:
                if on_fault is None:
                    raise
                on_fault(error)
        if self._timers:
            self._run_timers()

    def close(self) -> None:
        """Give back the loop's own descriptors."""
        self._epoll.close()
        os.close(self._wake)

    def _patience(self) -> float | None:
        if not self._timers:
            return None
        left = min(timer.when for timer in self._timers) - now()
        return min(max(0.0, left), _LONGEST_WAIT_SECONDS)

    def _run_timers(self) -> None:
        at = now()
        for timer in sorted(self._timers, key=lambda timer: timer.when):
            if timer.when > at:
                return
            if timer not in self._timers:
                continue  # cancelled by an earlier one
            self._timers.discard(timer)
            _guarded(timer.call, timer.on_fault)

    def _run_calls(self, _events: int) -> None:
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return
        calls, self._calls = self._calls, []
        for call, on_fault in calls:
            _guarded(call, on_fault)


def _guarded(call: Callable[[], None], on_fault: Fault | None) -> None:
    try:
        call()
    except Exception as error:
        if on_fault is None:
            raise
        on_fault(error)
