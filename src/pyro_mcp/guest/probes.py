"""Whether a service is ready: one look at a time, until one says yes.

A look that fails in any way means "not yet"; why is kept for whoever waits in vain.
"""

from __future__ import annotations

import _socket
import errno
import os

from pyro_mcp.guest import loop as events
from pyro_mcp.guest import mounts, system
from pyro_mcp.guest.runs import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.loop import Loop, Timer
    from pyro_mcp.guest.processes import Places
    from pyro_mcp.guest.requests import ExecRequest, RefusedError

    Done = Callable[[str | None], None]
    Probe = Callable[[Done], Callable[[], None]]

_TCP_SECONDS = 1.0
_HTTP_SECONDS = 2.0
_COMMAND_SECONDS = 10.0
_LONGEST_HEAD = 4096
_LONGEST_PROBLEM = 400
"""Characters; the path or the loader's words may be longer."""
# From openat2(2).
_RESOLVE_IN_ROOT = 0x10

_EAGER_SECONDS = ((0.5, 0.02), (10.0, 0.05))
"""Until so long after the start, the pause is no longer than this: most services are soon ready,
and a look costs little."""


class Waiting:
    """Looks again and again; ends by calling `on_ready`, `on_timeout` or neither, if cancelled."""

    def __init__(
        self,
        loop: Loop,
        probe: Probe,
        *,
        timeout_seconds: float,
        interval_seconds: float,
        on_ready: Callable[[], None],
        on_timeout: Callable[[], None],
        on_fault: Callable[[Exception], None],
    ) -> None:
        self.problem: str | None = None
        """What the last look found wanting."""
        self._loop = loop
        self._probe = probe
        self._interval = interval_seconds
        self._on_ready = on_ready
        self._on_timeout = on_timeout
        self._on_fault = on_fault
        self._begun = events.now()
        self._over = False
        self._next: Timer | None = None
        self._stop_look: Callable[[], None] | None = None
        self._end = loop.call_in(timeout_seconds, self._time_is_over, on_fault)
        self._look()

    def cancel(self) -> None:
        """Look no more. May be called twice."""
        self._over = True
        self._loop.cancel(self._end)
        self._loop.cancel(self._next)
        stop, self._stop_look = self._stop_look, None
        if stop is not None:
            stop()

    def _look(self) -> None:
        if not self._over:
            # It may have its answer at once, and then there is nothing to stop.
            self._stop_look = None
            stop = self._probe(self._looked)
            if self._next is None and not self._over:
                self._stop_look = stop

    def _looked(self, problem: str | None) -> None:
        if self._over:
            return
        self._stop_look = None
        if problem is None:
            self.problem = None
            self.cancel()
            self._on_ready()
            return
        self.problem = problem[:_LONGEST_PROBLEM]
        self._next = self._loop.call_in(self._pause(), self._look_again, self._on_fault)

    def _look_again(self) -> None:
        self._next = None
        self._look()

    def _pause(self) -> float:
        passed = events.now() - self._begun
        for until, pause in _EAGER_SECONDS:
            if passed < until:
                return min(self._interval, pause)
        return self._interval

    def _time_is_over(self) -> None:
        self.problem = self.problem or "the first look took longer than that"
        self.cancel()
        self._on_timeout()


