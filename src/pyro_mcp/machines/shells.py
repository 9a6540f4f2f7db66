"""What is asked of a guest agent about shells. What the guest answers is checked: it is hostile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.errors import (
    GuestLostError,
    GuestRefusedError,
)
from pyro_mcp.errors.shells import (
    ShellEndedError,
    ShellInputError,
    ShellLimitError,
    UnknownShellError,
)
from pyro_mcp.machines import channel
from pyro_mcp.machines.exchange import AgentError, BytesSource, Exchange
from pyro_mcp.machines.file_answers import Answer, bool_of, int_of, line_of, text_of

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from pyro_mcp.machines.cancel import Cancel
    from pyro_mcp.machines.exchange import OnData, Source

_ANSWER_SECONDS = 30.0
"""Beyond what the agent itself waits for, the guest counts as lost."""
_WRITE_SECONDS = 600.0
_LINE_LIMIT_BYTES = 64 * 1024
_LONGEST_TEXT = 4096
_LONGEST_MESSAGE = 2000


@dataclass(frozen=True, kw_only=True)
class ShellRecord:
    """One shell, as it is now."""

    shell_id: str
    cwd: str
    cols: int
    rows: int
    running: bool
    started_at: float
    ended_at: float | None
    exit_code: int | None
    """128 + n if signal n ended it; null while it runs."""
    oldest: int
    """Position of the first byte of its output that can still be read."""
    end: int
    """Bytes it ever wrote."""
    quiet_ms: int
    """How long ago the last of them came."""


@dataclass(frozen=True, kw_only=True)
class ShellOutput:
    """A stretch of a shell's output; what lies before `start` of `data` is context for it."""

    shell: ShellRecord
    data: bytes
    context: int
    """Bytes at the beginning of `data` that are context."""
    start: int
    """Position of the first byte after the context."""
    wait_timed_out: bool


def open_shell(
    home: Path, shell_id: str, *, cwd: str, env: dict[str, str], cols: int, rows: int
) -> ShellRecord:
    """Start a shell of that id.

    Raises, as everything here does:
        UnknownShellError: No shell has that id.
        ShellEndedError: It has ended, and this needs it running.
        ShellLimitError: There are as many shells as there can be.
        GuestRefusedError: The guest cannot do it; says why.
        GuestLostError: The machine ended or stopped answering.
    """
    request: Answer = {"op": "shell_open", "shell_id": shell_id, "cwd": cwd, "env": env}
    return _record(_ask(home, {**request, "cols": cols, "rows": rows}))


def list_shells(home: Path) -> list[ShellRecord]:
    """All that are not closed, in the order they were opened."""
    data = bytearray()

    def take(_kind: int, piece: bytes) -> None:
        data.extend(piece)
        if len(data) > protocol.MOST_SHELLS * _LINE_LIMIT_BYTES:
            raise GuestLostError("the agent sent more than was asked for")

    _ask(home, {"op": "shell_list"}, on_data=take)
    return [_record(line_of(line)) for line in bytes(data).splitlines()][: protocol.MOST_SHELLS]


def read_shell(
    home: Path,
    shell_id: str,
    *,
    cursor: int,
    context: int,
    max_bytes: int,
    max_chars: int,
    wait_idle_ms: int,
    cancel: Cancel | None = None,
) -> ShellOutput:
    """Output from a position on; see `protocol` for when a read that waits ends.

    Raises:
        CallCancelledError: `cancel` was triggered.
    """
    kept = bytearray()

    def take(_kind: int, piece: bytes) -> None:
        kept.extend(piece)
        if len(kept) > context + max_bytes:
            raise GuestLostError("the agent sent more than was asked for")

    answer = _ask(
        home,
        {
            "op": "shell_read",
            "shell_id": shell_id,
            "cursor": cursor,
            "context": context,
            "max_bytes": max_bytes,
            "max_chars": max_chars,
            "wait_idle_ms": wait_idle_ms,
        },
        on_data=take,
        within_seconds=_ANSWER_SECONDS + protocol.SHELL_WAIT_LIMIT_MS / 1000,
        cancel=cancel,
    )
    data = bytes(kept)
    return ShellOutput(
        shell=_record(answer),
        data=data,
        context=min(int_of(answer, "context"), len(data)),
        start=int_of(answer, "start"),
        wait_timed_out=bool_of(answer, "wait_timed_out"),
    )


def write_shell(home: Path, shell_id: str, data: bytes) -> ShellRecord:
    """Type; returns when the terminal has taken all of it.

    Raises:
        ShellInputError: It took only a part.
    """
    request: Answer = {"op": "shell_write", "shell_id": shell_id}
    return _record(
        _ask(
            home,
            request,
            source=BytesSource(data),
            given=len(data),
            within_seconds=_WRITE_SECONDS,
        )
    )


def resize_shell(home: Path, shell_id: str, *, cols: int, rows: int) -> ShellRecord:
    """Give its terminal another size."""
    request: Answer = {"op": "shell_resize", "shell_id": shell_id, "cols": cols, "rows": rows}
    return _record(_ask(home, request))


def signal_shell(home: Path, shell_id: str, signal_name: str) -> ShellRecord:
    """Send HUP, INT, TERM or KILL to what has the terminal."""
    return _record(_ask(home, {"op": "shell_signal", "shell_id": shell_id, "signal": signal_name}))


def close_shell(home: Path, shell_id: str) -> ShellRecord:
    """Hang up, kill what is left, and forget it."""
    return _record(_ask(home, {"op": "shell_close", "shell_id": shell_id}))


