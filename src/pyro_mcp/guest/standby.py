"""The sandbox that stands by, so that a command need not wait for one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.loop import Loop
    from pyro_mcp.guest.processes import Place

    OnReady = Callable[[Place, OSError | None], None]
    Taker = Callable[[Place | OSError], None]

_REFILL_SECONDS = 0.02
"""After a command took the standby: time for it to start before the next one is made."""


class Standby:
    """Hands out sandboxes, each once, and keeps one more."""

    def __init__(self, loop: Loop, make: Callable[[OnReady], object]) -> None:
        self._loop = loop
        self._make = make
        self._spare: Place | None = None
        self._being_made = 0
        self._takers: list[Taker] = []
        self._closed = False

    def take(self, taker: Taker) -> None:
        """Call `taker` with a sandbox, now or when it is made, or with the error that kept it."""
        self._loop.call_in(_REFILL_SECONDS, self.refill)
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.on_ended = None
            taker(spare)
        else:
            self._takers.append(taker)
            self._make_enough()

    def refill(self) -> None:
        """See that one stands by."""
        if self._spare is None and self._being_made == 0 and not self._closed:
            self._start()

    def close(self) -> None:
        """End the one that stands by, and make no more."""
        self._closed = True
        if self._spare is not None:
            self._spare.kill()

    def _make_enough(self) -> None:
        while self._being_made < len(self._takers):
            self._start()

    def _start(self) -> None:
        self._being_made += 1
        self._make(self._made)

    def _made(self, sandbox: Place, error: OSError | None) -> None:
        self._being_made -= 1
        if error is not None:
            if self._takers:
                self._takers.pop(0)(error)
        elif self._takers:
            self._takers.pop(0)(sandbox)
        elif self._spare is None and not self._closed:
            self._spare = sandbox
            sandbox.on_ended = self._lost
        else:
            sandbox.kill()

    def _lost(self) -> None:
        # Somebody killed it: memory ran out, for one. The next taker has a new one made.
        self._spare = None
