"""One command, from its request to its EXIT frame."""

from __future__ import annotations

import os

from pyro_mcp import protocol
from pyro_mcp.guest import loop as events
from pyro_mcp.guest.plain_json import encode
from pyro_mcp.guest.requests import RefusedError, parse_signal
from pyro_mcp.guest.streams import InputPump, OutputPump, widen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from pyro_mcp.guest.channel import Channel
    from pyro_mcp.guest.loop import Loop, Timer
    from pyro_mcp.guest.requests import ExecRequest, Launch

    class Place(Protocol):
        """Where a command runs: a `namespace.Sandbox`."""

        on_ended: Callable[[], None] | None

        def spawn(
            self,
            launch: Launch,
            stdio: tuple[int, int, int],
            on_spawned: Callable[[int | RefusedError], None],
        ) -> None: ...

        def terminate(self) -> None: ...

        def empty(self) -> bool: ...

        def kill(self) -> None: ...

    class Task(Protocol):
        """What a connection began and has more frames for, or ends by going away."""

        def frame(self, kind: int, payload: bytes) -> None: ...

        def abort(self) -> None: ...

    class Places(Protocol):
        """Where places come from: a `standby.Standby`."""

        def take(self, taker: Callable[[Place | OSError], None]) -> None: ...


TIMEOUT_EXIT_CODE = 124
_LOOK_AGAIN_SECONDS = 0.02


