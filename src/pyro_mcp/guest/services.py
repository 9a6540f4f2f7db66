"""Named processes that go on without the host: started, watched, stopped, their output kept."""

from __future__ import annotations

import os

from pyro_mcp import protocol
from pyro_mcp.guest import loop as events
from pyro_mcp.guest import probes
from pyro_mcp.guest.plain_json import encode
from pyro_mcp.guest.requests import ExecRequest, RefusedError, bad_request, stopping
from pyro_mcp.guest.runs import Run
from pyro_mcp.guest.service_requests import number_of, parse_start, text_of
from pyro_mcp.guest.servicelogs import LogPump, Reader, Ring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.channel import Channel
    from pyro_mcp.guest.loop import Loop
    from pyro_mcp.guest.processes import Places
    from pyro_mcp.guest.relay import Relays
    from pyro_mcp.guest.service_requests import ServiceRequest

    Request = dict[str, object]
    Facts = dict[str, str | int | bool | None]

_MOST_RUNNING = 64
_LOGS_OF_ENDED = 64
"""The logs of so many that ended are kept, of those that ended last."""
_MOST_KNOWN = 1024
"""Beyond it the one that ended first is forgotten."""


class Service:
    """One service: a run, its log, and what is waited for. Ended, it stays to be looked at.

    `on_spawned` gets None, or why it did not start; then there is no service.
    """

    def __init__(
        self,
        loop: Loop,
        places: Places,
        request: ServiceRequest,
        *,
        null: int,
        relays: Relays,
        log: Callable[[str], None],
        on_spawned: Callable[[Service, RefusedError | None], None],
        on_end: Callable[[], None],
    ) -> None:
        self.request = request
        self.state = protocol.SERVICE_RUNNING
        self.stop_reason: str | None = None
        self.ended = False
        self._loop = loop
        self._places = places
        self._null = null
        self._relays = relays
        self._log = log
        self._on_spawned = on_spawned
        self._on_end = on_end
        self._started = events.now()
        self._ready_ms: int | None = None
        self._ended_ms: int | None = None
        self.ended_at = 0.0
        """On the loop's clock; 0 as long as it runs."""
        self._stopping: str | None = None
        self._waiting: probes.Waiting | None = None
        self._problem: str | None = None
        self._until_ready: list[Channel] = []
        self._until_ended: list[Channel] = []
        self._readers: list[Reader] = []
        self._pumps: list[LogPump] = []
        self._open_ports: list[int] = []
        self.rings = (Ring(protocol.SERVICE_LOG_BYTES), Ring(protocol.SERVICE_LOG_BYTES))
        writers: list[int] = []
        try:
            for ring in self.rings:
                reader, writer = os.pipe()
                writers.append(writer)
                self._pumps.append(LogPump(loop, reader, ring, self._log_grew))
            for port in request.ports:
                relays.open(port)
                self._open_ports.append(port)
        except OSError:
            for writer in writers:
                os.close(writer)
            self.drop()
            raise
        self._run = Run(
            loop,
            places,
            request.execution,
            (null, writers[0], writers[1]),
            handed_on=tuple(writers),
            on_spawned=self._spawned,
            on_end=self._run_ended,
            on_fault=self.fault,
        )

    def facts(self) -> Facts:
        """What the host is told; times are milliseconds since the start."""
        problem = self._waiting.problem if self._waiting is not None else self._problem
        return {
            "name": self.request.name,
            "run": self.request.run,
            "state": self.state,
            "pid": None if self.ended else self._run.pid or None,
            "exit_code": self._run.exit_code if self.ended and self._stopping is None else None,
            "stop_reason": self.stop_reason,
            "ready_ms": self._ready_ms,
            "ended_ms": self._ended_ms,
            "age_ms": _since(self._started),
            "problem": problem,
        }

    def stop(self, reason: str, *, grace_seconds: float) -> None:
        """TERM to its tree, KILL after the grace. The first reason stays."""
        if not self.ended and self._stopping is None:
            self._stopping = reason
            self._stop_waiting()
            self._run.terminate(grace_seconds)

    def when_settled(self, channel: Channel) -> None:
        """Answer when it is ready, or will never be."""
        if self.ended or (self._ready_ms is not None and self._stopping is None):
            reply(channel, self.facts())
        else:
            self._until_ready = _still_there(self._until_ready, channel)

    def when_ended(self, channel: Channel) -> None:
        """Answer when nothing of it is left."""
        if self.ended:
            reply(channel, self.facts())
        else:
            self._until_ended = _still_there(self._until_ended, channel)

    def send_log(self, channel: Channel, offsets: tuple[int, int], *, follow: bool) -> None:
        """Answer with the log from these offsets."""
        reader = Reader(
            channel, self.rings, offsets, follow=(lambda: self.ended) if follow else None
        )
        self._readers = [one for one in (*self._readers, reader) if not one.done]

    def drop(self) -> None:
        """Give back what an ended service, or one that did not start, still holds."""
        for pump in self._pumps:
            pump.close()
        for ring in self.rings:
            ring.close()
        self._close_ports()

    def fault(self, error: Exception) -> None:
        """A fault of the agent's own ends the service."""
        self._log(f"service {self.request.name}: {type(error).__name__}: {error}")
        self._stopping = self._stopping or protocol.STOP_FAULT
        self._run.kill()

    def _spawned(self, refusal: RefusedError | None) -> None:
        probe = None if refusal is not None else self._probe()
        if refusal is None and probe is None:
            self._is_ready()
        self._on_spawned(self, refusal)
        if probe is None:
            return
        request = self.request
        self._waiting = probes.Waiting(
            self._loop,
            probe,
            timeout_seconds=request.timeout_ms / 1000,
            interval_seconds=request.interval_ms / 1000,
            on_ready=self._is_ready,
            on_timeout=self._is_late,
            on_fault=self.fault,
        )
        if self._ready_ms is not None:
            self._waiting = None

    def _probe(self) -> probes.Probe | None:
        if self.request.readiness is None:
            return None
        kind, what, port, target = self.request.readiness
        if kind == "file":
            return probes.file_probe(what.encode(errors="surrogateescape"))
        if kind == "tcp":
            return probes.tcp_probe(self._loop, what, port, self.fault)
        if kind == "http":
            return probes.http_probe(self._loop, what, port, target.encode(), self.fault)
        own = self.request.execution
        look = ExecRequest(
            what.encode(), cwd=own.cwd, environment=own.environment, timeout_ms=0, stdin=False
        )
        return probes.command_probe(self._loop, self._places, look, self._null, self.fault)

    def _is_ready(self) -> None:
        self._ready_ms = _since(self._started)
        self._waiting = None
        waiting, self._until_ready = self._until_ready, []
        for channel in waiting:
            reply(channel, self.facts())

    def _is_late(self) -> None:
        self.stop(protocol.STOP_READINESS, grace_seconds=protocol.SERVICE_GRACE_MS / 1000)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._problem = self._waiting.problem
            self._waiting.cancel()
            self._waiting = None

    def _log_grew(self) -> None:
        if self._readers:
            for reader in self._readers:
                reader.pump()
            self._readers = [one for one in self._readers if not one.done]

    def _run_ended(self) -> None:
        self.ended = True
        self.ended_at = events.now()
        self._ended_ms = _since(self._started)
        never_ready = self._ready_ms is None
        self._stop_waiting()
        for pump in self._pumps:
            pump.finish()
        self._close_ports()
        if self._stopping == protocol.STOP_ASKED:
            self.state = protocol.SERVICE_STOPPED
            self.stop_reason = "sigkill" if self._run.forced else "sigterm"
        elif self._stopping is not None:
            self.state, self.stop_reason = protocol.SERVICE_FAILED, self._stopping
        elif never_ready:
            self.state, self.stop_reason = protocol.SERVICE_FAILED, "process_exited_before_ready"
        else:
            self.state = protocol.SERVICE_EXITED
        self._log_grew()
        waiting = [*self._until_ready, *self._until_ended]
        self._until_ready, self._until_ended = [], []
        for channel in waiting:
            reply(channel, self.facts())
        self._on_end()

    def _close_ports(self) -> None:
        while self._open_ports:
            self._relays.close(self._open_ports.pop())


