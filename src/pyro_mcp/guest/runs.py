"""One command in a place of its own, from its start until nothing of it is left."""

from __future__ import annotations

import os

from pyro_mcp import protocol
from pyro_mcp.guest import loop as events
from pyro_mcp.guest.requests import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.loop import Loop, Timer
    from pyro_mcp.guest.processes import Place, Places
    from pyro_mcp.guest.requests import ExecRequest

    Stdio = tuple[int, int, int]

_LOOK_AGAIN_SECONDS = 0.02


class Run:
    """Runs one command; its streams are the caller's business.

    `on_spawned` gets None, or why the command did not start. Either way `on_end` is called once,
    last, when no process of it is left; `status` then says how its first process ended.
    `handed_on` are descriptors of `stdio` that are the run's to close once the command has them.
    """

    def __init__(
        self,
        loop: Loop,
        places: Places,
        request: ExecRequest,
        stdio: Stdio,
        *,
        handed_on: tuple[int, ...],
        on_spawned: Callable[[RefusedError | None], None],
        on_end: Callable[[], None],
        on_fault: Callable[[Exception], None],
    ) -> None:
        self.pid = 0
        self.status: int | None = None
        """As of waitpid(2); None while it runs, and when it never started."""
        self.forced = False
        """TERM was not enough: what was left got KILL."""
        self._loop = loop
        self._request = request
        self._stdio = stdio
        self._handed_on = list(handed_on)
        self._on_spawned = on_spawned
        self._on_end = on_end
        self._on_fault = on_fault
        self._place: Place | None = None
        self._place_ended = False
        self._spawning = False
        self._terminating = False
        self._killed = False
        self._handle = -1
        self._timer: Timer | None = None
        self._ended = False
        places.take(self._placed)

    @property
    def exit_code(self) -> int | None:
        """The shell's meaning: 128 + n when signal n ended it."""
        if self.status is None:
            return None
        code = os.waitstatus_to_exitcode(self.status)
        return code if code >= 0 else 128 - code

    def terminate(self, grace_seconds: float) -> None:
        """TERM for the whole tree, and KILL for what is left of it after the grace."""
        if self._terminating or self._killed or self._ended:
            return
        self._terminating = True
        if not self.pid or self._place is None:
            self.kill()
            return
        self._place.terminate()
        self._timer = self._loop.call_in(grace_seconds, self._force, self._on_fault)
        if self.status is not None:
            self._let_others_end()

    def kill(self) -> None:
        """KILL for the whole tree. May be called twice."""
        self._killed = True
        self._loop.cancel(self._timer)
        if self._place is not None:
            self._place.kill()
            self._perhaps_end()

    def _placed(self, place: Place | OSError) -> None:
        if isinstance(place, OSError):
            self._place_ended = True
            self._refuse(f"the guest has no room for it: {place.strerror}")
            self._perhaps_end()
            return
        self._place = place
        place.on_ended = self._on_place_ended
        if self._killed:
            self._refuse("it was stopped before it started")
            place.kill()
            return
        self._spawning = True
        place.spawn(self._request, self._stdio, self._spawned)

    def _spawned(self, outcome: int | RefusedError) -> None:
        self._spawning = False
        self._close_handed_on()
        assert self._place is not None
        if isinstance(outcome, RefusedError):
            self._place.kill()
            self._on_spawned(outcome)
            self._perhaps_end()
            return
        try:
            self._handle = os.pidfd_open(outcome)
        except OSError as error:
            # It cannot be watched: out of memory. Killed, it is soon gone.
            self._place.kill()
            os.waitpid(outcome, 0)
            self._refuse(f"/bin/sh: {error.strerror}")
            self._perhaps_end()
            return
        self.pid = outcome
        self._loop.watch(self._handle, events.IN, self._command_ended, self._on_fault)
        if self._killed:
            self._place.kill()
        self._on_spawned(None)

    def _refuse(self, why: str) -> None:
        self._close_handed_on()
        self._on_spawned(RefusedError(protocol.ERROR_CANNOT_START, why))

    def _force(self) -> None:
        self.forced = True
        self.kill()

    def _command_ended(self, _events: int) -> None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            return
        self.status = status
        self._loop.forget(self._handle)
        os.close(self._handle)
        if self._terminating and not self._killed:
            self._let_others_end()
        else:
            self.kill()

    def _let_others_end(self) -> None:
        # TERM went to the whole tree: those who tidy up have the rest of the grace.
        assert self._place is not None
        if self._killed:
            return
        if self._place_ended or self._place.empty():
            self.kill()
        else:
            self._loop.call_in(_LOOK_AGAIN_SECONDS, self._let_others_end, self._on_fault)

    def _on_place_ended(self) -> None:
        self._place_ended = True
        self._perhaps_end()

    def _perhaps_end(self) -> None:
        if self._ended or not self._place_ended or self._spawning:
            return
        if self.pid and self.status is None:
            return
        self._ended = True
        self._loop.cancel(self._timer)
        self._on_end()

    def _close_handed_on(self) -> None:
        while self._handed_on:
            os.close(self._handed_on.pop())
