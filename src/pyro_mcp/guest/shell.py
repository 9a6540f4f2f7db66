"""One shell: a program in a terminal, from its start until it is closed."""

from __future__ import annotations

import os
import time

from pyro_mcp import protocol
from pyro_mcp.guest import loop as events
from pyro_mcp.guest.channel import SCRATCH
from pyro_mcp.guest.history import History
from pyro_mcp.guest.keyboard import Keyboard
from pyro_mcp.guest.requests import RefusedError
from pyro_mcp.guest.terminal import Terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.loop import Loop, Timer
    from pyro_mcp.guest.processes import Place, Places
    from pyro_mcp.guest.shell_requests import OpenRequest

    Fields = dict[str, str | int | bool | None]

_READS_AT_ONCE = 16
"""How often one terminal is read before others have their turn; each gives 4 KiB at most."""
_HANG_UP_SECONDS = 2.0
"""What a shell and its jobs have to end by themselves once their terminal is gone."""
_HANG_UP, _KILL = 1, 9


class Shell:
    """A program in a terminal, in a sandbox of its own.

    `on_opened` gets None, or why it could not be started. `on_change` members are called when
    output came, and when the shell has ended; by then all its output is there and no process of
    it is left. Call `finish` or `hang_up` in any case.
    """

    def __init__(
        self,
        loop: Loop,
        places: Places,
        request: OpenRequest,
        directory: int,
        *,
        on_opened: Callable[[RefusedError | None], None],
        log: Callable[[str], None],
    ) -> None:
        """`directory` is the devpts to open the terminal in. Raises `OSError`."""
        self.id = request.shell_id
        self.history = History()
        self.ended = False
        self.on_change: set[Callable[[], None]] = set()
        self.last_output = self._started = events.now()
        self._loop = loop
        self._request = request
        self._cols, self._rows = request.cols, request.rows
        self._log = log
        self._on_opened: Callable[[RefusedError | None], None] | None = on_opened
        self._started_ms = _wall_clock_ms()
        self._ended_ms: int | None = None
        self._exit_code: int | None = None
        self._place: Place | None = None
        self._place_ended = False
        self._refusal: RefusedError | None = None
        self._pid = 0
        self._handle = -1
        self._killed = False
        self._spawning = False
        self._timer: Timer | None = None
        self._terminal = Terminal(directory, request.cols, request.rows)
        self.keyboard = Keyboard(loop, self._terminal, self._watch)
        places.take(self._placed)

    def record(self) -> Fields:
        """What the protocol says of a shell."""
        return {
            "shell_id": self.id,
            "cwd": self._request.cwd.decode(errors="replace"),
            "cols": self._cols,
            "rows": self._rows,
            "state": "stopped" if self.ended else "running",
            "started_ms": self._started_ms,
            "ended_ms": self._ended_ms,
            "exit_code": self._exit_code,
            "oldest": self.history.oldest,
            "end": self.history.end,
            "quiet_ms": round((events.now() - self.last_output) * 1000),
        }

    def resize(self, cols: int, rows: int) -> None:
        """Give its terminal another size."""
        self._check_running()
        self._terminal.resize(cols, rows)
        self._cols, self._rows = cols, rows

    def signal(self, number: int) -> None:
        """Send a signal to what has the terminal: a job in the foreground, or the shell."""
        self._check_running()
        for group in (self._terminal.foreground_group(), self._pid):
            # 0 and 1 would be the agent's own.
            if group <= 1:
                continue
            try:
                os.killpg(group, number)
            except ProcessLookupError:
                continue
            return

    def hang_up(self) -> None:
        """Take its terminal away, as if a line had been cut; kill what is left after a moment."""
        if self.ended or self._killed:
            return
        if self._pid and self._exit_code is None:
            # As the kernel is about to do; but a shell that reads is woken first there, and may
            # end of its input's end, as if it had been asked to.
            os.kill(self._pid, _HANG_UP)
        self._close_terminal()
        self._timer = self._loop.call_in(_HANG_UP_SECONDS, self.kill)

    def kill(self) -> None:
        """Kill it and all it started. May be called twice."""
        self._killed = True
        if self._place is not None:
            self._place.kill()
            self._perhaps_end()

    def _check_running(self) -> None:
        if self.ended or self._terminal.master < 0:
            raise RefusedError(protocol.ERROR_SHELL_ENDED, f"the shell {self.id} has ended")

    def _placed(self, place: Place | OSError) -> None:
        if isinstance(place, OSError):
            self._refusal = RefusedError(
                protocol.ERROR_CANNOT_START, f"the guest has no room for it: {place.strerror}"
            )
            self._place_ended = True
            self._perhaps_end()
            return
        self._place = place
        place.on_ended = self._on_place_ended
        if self._killed or self._terminal.slave < 0:
            self.kill()
            return
        slave = self._terminal.slave
        self._spawning = True
        place.spawn(self._request, (slave, slave, slave), self._spawned)

    def _spawned(self, outcome: int | RefusedError) -> None:
        assert self._place is not None
        self._spawning = False
        if isinstance(outcome, RefusedError):
            self._refusal = outcome
            self._place.kill()
            self._perhaps_end()
            return
        try:
            self._handle = os.pidfd_open(outcome)
        except OSError as error:
            # It cannot be watched: out of memory. Killed, it is soon gone.
            self._place.kill()
            os.waitpid(outcome, 0)
            self._refusal = RefusedError(protocol.ERROR_CANNOT_START, str(error.strerror))
            self._perhaps_end()
            return
        self._pid = outcome
        self._loop.watch(self._handle, events.IN, self._program_ended, self._failed)
        self._watch()
        if self._killed:
            self._place.kill()
        self._tell_opened(None)

    def _watch(self) -> None:
        if self._terminal.master >= 0 and self._pid and not self.ended:
            wanted = events.IN | (events.OUT if self.keyboard.waiting else 0)
            self._loop.watch(self._terminal.master, wanted, self._happened, self._failed)

    def _happened(self, happened: int) -> None:
        if happened & events.OUT and self.keyboard.waiting:
            self.keyboard.type()
        if happened & events.IN and self._read():
            self._tell()

    def _read(self, most: int = _READS_AT_ONCE) -> bool:
        """Take what the terminal has; whether there was anything."""
        any_came = False
        while most and self._terminal.master >= 0:
            view = SCRATCH.view
            try:
                size = os.readv(self._terminal.master, (view,))
            except OSError:  # nothing there now, or no slave is open any more
                break
            if size == 0:
                break
            self.history.add(view[:size])
            any_came = True
            most -= 1
        if any_came:
            self.last_output = events.now()
        return any_came

    def _program_ended(self, _events: int) -> None:
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        self._exit_code = code if code >= 0 else 128 - code
        self._loop.forget(self._handle)
        os.close(self._handle)
        assert self._place is not None
        self._place.kill()
        self._perhaps_end()

    def _on_place_ended(self) -> None:
        self._place_ended = True
        self._perhaps_end()

    def _perhaps_end(self) -> None:
        never_began = self._refusal is not None or (
            self._killed and not self._pid and not self._spawning
        )
        if self.ended or not self._place_ended:
            return
        if self._exit_code is None and not never_began:
            return
        self._loop.cancel(self._timer)
        # Nobody writes any more: what the terminal still has is the rest.
        self._terminal.close_slave()
        while self._read():
            pass
        self.ended = True
        self._ended_ms = _wall_clock_ms()
        self._close_terminal()
        if never_began:
            self._tell_opened(self._refusal or _never_began())
        self._tell()

    def _close_terminal(self) -> None:
        if self._terminal.master >= 0:
            self._loop.forget(self._terminal.master)
        if not self._spawning:
            self._terminal.close()
        self.keyboard.close()

    def _tell(self) -> None:
        for call in tuple(self.on_change):
            call()

    def _tell_opened(self, refusal: RefusedError | None) -> None:
        on_opened, self._on_opened = self._on_opened, None
        if on_opened is not None:
            on_opened(refusal)

    def _failed(self, error: Exception) -> None:
        self._log(f"a shell failed: {type(error).__name__}: {error}")
        self.kill()


def _never_began() -> RefusedError:
    return RefusedError(protocol.ERROR_CANNOT_START, "the shell was ended before it began")


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000
