"""Noticing that the machine rests."""

from __future__ import annotations

import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.loop import Loop, Timer

AFTER_SECONDS = 30.0
"""Who thinks between two commands seldom takes longer."""


class Rest:
    """Calls `on_rest`, in a thread, once nothing was asked for in a while and it is `quiet`."""

    def __init__(
        self,
        loop: Loop,
        *,
        quiet: Callable[[], bool],
        on_rest: Callable[[], None],
        after_seconds: float = AFTER_SECONDS,
    ) -> None:
        self._loop = loop
        self._quiet = quiet
        self._on_rest = on_rest
        self._after_seconds = after_seconds
        self._timer: Timer | None = None

    def begin_again(self) -> None:
        """What was asked for last has ended."""
        self._loop.cancel(self._timer)
        self._timer = self._loop.call_in(self._after_seconds, self._over)

    def _over(self) -> None:
        self._timer = None
        if not self._quiet():
            return  # its end begins again
        try:
            # Beside the loop: with much in memory it takes a while.
            _thread.start_new_thread(self._on_rest, ())
        except RuntimeError:
            return  # no memory for a thread: the kernel takes these pages by itself
