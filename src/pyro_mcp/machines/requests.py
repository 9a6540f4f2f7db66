"""What is asked of a guest agent, over the channel: exec, halt."""

from __future__ import annotations

import contextlib
import os
import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from pyro_mcp import protocol
from pyro_mcp.errors import GuestLostError, GuestRefusedError, InvalidInputError
from pyro_mcp.machines import channel
from pyro_mcp.machines.output import BoundedOutput

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    OnOutput = Callable[[str, bytes], None]

_GRACE_SECONDS = 10.0
"""What the agent may need beyond a command's own time before the guest counts as lost."""

_HINTS = {
    protocol.ERROR_NO_SUCH_DIRECTORY: "Create the directory first, or run the command elsewhere.",
    protocol.ERROR_CANNOT_START: "The environment needs a shell at /bin/sh.",
    protocol.ERROR_BAD_REQUEST: "This is a fault in pyro; please report it.",
}


@dataclass(frozen=True, kw_only=True)
class CommandOutcome:
    """How one command ended. A command that fails or times out is an outcome, not an error."""

    exit_code: int
    """128 + n if signal n ended it, 124 after its time."""
    signal: int | None
    timed_out: bool
    oom_killed: bool
    duration_ms: int
    stdout: BoundedOutput
    stderr: BoundedOutput


def execute(
    directory: Path,
    command: str,
    *,
    timeout_seconds: float,
    cwd: str = protocol.WORKSPACE,
    env: dict[str, str] | None = None,
    stdin: BinaryIO | bytes | None = None,
    on_output: OnOutput | None = None,
    output_limit: int,
) -> CommandOutcome:
    """Run one command in the guest and wait for its end.

    Output goes to `on_output` as it comes ("stdout" or "stderr", bytes) and, up to `output_limit`
    bytes a stream, into the outcome. Leaving early, by an exception of any kind, ends the
    command and all it started.

    Raises:
        GuestLostError: The machine ended, or stopped answering, before the command did.
        GuestRefusedError: The command could not be started.
    """
    request: dict[str, object] = {
        "op": "exec",
        "command": command,
        "cwd": cwd,
        "env": env or {},
        "timeout_ms": int(timeout_seconds * 1000),
        "stdin": stdin is not None,
    }
    with channel.connect(directory) as client:
        exchange = _Exec(client, request, stdin, on_output, output_limit)
        return exchange.run(timeout_seconds + protocol.TERM_GRACE_MS / 1000 + _GRACE_SECONDS)


def halt(directory: Path, *, timeout_seconds: float = 10.0) -> None:
    """Flush the guest's file systems and power it off."""
    with channel.connect(directory) as client:
        client.settimeout(timeout_seconds)
        client.sendall(protocol.preamble() + protocol.json_frame(protocol.REQUEST, {"op": "halt"}))
        frames = channel.Frames(client)
        while not frames.receive():
            pass