class Services:
    """All services of the machine, by name."""

    def __init__(
        self,
        loop: Loop,
        places: Places,
        *,
        null: int,
        relays: Relays,
        log: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._places = places
        self._null = null
        self._relays = relays
        self._log = log
        self._services: dict[str, Service] = {}
        self._on_quiet: Callable[[], None] | None = None

    def answer(self, channel: Channel, request: Request) -> None:
        """Carry out a request of one of the protocol's SERVICE_OPERATIONS.

        Raises `RefusedError`.
        """
        operation = request["op"]
        if operation == "service_start":
            self._start(channel, request)
        elif operation == "service_list":
            self._list(channel)
        else:
            service = self._find(request)
            if operation == "service_wait":
                service.when_settled(channel)
            elif operation == "service_watch":
                service.when_ended(channel)
            elif operation == "service_stop":
                reason = str(request.get("reason", protocol.STOP_ASKED))
                if reason not in protocol.STOP_REASONS:
                    raise bad_request("reason is unknown")
                service.stop(reason, grace_seconds=protocol.SERVICE_GRACE_MS / 1000)
                service.when_ended(channel)
            else:
                most = 2**63
                offsets = (
                    number_of(request, "stdout_from", most=most),
                    number_of(request, "stderr_from", most=most),
                )
                service.send_log(channel, offsets, follow=operation == "service_follow")

    def halt(self, on_quiet: Callable[[], None]) -> None:
        """Stop all, then call; the machine is about to end."""
        self._on_quiet = on_quiet
        for service in self._services.values():
            service.stop(protocol.STOP_ASKED, grace_seconds=protocol.TERM_GRACE_MS / 1000)
        self._ended()

    def close(self) -> None:
        """Give back what ended services hold; when nothing runs any more."""
        for service in self._services.values():
            service.drop()

    @property
    def quiet(self) -> bool:
        """Whether nothing runs."""
        return all(service.ended for service in self._services.values())

    def _start(self, channel: Channel, request: Request) -> None:
        if self._on_quiet is not None:
            raise stopping()
        parsed = parse_start(request)
        former = self._services.get(parsed.name)
        if former is not None and not former.ended:
            raise RefusedError(protocol.ERROR_EXISTS, "a service of that name is running")
        if sum(not service.ended for service in self._services.values()) >= _MOST_RUNNING:
            why = f"the machine runs {_MOST_RUNNING} services, and can run no more at once"
            raise RefusedError(protocol.ERROR_CANNOT_START, why)
        self._forget_oldest(keep=former)

        def spawned(service: Service, refusal: RefusedError | None) -> None:
            if refusal is None:
                if former is not None:
                    former.drop()
                reply(channel, service.facts())
                return
            service.ended = True
            service.drop()
            if former is not None:
                self._services[parsed.name] = former
            else:
                self._services.pop(parsed.name, None)
            channel.send_frame(
                protocol.ERROR, encode({"code": refusal.code, "message": str(refusal)})
            )
            channel.close_when_sent()

        try:
            service = Service(
                self._loop,
                self._places,
                parsed,
                null=self._null,
                relays=self._relays,
                log=self._log,
                on_spawned=spawned,
                on_end=self._ended,
            )
        except OSError as error:
            why = f"the guest has no room for it: {error.strerror}"
            raise RefusedError(protocol.ERROR_CANNOT_START, why) from error
        self._services[parsed.name] = service

    def _forget_oldest(self, *, keep: Service | None) -> None:
        """Of services that ended: their logs, and if there are too many, all of them."""
        ended = [one for one in self._services.values() if one.ended and one is not keep]
        ended.sort(key=lambda one: one.ended_at)
        for service in ended[:-_LOGS_OF_ENDED]:
            service.drop()
        for service in ended[: max(0, len(self._services) + 1 - _MOST_KNOWN)]:
            del self._services[service.request.name]

    def _ended(self) -> None:
        if self._on_quiet is not None and self.quiet:
            on_quiet, self._on_quiet = self._on_quiet, _nothing
            on_quiet()

    def _list(self, channel: Channel) -> None:
        for service in self._services.values():
            channel.send_frame(protocol.STDOUT, encode(service.facts()) + b"\n")
        reply(channel, {"count": len(self._services)})

    def _find(self, request: Request) -> Service:
        service = self._services.get(text_of(request, "name"))
        if service is None or service.request.run != text_of(request, "run"):
            raise RefusedError(protocol.ERROR_NOT_FOUND, "the guest has no such service")
        return service


def reply(channel: Channel, value: Facts) -> None:
    """Answer with one REPLY frame and close."""
    channel.send_frame(protocol.REPLY, encode(value))
    channel.close_when_sent()


def _still_there(channels: list[Channel], one_more: Channel) -> list[Channel]:
    return [channel for channel in (*channels, one_more) if not channel.closed]


def _since(started: float) -> int:
    return round((events.now() - started) * 1000)


def _nothing() -> None:
    return
