"""Calls that come together take effect as if one came after the other, and still overlap.

Frameworks start all calls of a model's turn at once. Those that change a workspace must not
overtake each other, nor what looks at it; what only looks may overlap, and different workspaces
have nothing to do with each other.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

T = TypeVar("T")

_AT_ONCE = 32


class Order:
    """Threads that work in the order that was asked for; they end with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._last_change: dict[str, Future[Any]] = {}
        self._looks: dict[str, list[Future[Any]]] = {}

    def submit(self, lane: str | None, work: Callable[[], T], *, changes: bool) -> Future[T]:
        """Start work in a thread, after what it may not overtake.

        Args:
            lane: What it is about, such as the id of a workspace; None for nothing shared.
            work: What to do.
            changes: It does more than look.
        """
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="pyro-session")
            if lane is None:
                return self._threads.submit(work)
            before = [self._last_change[lane]] if lane in self._last_change else []
            looks = [look for look in self._looks.get(lane, ()) if not look.done()]
            # What is waited for was submitted earlier, so a thread has it or will: no deadlock.
            doing = self._threads.submit(_after, before + (looks if changes else []), work)
            if changes:
                self._last_change[lane], self._looks[lane] = doing, []
            else:
                self._looks[lane] = [*looks, doing]
            return doing

    def close(self) -> None:
        """Wait for the end of what was begun; more may be submitted afterwards."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()


def _after(before: list[Future[Any]], work: Callable[[], T]) -> T:
    wait(before)
    return work()
