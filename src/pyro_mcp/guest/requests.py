"""What the host's requests may contain."""

from __future__ import annotations

from pyro_mcp import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    Programs = tuple[tuple[bytes, tuple[bytes, ...]], ...]

    class Launch(Protocol):
        """What a sandbox is to run."""

        programs: Programs
        """Path and words of the program; later ones are taken where the ones before are absent."""
        cwd: bytes
        environment: dict[bytes, bytes]
        terminal: bool
        """Whether its standard input becomes its controlling terminal."""


_ENVIRONMENT = {
    "HOME": "/root",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
_LAST_SIGNAL = 64
_LONGEST_TIMEOUT_MS = 2**53


class RefusedError(Exception):
    """A request that cannot be carried out; `code` is one of the protocol's ERROR_ constants."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ExecRequest:
    """A checked request to run a command; `timeout_ms` is 0 for none."""

    terminal = False

    def __init__(
        self,
        command: bytes,
        *,
        cwd: bytes,
        environment: dict[bytes, bytes],
        timeout_ms: int,
        stdin: bool,
    ) -> None:
        self.programs: Programs = ((b"/bin/sh", (b"/bin/sh", b"-lc", command)),)
        self.cwd = cwd
        self.environment = environment
        self.timeout_ms = timeout_ms
        self.stdin = stdin


def decode(payload: bytes) -> dict[str, object]:
    """The JSON object of a frame. Raises `RefusedError`."""
    try:
        return protocol.decode_object(payload)
    except ValueError as error:
        raise bad_request(str(error)) from None


def parse_exec(request: Mapping[str, object]) -> ExecRequest:
    """Check an exec request whole. Raises `RefusedError`."""
    timeout_ms = request.get("timeout_ms", 0)
    if type(timeout_ms) is not int or not 0 <= timeout_ms <= _LONGEST_TIMEOUT_MS:
        raise bad_request("timeout_ms is not a number of milliseconds")
    stdin = request.get("stdin", False)
    if type(stdin) is not bool:
        raise bad_request("stdin is not a boolean")
    return ExecRequest(
        _bytes(request.get("command"), "command"),
        cwd=parse_cwd(request),
        environment=parse_environment(request, {}),
        timeout_ms=timeout_ms,
        stdin=stdin,
    )


def parse_cwd(request: Mapping[str, object]) -> bytes:
    """The directory to run in. Raises `RefusedError`."""
    cwd = _bytes(request.get("cwd", protocol.WORKSPACE), "cwd")
    if not cwd.startswith(b"/"):
        raise bad_request("cwd is not an absolute path")
    return cwd


def parse_environment(request: Mapping[str, object], more: Mapping[str, str]) -> dict[bytes, bytes]:
    """The few variables of every command, then `more`, then the request's.

    Raises `RefusedError`.
    """
    variables = request.get("env", {})
    if not isinstance(variables, dict):
        raise bad_request("env is not an object")
    environment = {k.encode(): v.encode() for k, v in {**_ENVIRONMENT, **more}.items()}
    for name, value in variables.items():
        if not name or "=" in name:
            raise bad_request(f"env has a variable named {name!r}")
        environment[_bytes(name, "env")] = _bytes(value, "env", empty=True)
    return environment


def set_defaults(variables: Mapping[str, str]) -> None:
    """Change the variables that every command has."""
    _ENVIRONMENT.update(variables)


def parse_signal(payload: bytes) -> int:
    """The number in a SIGNAL frame. Raises `RefusedError`."""
    number = decode(payload).get("signal")
    if type(number) is not int or not 1 <= number <= _LAST_SIGNAL:
        raise bad_request("signal is not a signal's number")
    return number


def bad_request(why: str) -> RefusedError:
    """The error for a request that the host should not have sent."""
    return RefusedError(protocol.ERROR_BAD_REQUEST, f"the request is malformed: {why}")


def stopping() -> RefusedError:
    """The refusal of what would begin something in a machine that is on its way down."""
    return RefusedError(protocol.ERROR_STOPPING, "the machine is being stopped")


def _bytes(value: object, field: str, *, empty: bool = False) -> bytes:
    if not isinstance(value, str):
        raise bad_request(f"{field} is not text")
    try:
        encoded = value.encode(errors="surrogateescape")  # names need not be UTF-8
    except UnicodeEncodeError:
        raise bad_request(f"{field} is not valid Unicode") from None
    if b"\0" in encoded:
        raise bad_request(f"{field} contains a zero byte")
    if not encoded and not empty:
        raise bad_request(f"{field} is empty")
    return encoded
