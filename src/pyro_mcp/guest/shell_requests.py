"""What the host's requests about shells may contain."""

from __future__ import annotations

from pyro_mcp import protocol
from pyro_mcp.guest.requests import bad_request, parse_cwd, parse_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyro_mcp.guest.requests import Programs

_VARIABLES = {"TERM": "xterm-256color", "PS1": "pyro$ ", "SHELL": "/bin/bash"}
_PROGRAMS: Programs = (
    (b"/bin/bash", (b"bash", b"--noprofile", b"--norc", b"-i")),
    (b"/bin/sh", (b"sh", b"-i")),
)
_ID_DIGITS = 12
_LONGEST_WAIT_MS = 10_000
_LARGEST_CURSOR = 2**62
_SIGNALS = {"HUP": 1, "INT": 2, "TERM": 15, "KILL": 9}


class OpenRequest:
    """A checked request to open a shell."""

    terminal = True
    programs = _PROGRAMS

    def __init__(self, request: Mapping[str, object]) -> None:
        self.shell_id = parse_shell_id(request)
        self.cols, self.rows = parse_size(request)
        self.cwd = parse_cwd(request)
        self.environment = parse_environment(request, _VARIABLES)


class ReadRequest:
    """A checked request to read; `wait_idle_ms` is 0 for none."""

    def __init__(self, request: Mapping[str, object]) -> None:
        self.cursor = number(request, "cursor", 0, _LARGEST_CURSOR)
        self.context = number(request, "context", 0, protocol.SHELL_CONTEXT)
        self.max_bytes = number(request, "max_bytes", 1, protocol.SHELL_WINDOW)
        self.max_chars = number(request, "max_chars", 1, protocol.SHELL_WINDOW)
        self.wait_idle_ms = number(request, "wait_idle_ms", 0, _LONGEST_WAIT_MS)


def parse_shell_id(request: Mapping[str, object]) -> str:
    """Which shell. Raises `RefusedError`."""
    value = request.get("shell_id")
    if not isinstance(value, str) or len(value) != _ID_DIGITS or value.strip("0123456789abcdef"):
        raise bad_request("shell_id is not twelve hexadecimal digits")
    return value


def parse_size(request: Mapping[str, object]) -> tuple[int, int]:
    """Columns and rows. Raises `RefusedError`."""
    most = protocol.LARGEST_TERMINAL
    return number(request, "cols", 1, most), number(request, "rows", 1, most)


def parse_signal_name(request: Mapping[str, object]) -> int:
    """The number of a signal that shells can be sent. Raises `RefusedError`."""
    name = request.get("signal")
    if not isinstance(name, str) or name not in _SIGNALS:
        raise bad_request(f"signal is none of {', '.join(_SIGNALS)}")
    return _SIGNALS[name]


def number(request: Mapping[str, object], field: str, least: int, most: int) -> int:
    """A whole number within bounds. Raises `RefusedError`."""
    value = request.get(field)
    if type(value) is not int or not least <= value <= most:
        raise bad_request(f"{field} is no number from {least} to {most}")
    return value