class ShellStream:
    """A live connection to a shell's terminal: what it writes from a position on, and its keys.

    `fileno` is to be waited for before each `receive`.
    """

    def __init__(self, home: Path, shell_id: str, cursor: int) -> None:
        self.ended: ShellRecord | None = None
        """The shell, once it has ended and all its output was received."""
        self.dropped_bytes = 0
        """Output that was lost because it was not received in time."""
        self._frame = b""
        """What is left of a frame of keys, of which the beginning has gone."""
        self._typing = 0
        """How many keys are in that frame."""
        self._home = home
        self._shell_id = shell_id
        self._client: socket.socket = channel.connect(home)
        self._frames = channel.Frames(self._client)
        request: Answer = {"op": "shell_attach", "shell_id": shell_id, "cursor": cursor}
        try:
            self._client.sendall(
                protocol.preamble() + protocol.json_frame(protocol.REQUEST, request)
            )
            self._client.setblocking(False)
        except OSError as error:
            self.close()
            raise GuestLostError("the connection broke") from error

    def fileno(self) -> int:
        """Descriptor that becomes readable when there is something to receive."""
        return self._client.fileno()

    def receive(self) -> bytes:
        """What came; empty when nothing did, or when `ended` is set."""
        if self.ended is not None:
            return b""
        pieces = []
        for kind, payload in self._frames.receive():
            if kind == protocol.STDOUT:
                pieces.append(payload)
            elif kind == protocol.STDERR:
                self.dropped_bytes += int(payload) if payload.isdigit() else 0
            elif kind == protocol.REPLY:
                self.ended = _record(line_of(payload))
            elif kind == protocol.ERROR:
                _raise(AgentError(line_of(payload)), self._home, self._shell_id, given=0)
            else:
                raise GuestLostError(f"the agent sent a frame of kind {kind}")
        return b"".join(pieces)

    def send(self, data: bytes) -> int:
        """Type as much of `data` as can be taken now, and say how much that was.

        What was not taken is to be given again before anything else: part of it may be on its way.
        """
        if not data:
            return 0
        frame, typing = self._frame, self._typing
        if not frame:
            data = data[: protocol.DATA_CHUNK]
            frame, typing = protocol.frame(protocol.STDIN, data), len(data)
        try:
            sent = self._client.send(frame)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise GuestLostError("the connection broke") from error
        self._frame, self._typing = frame[sent:], typing
        return 0 if self._frame else typing

    def close(self) -> None:
        """Let go; the shell goes on. May be called twice."""
        self._client.close()


def _ask(
    home: Path,
    request: Answer,
    *,
    source: Source | None = None,
    on_data: OnData | None = None,
    within_seconds: float = _ANSWER_SECONDS,
    given: int = 0,
    cancel: Cancel | None = None,
) -> Answer:
    with channel.connect(home) as client:
        exchange = Exchange(client, request, source=source, on_data=on_data)
        try:
            return exchange.run(within_seconds=within_seconds, cancel=cancel)
        except AgentError as error:
            _raise(error, home, str(request.get("shell_id", "")), given=given)
            raise AssertionError("not reached") from error


def _raise(error: AgentError, home: Path, shell_id: str, *, given: int) -> None:
    message = "".join(char if char.isprintable() else "?" for char in error.message)
    message = message[:_LONGEST_MESSAGE]
    if error.code == protocol.ERROR_NO_SUCH_SHELL:
        known = [shell.shell_id for shell in list_shells(home)]
        raise UnknownShellError(home.name, shell_id, known) from None
    if error.code == protocol.ERROR_SHELL_ENDED:
        raise ShellEndedError(shell_id) from None
    if error.code == protocol.ERROR_TOO_MANY_SHELLS:
        raise ShellLimitError(home.name, protocol.MOST_SHELLS) from None
    if error.code == protocol.ERROR_INPUT_NOT_TAKEN:
        taken = min(int_of(error.answer, "taken"), given)
        raise ShellInputError(shell_id, message, taken=taken, given=given) from None
    hint = {
        protocol.ERROR_NO_SUCH_DIRECTORY: "Create the directory first, or give another cwd.",
        protocol.ERROR_CANNOT_START: "The environment needs bash or sh in /bin.",
        protocol.ERROR_TOO_LARGE: "Give it fewer secrets.",
    }.get(error.code, "This is a fault in pyro; please report it.")
    raise GuestRefusedError(message, hint=hint) from None


def _record(answer: Answer) -> ShellRecord:
    ended_ms, exit_code = answer.get("ended_ms"), answer.get("exit_code")
    shell_id, state = text_of(answer, "shell_id"), text_of(answer, "state")
    if len(shell_id) != 12 or shell_id.strip("0123456789abcdef"):
        raise GuestLostError("the agent broke the protocol: shell_id")
    if state not in ("running", "stopped"):
        raise GuestLostError("the agent broke the protocol: state")
    return ShellRecord(
        shell_id=shell_id,
        cwd=text_of(answer, "cwd")[:_LONGEST_TEXT],
        cols=int_of(answer, "cols"),
        rows=int_of(answer, "rows"),
        running=state == "running",
        started_at=int_of(answer, "started_ms") / 1000,
        ended_at=None if ended_ms is None else int_of(answer, "ended_ms") / 1000,
        exit_code=None if exit_code is None else int_of(answer, "exit_code"),
        oldest=int_of(answer, "oldest"),
        end=int_of(answer, "end"),
        quiet_ms=int_of(answer, "quiet_ms"),
    )