class _Exec:
    """One exec: three streams at once, none of which may block another."""

    def __init__(
        self,
        client: socket.socket,
        request: dict[str, object],
        stdin: BinaryIO | bytes | None,
        on_output: OnOutput | None,
        output_limit: int,
    ) -> None:
        self._client = client
        self._frames = channel.Frames(client)
        self._on_output = on_output
        self._kept = {
            protocol.STDOUT: BoundedOutput(output_limit),
            protocol.STDERR: BoundedOutput(output_limit),
        }
        self._input = _input(stdin)
        self._to_send = memoryview(
            protocol.preamble() + protocol.json_frame(protocol.REQUEST, request)
        )

    def run(self, within_seconds: float) -> CommandOutcome:
        try:
            return self._run(within_seconds)
        finally:
            self._close_input()

    def _run(self, within_seconds: float) -> CommandOutcome:
        self._client.setblocking(False)
        deadline = time.monotonic() + within_seconds
        poll = select.poll()
        while True:
            poll.register(self._client, select.POLLIN | (select.POLLOUT if self._to_send else 0))
            # Input is read only when all before it has gone: a command that does not read
            # holds its writer back.
            wants_input = self._input is not None and not self._to_send
            if wants_input and self._input is not None:
                poll.register(self._input.descriptor, select.POLLIN)
            left = deadline - time.monotonic()
            if left <= 0:
                raise GuestLostError("the agent stopped answering")
            for descriptor, _ in poll.poll(left * 1000):
                if descriptor != self._client.fileno():
                    self._read_input()
            if wants_input:
                self._unregister_input(poll)
            self._send()
            for kind, payload in self._frames.receive():
                if kind in self._kept:
                    self._deliver(kind, payload)
                elif kind == protocol.EXIT:
                    return self._outcome(protocol.parse_json(payload))
                elif kind == protocol.ERROR:
                    raise _refusal(payload)
                else:
                    raise GuestLostError(f"the agent sent a frame of kind {kind}")

    def _unregister_input(self, poll: select.poll) -> None:
        if self._input is not None:
            with contextlib.suppress(KeyError):
                poll.unregister(self._input.descriptor)

    def _read_input(self) -> None:
        if self._input is None:
            return
        data = self._input.read(protocol.DATA_CHUNK)
        self._to_send = memoryview(protocol.frame(protocol.STDIN, data))
        if not data:
            self._close_input()

    def _close_input(self) -> None:
        if self._input is not None:
            self._input.close()
            self._input = None

    def _send(self) -> None:
        while self._to_send:
            try:
                sent = self._client.send(self._to_send)
            except BlockingIOError:
                return
            except OSError:
                # The agent has finished; what it said last is still to be read.
                self._to_send = memoryview(b"")
                self._close_input()
                return
            self._to_send = self._to_send[sent:]

    def _deliver(self, kind: int, payload: bytes) -> None:
        self._kept[kind].add(payload)
        if self._on_output is not None:
            self._on_output("stdout" if kind == protocol.STDOUT else "stderr", payload)

    def _outcome(self, end: dict[str, object]) -> CommandOutcome:
        try:
            signal = end["signal"]
            return CommandOutcome(
                exit_code=int(str(end["exit_code"])),
                signal=None if signal is None else int(str(signal)),
                timed_out=bool(end["timed_out"]),
                oom_killed=bool(end["oom_killed"]),
                duration_ms=int(str(end["duration_ms"])),
                stdout=self._kept[protocol.STDOUT],
                stderr=self._kept[protocol.STDERR],
            )
        except (KeyError, ValueError) as error:
            raise GuestLostError(f"the agent's answer is not understood: {error}") from error


class _Source:
    """A command's input, as a descriptor that can be polled."""

    def __init__(self, descriptor: int, *, owned: bool) -> None:
        self.descriptor = descriptor
        self._owned = owned

    def read(self, size: int) -> bytes:
        try:
            return os.read(self.descriptor, size)
        except OSError as error:
            raise InvalidInputError(
                "stdin", f"cannot be read: {error.strerror}", hint="Give a readable file."
            ) from error

    def close(self) -> None:
        if self._owned:
            os.close(self.descriptor)


def _input(stdin: BinaryIO | bytes | None) -> _Source | None:
    if stdin is None:
        return None
    if isinstance(stdin, bytes):
        descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
        try:
            view = memoryview(stdin)
            while view:
                view = view[os.write(descriptor, view) :]
            os.lseek(descriptor, 0, os.SEEK_SET)
        except BaseException:
            os.close(descriptor)
            raise
        return _Source(descriptor, owned=True)
    try:
        return _Source(stdin.fileno(), owned=False)
    except (OSError, AttributeError) as error:
        raise InvalidInputError(
            "stdin", "has no descriptor", hint="Give bytes, or a file opened in binary mode."
        ) from error


def _refusal(payload: bytes) -> GuestRefusedError:
    answer = protocol.parse_json(payload)
    hint = _HINTS.get(str(answer.get("code")), "'pyro doctor' checks this host.")
    return GuestRefusedError(str(answer.get("message", "no reason given")), hint=hint)