def file_probe(path: bytes) -> Probe:
    """A path of the guest's root exists; links are followed as a command there would."""

    def probe(done: Done) -> Callable[[], None]:
        try:
            root = os.open(mounts.ROOT, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                flags = os.O_PATH | os.O_CLOEXEC
                os.close(system.openat2(root, path, flags, _RESOLVE_IN_ROOT))
            finally:
                os.close(root)
        except OSError as error:
            done(f"{error.strerror}: {path.decode(errors='replace')}")
        else:
            done(None)
        return _nothing

    return probe


def command_probe(
    loop: Loop,
    places: Places,
    request: ExecRequest,
    null: int,
    on_fault: Callable[[Exception], None],
) -> Probe:
    """A command ends with status 0 within its time; it is killed with all it started."""

    def probe(done: Done) -> Callable[[], None]:
        def spawned(refusal: RefusedError | None) -> None:
            refused.append(None if refusal is None else str(refusal))

        def ended() -> None:
            loop.cancel(timer)
            if run.exit_code == 0:
                done(None)
            elif refused and refused[0]:
                done(refused[0])
            elif over:
                done(f"the command took longer than {_COMMAND_SECONDS:.0f} s")
            else:
                done(f"the command ended with status {run.exit_code}")

        def time_is_over() -> None:
            over.append(True)
            run.kill()

        refused: list[str | None] = []
        over: list[bool] = []
        timer = loop.call_in(_COMMAND_SECONDS, time_is_over, on_fault)
        run = Run(
            loop,
            places,
            request,
            (null, null, null),
            handed_on=(),
            on_spawned=spawned,
            # Not from within the constructor: `run` is not bound yet.
            on_end=lambda: loop.call_from_thread(ended, on_fault),
            on_fault=on_fault,
        )

        def stop() -> None:
            loop.cancel(timer)
            run.kill()

        return stop

    return probe


def tcp_probe(loop: Loop, host: str, port: int, on_fault: Callable[[Exception], None]) -> Probe:
    """A connection is accepted, at one of the addresses that `host` stands for."""

    def probe(done: Done) -> Callable[[], None]:
        return _Connecting(loop, addresses(host), port, b"", _TCP_SECONDS, done, on_fault).stop

    return probe


def http_probe(
    loop: Loop, host: str, port: int, target: bytes, on_fault: Callable[[Exception], None]
) -> Probe:
    """GET `target` is answered with a status from 200 to 399."""
    named = f"[{host}]" if ":" in host else host
    request = b"GET %b HTTP/1.1\r\nHost: %b:%d\r\nUser-Agent: pyro\r\nAccept: */*\r\n" % (
        *(target, named.encode(), port),
    )
    request += b"Connection: close\r\n\r\n"

    def probe(done: Done) -> Callable[[], None]:
        return _Connecting(loop, addresses(host), port, request, _HTTP_SECONDS, done, on_fault).stop

    return probe


def addresses(host: str) -> tuple[str, ...]:
    """What to try for a host, in order."""
    return ("127.0.0.1", "::1") if host == "localhost" else (host,)


class _Connecting:
    """One look by TCP: connects, and with a request also reads the answer's first line."""

    def __init__(
        self,
        loop: Loop,
        hosts: tuple[str, ...],
        port: int,
        request: bytes,
        seconds: float,
        done: Done,
        on_fault: Callable[[Exception], None],
    ) -> None:
        self._loop = loop
        self._hosts = list(hosts)
        self._port = port
        self._request = request
        self._done = done
        self._on_fault = on_fault
        self._sock: _socket.socket | None = None
        self._problem = "nothing was tried"
        self._head = b""
        self._timer = loop.call_in(seconds, lambda: self._finish("no answer in time"), on_fault)
        self._try_next()

    def stop(self) -> None:
        """Give up without an answer. May be called twice."""
        self._loop.cancel(self._timer)
        self._close()
        self._hosts.clear()

    def _try_next(self) -> None:
        self._close()
        while self._hosts:
            host = self._hosts.pop(0)
            family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
            try:
                sock = _socket.socket(family, _socket.SOCK_STREAM)
                sock.setblocking(False)
                self._sock = sock
                code = sock.connect_ex((host, self._port))
            except OSError as error:
                self._problem = str(error.strerror or error)
                self._close()
                continue
            if code == 0:
                self._connected()
                return
            if code == errno.EINPROGRESS:
                self._loop.watch(sock.fileno(), events.OUT, self._resolved, self._on_fault)
                return
            self._problem = os.strerror(code)
            self._close()
        self._finish(self._problem)

    def _resolved(self, _events: int) -> None:
        if self._sock is None:
            return
        code = self._sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if code:
            self._problem = os.strerror(code)
            self._try_next()
        else:
            self._connected()

    def _connected(self) -> None:
        if not self._request:
            self._finish(None)
            return
        assert self._sock is not None
        try:
            # A fresh connection's buffer has room for one short request.
            self._sock.send(self._request)
        except OSError as error:
            self._finish(str(error.strerror))
            return
        self._loop.watch(self._sock.fileno(), events.IN, self._answered, self._on_fault)

    def _answered(self, _events: int) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(_LONGEST_HEAD)
        except BlockingIOError:
            return
        except OSError as error:
            self._finish(str(error.strerror))
            return
        self._head += data
        line, newline, _ = self._head.partition(b"\n")
        if newline or len(self._head) > _LONGEST_HEAD:
            self._finish(_status_problem(line))
        elif not data:
            self._finish("the connection was closed without an answer")

    def _finish(self, problem: str | None) -> None:
        self.stop()
        self._done(problem)

    def _close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            self._loop.forget(sock.fileno())
            sock.close()


def _status_problem(line: bytes) -> str | None:
    words = line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return "the answer is not HTTP"
    status = int(words[1][:4])
    return None if 200 <= status <= 399 else f"the answer has status {status}"


def _nothing() -> None:
    return
