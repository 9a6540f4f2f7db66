"""What a request may contain, and JSON without the package `json`, which costs 15 ms to import."""

from __future__ import annotations

import _json
from typing import TYPE_CHECKING

from pyro_mcp import protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENVIRONMENT = {
    "HOME": "/root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
_BLANK = " \t\r\n"
_LAST_SIGNAL = 64
_LONGEST_TIMEOUT_MS = 2**53


class RefusedError(Exception):
    """A request that cannot be carried out; `code` is one of the protocol's ERROR_ constants."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ExecRequest:
    """A checked request to run a command; `timeout_ms` is 0 for none."""

    def __init__(
        self,
        command: bytes,
        *,
        cwd: bytes,
        environment: dict[bytes, bytes],
        timeout_ms: int,
        stdin: bool,
    ) -> None:
        self.command = command
        self.cwd = cwd
        self.environment = environment
        self.timeout_ms = timeout_ms
        self.stdin = stdin


class _Context:
    """What the interpreter's JSON scanner takes its settings from."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner of older Pythons wants the attribute


_scan = _json.make_scanner(_Context())  # type: ignore[arg-type]


def decode(payload: bytes) -> dict[str, object]:
    """The JSON object of a frame; anything else is refused as a bad request."""
    try:
        text = payload.decode().strip(_BLANK)
        value, end = _scan(text, 0)
    except (ValueError, StopIteration, RecursionError):
        raise bad_request("it is not JSON") from None
    if end != len(text) or not isinstance(value, dict):
        raise bad_request("it is not a JSON object")
    return value


def encode(value: Mapping[str, str | int | bool | None]) -> bytes:
    """A flat JSON object."""
    fields = (f"{_text(key)}:{_scalar(item)}" for key, item in value.items())
    return f"{{{','.join(fields)}}}".encode()


def parse_exec(request: Mapping[str, object]) -> ExecRequest:
    """Check an exec request whole. Raises `RefusedError`."""
    timeout_ms = request.get("timeout_ms", 0)
    if type(timeout_ms) is not int or not 0 <= timeout_ms <= _LONGEST_TIMEOUT_MS:
        raise bad_request("timeout_ms is not a number of milliseconds")
    stdin = request.get("stdin", False)
    if type(stdin) is not bool:
        raise bad_request("stdin is not a boolean")
    cwd = _bytes(request.get("cwd", protocol.WORKSPACE), "cwd")
    if not cwd.startswith(b"/"):
        raise bad_request("cwd is not an absolute path")
    variables = request.get("env", {})
    if not isinstance(variables, dict):
        raise bad_request("env is not an object")
    environment = {name.encode(): value.encode() for name, value in _ENVIRONMENT.items()}
    for name, value in variables.items():
        if not name or "=" in name:
            raise bad_request(f"env has a variable named {name!r}")
        environment[_bytes(name, "env")] = _bytes(value, "env", empty=True)
    return ExecRequest(
        _bytes(request.get("command"), "command"),
        cwd=cwd,
        environment=environment,
        timeout_ms=timeout_ms,
        stdin=stdin,
    )


def parse_signal(payload: bytes) -> int:
    """The number in a SIGNAL frame. Raises `RefusedError`."""
    number = decode(payload).get("signal")
    if type(number) is not int or not 1 <= number <= _LAST_SIGNAL:
        raise bad_request("signal is not a signal's number")
    return number


def bad_request(why: str) -> RefusedError:
    """The error for a request that the host should not have sent."""
    return RefusedError(protocol.ERROR_BAD_REQUEST, f"the request is malformed: {why}")


def _bytes(value: object, field: str, *, empty: bool = False) -> bytes:
    if not isinstance(value, str):
        raise bad_request(f"{field} is not text")
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise bad_request(f"{field} is not valid Unicode") from None
    if b"\0" in encoded:
        raise bad_request(f"{field} contains a zero byte")
    if not encoded and not empty:
        raise bad_request(f"{field} is empty")
    return encoded


def _scalar(value: str | int | bool | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else str(value)


_text = _json.encode_basestring_ascii
