"""Waiting for a fact, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_SECONDS = 0.01
_LONGEST_MS = 100_000


class NeverTrueError(AssertionError):
    """What was waited for did not come."""


def until(fact: Callable[[], T | None], timeout: float = 20.0) -> T:
    """Call `fact` until it gives something true, and return that.

    A file that is not there yet counts as false. After `timeout` seconds the test fails with what
    `fact` gave last; the limit is generous on purpose, since a passing test never waits for it.
    """
    deadline = time.monotonic() + timeout
    while True:
        last: object
        try:
            value = fact()
            last = value
            if value:
                return value
        except FileNotFoundError as error:
            last = error
        if time.monotonic() > deadline:
            raise NeverTrueError(f"not so within {timeout:g} s; last seen: {last!r}")
        time.sleep(_PAUSE_SECONDS)


def given_time(attempt: Callable[[int], T | None], first_ms: int = 200) -> T:
    """Call `attempt` with longer and longer limits, in ms, until it gives something true.

    For what happens once a limit is over: what comes before that needs its time too, and on a
    busy host no limit is surely long enough.
    """
    limit = first_ms
    while True:
        if value := attempt(limit):
            return value
        if limit > _LONGEST_MS:
            raise NeverTrueError(f"not so within a limit of {limit} ms; last seen: {value!r}")
        limit *= 4