class Execution:
    """Runs one command for one channel.

    Whatever happens, it ends by calling `on_end` once, with no process, descriptor or timer of
    it left. `abort` makes that soon.
    """

    def __init__(
        self,
        loop: Loop,
        channel: Channel,
        places: Places,
        request: ExecRequest,
        *,
        count_oom_kills: Callable[[], int],
        null: int,
        on_end: Callable[[Execution], None],
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._request = request
        self._count_oom_kills = count_oom_kills
        self._null = null
        self._on_end = on_end
        self._aborted = False
        self._place: Place | None = None
        self._place_ended = False
        self._refusal: RefusedError | None = None
        self._pid = 0
        self._handle = -1
        self._status: int | None = None
        self._signals: list[int] = []
        self._timed_out = False
        self._timer: Timer | None = None
        self._started = 0.0
        self._duration_ms = 0
        self._oom_kills = 0
        self._input: InputPump | None = None
        self._outputs: tuple[OutputPump, ...] = ()
        self._far_ends: list[int] = []
        self._ended = False
        self._make_pipes()
        places.take(self._placed)

    def frame(self, kind: int, payload: bytes) -> None:
        """Take a frame of the host's. Raises `RefusedError` if it has no business here."""
        if kind == protocol.STDIN and self._request.stdin:
            if self._input is not None:
                self._input.write(payload)
        elif kind == protocol.SIGNAL:
            self._signals.append(parse_signal(payload))
            self._send_signals()
        else:
            raise RefusedError(protocol.ERROR_BAD_REQUEST, f"a frame of kind {kind} is not due")

    def abort(self) -> None:
        """Kill the command and all it started, and close the channel. May be called twice."""
        self._aborted = True
        self._close_streams()
        if self._place is not None:
            self._place.kill()
            self._perhaps_end()

    def _make_pipes(self) -> None:
        try:
            if self._request.stdin:
                reader, writer = os.pipe()
                self._far_ends.append(reader)
                self._input = InputPump(self._loop, self._channel, writer)
            for kind in (protocol.STDOUT, protocol.STDERR):
                reader, writer = os.pipe()
                self._far_ends.append(writer)
                pump = OutputPump(self._loop, self._channel, kind, reader, self._perhaps_end)
                self._outputs += (pump,)
            widen(self._far_ends[-2])
        except OSError:
            self._close_streams()
            raise

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
        if self._aborted:
            place.kill()
            return
        stdin, stdout, stderr = ([] if self._request.stdin else [self._null]) + self._far_ends
        self._oom_kills = self._count_oom_kills()
        self._started = events.now()
        place.spawn(self._request, (stdin, stdout, stderr), self._spawned)

    def _spawned(self, outcome: int | RefusedError) -> None:
        self._close_far_ends()
        assert self._place is not None
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
            self._refusal = RefusedError(protocol.ERROR_CANNOT_START, f"/bin/sh: {error.strerror}")
            self._perhaps_end()
            return
        self._pid = outcome
        self._loop.watch(self._handle, events.IN, self._command_ended, self._channel.fail)
        if self._aborted:
            self._place.kill()
            return
        self._send_signals()
        if self._request.timeout_ms:
            self._set_timer(self._request.timeout_ms / 1000, self._time_is_over)

    def _send_signals(self) -> None:
        if not self._pid or self._status is not None:
            return
        signals, self._signals = self._signals, []
        for number in signals:
            try:
                os.killpg(self._pid, number)
            except ProcessLookupError:
                return

    def _time_is_over(self) -> None:
        assert self._place is not None
        self._timed_out = True
        self._place.terminate()
        self._set_timer(protocol.TERM_GRACE_MS / 1000, self._place.kill)

    def _command_ended(self, _events: int) -> None:
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return
        self._status = status
        self._duration_ms = round((events.now() - self._started) * 1000)
        self._loop.forget(self._handle)
        os.close(self._handle)
        if self._timed_out and not self._aborted and not self._place_ended:
            self._let_others_end()
        else:
            self._kill_the_rest()
        self._perhaps_end()

    def _let_others_end(self) -> None:
        # TERM went to the whole tree: those who tidy up have the rest of the grace.
        assert self._place is not None
        if self._place.empty():
            self._kill_the_rest()
        elif not self._place_ended:
            self._loop.call_in(_LOOK_AGAIN_SECONDS, self._let_others_end, self._channel.fail)

    def _kill_the_rest(self) -> None:
        self._loop.cancel(self._timer)
        if self._place is not None:
            self._place.kill()

    def _on_place_ended(self) -> None:
        self._place_ended = True
        self._perhaps_end()

    def _perhaps_end(self) -> None:
        """Go on to the next step of ending, if all before it is done."""
        if self._ended or not self._place_ended:
            return
        if self._refusal is None and self._status is None and not self._never_started():
            return
        for pump in self._outputs:
            pump.finish()
        if self._ended or not all(pump.ended for pump in self._outputs):
            return
        self._ended = True
        self._loop.cancel(self._timer)
        self._close_streams()
        if self._aborted:
            self._channel.close_when_sent()
        else:
            self._report()
        self._on_end(self)

    def _never_started(self) -> bool:
        return self._aborted and not self._started

    def _report(self) -> None:
        if self._refusal is not None:
            send_error(self._channel, self._refusal)
            return
        code = os.waitstatus_to_exitcode(self._status or 0)
        oom_killed = code != 0 and self._count_oom_kills() > self._oom_kills
        end = {
            "exit_code": TIMEOUT_EXIT_CODE
            if self._timed_out
            else code
            if code >= 0
            else 128 - code,
            "signal": -code if code < 0 else None,
            "timed_out": self._timed_out,
            "duration_ms": self._duration_ms,
            "oom_killed": oom_killed,
        }
        self._channel.send_frame(protocol.EXIT, encode(end))
        self._channel.close_when_sent()

    def _set_timer(self, seconds: float, call: Callable[[], None]) -> None:
        self._timer = self._loop.call_in(seconds, call, self._channel.fail)

    def _close_far_ends(self) -> None:
        while self._far_ends:
            os.close(self._far_ends.pop())

    def _close_streams(self) -> None:
        if self._place is None or self._pid or self._refusal is not None:
            # Otherwise the sandbox's thread is about to hand them on.
            self._close_far_ends()
        if self._input is not None:
            self._input.close()
        for pump in self._outputs:
            pump.close()


def send_error(channel: Channel, error: RefusedError) -> None:
    """Answer with an ERROR frame and close."""
    payload = encode({"code": error.code, "message": str(error)})
    channel.send_frame(protocol.ERROR, payload)
    channel.close_when_sent()
