"""Ending a call from another thread."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyro_mcp.errors import CallCancelledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Cancel:
    """Given to a call as `cancel=…`, ends it when `trigger` is called, from any thread.

    The guest's command and all that it started are killed, and the call raises
    `CallCancelledError`. One may be given to several calls; it stays triggered.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._to_do: list[Callable[[], None]] = []
        self._triggered = False

    @property
    def triggered(self) -> bool:
        """Whether it has been."""
        return self._triggered

    def trigger(self) -> None:
        """End the calls that have this; may be called again."""
        with self._lock:
            self._triggered = True
            for wake in self._to_do:
                wake()

    def check(self) -> None:
        """Raise `CallCancelledError` if it was triggered."""
        if self._triggered:
            raise CallCancelledError

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """For the length of the block, have `wake` called when it is triggered.

        `wake` may be called from any thread, must not block, and is not called after the block.
        """
        with self._lock:
            self.check()
            self._to_do.append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._to_do.remove(wake)
