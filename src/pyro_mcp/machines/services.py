"""What is asked of a guest agent about services. What it answers is checked: it is hostile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.errors import GuestLostError, GuestRefusedError
from pyro_mcp.machines import channel
from pyro_mcp.machines.exchange import AgentError, Exchange
from pyro_mcp.machines.file_answers import Answer, int_of, line_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyro_mcp.machines.cancel import Cancel

    OnLog = Callable[[str, bytes], None]

_ASK_SECONDS = 60.0
_STOP_SECONDS = protocol.SERVICE_GRACE_MS / 1000 + 30.0
_FOREVER_SECONDS = 10.0**9
_MOST_SERVICES = 256
_LINES_LIMIT_BYTES = 1024 * 1024
_LONGEST_TEXT = 500
_MOST_MS = 2**53
_MOST_EXIT_CODE = 255
_STATES = (
    protocol.SERVICE_RUNNING,
    protocol.SERVICE_EXITED,
    protocol.SERVICE_STOPPED,
    protocol.SERVICE_FAILED,
)

_HINTS = {
    protocol.ERROR_NO_SUCH_DIRECTORY: "Create the directory first, or give another cwd.",
    protocol.ERROR_EXISTS: "Stop it first, or restart it.",
    protocol.ERROR_NOT_FOUND: "It was replaced or dropped meanwhile; list the services.",
    protocol.ERROR_TOO_LARGE: "Write the command to a file, and start that.",
    protocol.ERROR_CANNOT_START: "Stop something in the workspace, and try again.",
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the agent knows of one start of a service; times are milliseconds since it."""

    name: str
    run: str
    state: str
    pid: int | None
    exit_code: int | None
    stop_reason: str | None
    ready_ms: int | None
    ended_ms: int | None
    problem: str | None
    """What the last look for readiness found wanting."""


@dataclass(frozen=True, kw_only=True)
class LogPart:
    """What a request for a log brought: from where to where in each stream."""

    stdout_from: int
    stdout_to: int
    stderr_from: int
    stderr_to: int
    overrun: bool
    """What was to come next is not kept any more."""


def start(home: Path, request: Answer) -> Facts:
    """Start a service; see `protocol`. Does not wait for its readiness.

    Raises, as everything here does:
        GuestRefusedError: The guest cannot do it; says why.
        GuestLostError: The machine ended or stopped answering.
    """
    return _facts(_ask(home, {"op": "service_start", **request}))


def wait(
    home: Path, name: str, run: str, *, within_seconds: float, cancel: Cancel | None = None
) -> Facts:
    """Wait until it is ready, or never will be; `CallCancelledError` when that comes first."""
    request: Answer = {"op": "service_wait", "name": name, "run": run}
    within = within_seconds + _STOP_SECONDS
    return _facts(_ask(home, request, within_seconds=within, cancel=cancel))


def stop(home: Path, name: str, run: str, *, reason: str = protocol.STOP_ASKED) -> Facts:
    """TERM, and five seconds later KILL, to its whole tree; waits until nothing of it is left."""
    request: Answer = {"op": "service_stop", "name": name, "run": run, "reason": reason}
    return _facts(_ask(home, request, within_seconds=_STOP_SECONDS))


def list_all(home: Path, *, within_seconds: float = _ASK_SECONDS) -> dict[str, Facts]:
    """Every service of the machine, by its run."""
    kept = bytearray()

    def take(_kind: int, data: bytes) -> None:
        kept.extend(data)
        if len(kept) > _LINES_LIMIT_BYTES:
            raise GuestLostError("the agent sent more than was asked for")

    _ask(home, {"op": "service_list"}, on_data=take, within_seconds=within_seconds)
    lines = bytes(kept).split(b"\n")
    if lines.pop() or len(lines) > _MOST_SERVICES:
        raise GuestLostError("the agent broke the protocol: its list of services makes no sense")
    found = [_facts(line_of(line)) for line in lines]
    return {facts.run: facts for facts in found}


def read_log(
    home: Path,
    name: str,
    run: str,
    on_log: OnLog,
    *,
    start: tuple[int, int] = (0, 0),
    follow: bool = False,
) -> LogPart:
    """Its log from these offsets in stdout and stderr, or from the oldest that is kept.

    With `follow` until it has ended, however long that takes.
    """

    def take(kind: int, data: bytes) -> None:
        on_log("stdout" if kind == protocol.STDOUT else "stderr", data)

    request: Answer = {
        "op": "service_follow" if follow else "service_log",
        "name": name,
        "run": run,
        "stdout_from": start[0],
        "stderr_from": start[1],
    }
    within = _FOREVER_SECONDS if follow else _ASK_SECONDS
    end = _ask(home, request, on_data=take, within_seconds=within)
    return LogPart(
        stdout_from=int_of(end, "stdout_from"),
        stdout_to=int_of(end, "stdout_to"),
        stderr_from=int_of(end, "stderr_from"),
        stderr_to=int_of(end, "stderr_to"),
        overrun=end.get("overrun") is True,
    )


def _ask(
    home: Path,
    request: Answer,
    *,
    on_data: Callable[[int, bytes], None] | None = None,
    within_seconds: float = _ASK_SECONDS,
    cancel: Cancel | None = None,
) -> Answer:
    with channel.connect(home) as client:
        try:
            exchange = Exchange(client, request, on_data=on_data)
            return exchange.run(within_seconds=within_seconds, cancel=cancel)
        except AgentError as error:
            hint = _HINTS.get(error.code, "This is a fault in pyro; please report it.")
            raise GuestRefusedError(
                _printable(error.message[:_LONGEST_TEXT]), hint=hint, reason=error.code
            ) from None


def _facts(answer: Answer) -> Facts:
    state = answer.get("state")
    if state not in _STATES:
        raise GuestLostError(f"the agent's answer is not understood: state {state!r}")
    return Facts(
        name=_text(answer, "name") or "",
        run=_text(answer, "run") or "",
        state=str(state),
        pid=_number(answer, "pid", most=2**31),
        exit_code=_number(answer, "exit_code", most=_MOST_EXIT_CODE),
        stop_reason=_text(answer, "stop_reason"),
        ready_ms=_number(answer, "ready_ms", most=_MOST_MS),
        ended_ms=_number(answer, "ended_ms", most=_MOST_MS),
        problem=_told(answer, "problem"),
    )


def _number(answer: Answer, field: str, *, most: int) -> int | None:
    value = answer.get(field)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= most:
        raise GuestLostError(f"the agent's answer is not understood: {field} is {value!r:.40}")
    return value


def _text(answer: Answer, field: str) -> str | None:
    value = answer.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise GuestLostError(f"the agent's answer is not understood: {field}")
    return _printable(value)


def _told(answer: Answer, field: str) -> str | None:
    """Words for a person: as many as fit, since one service's must not hide the others."""
    value = answer.get(field)
    if isinstance(value, str):
        answer = {field: value[:_LONGEST_TEXT]}
    return _text(answer, field)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
