"""What the host's requests about services may contain."""

from __future__ import annotations

from pyro_mcp.guest.requests import ExecRequest, bad_request, parse_exec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_NAME = 64
_LONGEST_MS = 2**53
_LAST_PORT = 65535
_MOST_PORTS = 64
_READINESS = ("file", "tcp", "http", "command")


class ServiceRequest:
    """A checked request to start a service; `readiness` is (type, what), or None."""

    def __init__(
        self,
        name: str,
        run: str,
        execution: ExecRequest,
        *,
        readiness: tuple[str, str, int, str] | None,
        timeout_ms: int,
        interval_ms: int,
        ports: tuple[int, ...],
    ) -> None:
        self.name = name
        self.run = run
        self.execution = execution
        self.readiness = readiness
        """Type; path, host or command; port; and the target of an HTTP request."""
        self.timeout_ms = timeout_ms
        self.interval_ms = interval_ms
        self.ports = ports


def parse_start(request: Mapping[str, object]) -> ServiceRequest:
    """Check a start request whole. Raises `RefusedError`."""
    ports = request.get("ports", [])
    if not isinstance(ports, list) or len(ports) > _MOST_PORTS:
        raise bad_request("ports is not a list")
    return ServiceRequest(
        text_of(request, "name"),
        text_of(request, "run"),
        parse_exec({**request, "stdin": False, "timeout_ms": 0}),
        readiness=_readiness(request.get("readiness")),
        timeout_ms=number_of(request, "ready_timeout_ms", most=_LONGEST_MS),
        interval_ms=number_of(request, "ready_interval_ms", most=_LONGEST_MS),
        ports=tuple(_port(port) for port in ports),
    )


def text_of(request: Mapping[str, object], field: str) -> str:
    """A short text."""
    value = request.get(field)
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME or not value.isascii():
        raise bad_request(f"{field} is not a name")
    return value


def number_of(request: Mapping[str, object], field: str, *, most: int) -> int:
    """A number from 0."""
    value = request.get(field, 0)
    if type(value) is not int or not 0 <= value <= most:
        raise bad_request(f"{field} is not a number")
    return value


def _readiness(given: object) -> tuple[str, str, int, str] | None:
    if given is None:
        return None
    if not isinstance(given, dict) or given.get("type") not in _READINESS:
        raise bad_request("readiness is of no known type")
    kind = str(given["type"])
    what, target = given.get("what"), given.get("target", "/")
    if not isinstance(what, str) or not what or "\0" in what:
        raise bad_request("readiness names nothing")
    if not isinstance(target, str) or not target.isascii() or not target.isprintable():
        raise bad_request("readiness has no usable target")
    port = _port(given.get("port")) if kind in ("tcp", "http") else 0
    return kind, what, port, target


def _port(value: object) -> int:
    if type(value) is not int or not 1 <= value <= _LAST_PORT:
        raise bad_request(f"{value!r} is not a port")
    return value
