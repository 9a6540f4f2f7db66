"""What is asked of a guest agent, over the channel: exec, halt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from pyro_mcp import protocol
from pyro_mcp.errors import GuestLostError, GuestRefusedError, InvalidInputError
from pyro_mcp.machines import channel
from pyro_mcp.machines.exchange import AgentError, BytesSource, DescriptorSource, Exchange
from pyro_mcp.machines.output import BoundedOutput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyro_mcp.boundary.redact import RedactedStream, Redactor
    from pyro_mcp.machines.cancel import Cancel
    from pyro_mcp.machines.exchange import Source
    from pyro_mcp.network.inherit import Inherited
    from pyro_mcp.results.commands import Ending

    OnOutput = Callable[[str, bytes], None]

_GRACE_SECONDS = 10.0
"""What the agent may need beyond a command's own time before the guest counts as lost."""

_HINTS = {
    protocol.ERROR_NO_SUCH_DIRECTORY: "Create the directory first, or run the command elsewhere.",
    protocol.ERROR_CANNOT_START: "It takes a shell at /bin/sh, and room for one more process.",
    protocol.ERROR_TOO_LARGE: "Write the command to a file, or give it standard input.",
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
    stdout_bytes: int
    """What the command wrote, before anything was redacted."""
    stderr_bytes: int
    redacted: bool = False
    """Something of its output was."""

    def ending(self, *, keep_output: bool) -> Ending:
        """What all answers about one command tell of it, with or without its output."""
        return {
            "stdout": self.stdout.text() if keep_output else "",
            "stderr": self.stderr.text() if keep_output else "",
            "exit_code": self.exit_code,
            "duration_ms": self.duration_ms,
            "signal": self.signal,
            "timed_out": self.timed_out,
            "oom_killed": self.oom_killed,
            "stdout_bytes": self.stdout_bytes,
            "stderr_bytes": self.stderr_bytes,
            "stdout_truncated": self.stdout.truncated,
            "stderr_truncated": self.stderr.truncated,
        }


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
    cancel: Cancel | None = None,
    redactor: Callable[[], Redactor] | None = None,
) -> CommandOutcome:
    """Run one command in the guest and wait for its end.

    Output goes to `on_output` as it comes ("stdout" or "stderr", bytes) and, up to `output_limit`
    bytes a stream, into the outcome; `redactor` is asked for each piece what to leave out of both.
    Leaving early, by an exception of any kind, ends the
    command and all it started.

    Raises:
        GuestLostError: The machine ended, or stopped answering, before the command did.
        GuestRefusedError: The command could not be started.
        CallCancelledError: `cancel` was triggered.
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
        streams = _Exec(on_output, output_limit, redactor)
        exchange = Exchange(
            client, request, source=_source(stdin), on_data=streams.deliver, end=protocol.EXIT
        )
        within = timeout_seconds + protocol.TERM_GRACE_MS / 1000 + _GRACE_SECONDS
        try:
            return streams.outcome(exchange.run(within_seconds=within, cancel=cancel))
        except AgentError as error:
            hint = _HINTS.get(error.code, "'pyro doctor' checks this host.")
            raise GuestRefusedError(error.message, hint=hint) from None


def inherit(directory: Path, inherited: Inherited) -> None:
    """Give every command of the guest the host's proxies, indexes and certificates."""
    request: dict[str, object] = {
        "op": "inherit",
        "env": inherited.variables,
        "files": inherited.files,
    }
    with channel.connect(directory) as client:
        try:
            Exchange(client, request).run(within_seconds=_GRACE_SECONDS)
        except AgentError as error:
            raise GuestRefusedError(error.message, hint="'pyro doctor' checks this host.") from None


def show_network(directory: Path) -> None:
    """Have the agent bring out the interface that commands did not see so far."""
    with channel.connect(directory) as client:
        try:
            Exchange(client, {"op": "network"}).run(within_seconds=_GRACE_SECONDS)
        except AgentError as error:
            raise GuestRefusedError(error.message, hint="'pyro doctor' checks this host.") from None


def halt(directory: Path, *, timeout_seconds: float = 10.0) -> None:
    """Flush the guest's file systems and power it off."""
    with channel.connect(directory) as client:
        client.settimeout(timeout_seconds)
        client.sendall(protocol.preamble() + protocol.json_frame(protocol.REQUEST, {"op": "halt"}))
        frames = channel.Frames(client)
        while not frames.receive():
            pass


class _Exec:
    """What one exec keeps of its streams."""

    def __init__(
        self,
        on_output: OnOutput | None,
        output_limit: int,
        redactor: Callable[[], Redactor] | None,
    ) -> None:
        self._on_output = on_output
        self._redactor = redactor
        kinds = (protocol.STDOUT, protocol.STDERR)
        self._kept = {kind: BoundedOutput(output_limit) for kind in kinds}
        self._sizes = dict.fromkeys(kinds, 0)
        self._redacted: dict[int, RedactedStream] = {}

    def deliver(self, kind: int, payload: bytes) -> None:
        self._sizes[kind] += len(payload)
        if self._redactor is not None:
            redactor = self._redactor()
            stream = self._redacted.get(kind)
            if stream is not None:
                payload = stream.feed(payload, redactor)
            elif redactor:
                stream = self._redacted[kind] = redactor.stream()
                payload = stream.feed(payload)
        if payload:
            self._give(kind, payload)

    def _give(self, kind: int, payload: bytes) -> None:
        self._kept[kind].add(payload)
        if self._on_output is not None:
            self._on_output("stdout" if kind == protocol.STDOUT else "stderr", payload)

    def outcome(self, end: dict[str, object]) -> CommandOutcome:
        for kind, stream in self._redacted.items():
            if rest := stream.finish():
                self._give(kind, rest)
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
                stdout_bytes=self._sizes[protocol.STDOUT],
                stderr_bytes=self._sizes[protocol.STDERR],
                redacted=any(stream.redacted for stream in self._redacted.values()),
            )
        except (KeyError, ValueError) as error:
            raise GuestLostError(f"the agent's answer is not understood: {error}") from error


def _source(stdin: BinaryIO | bytes | None) -> Source | None:
    if stdin is None:
        return None
    if isinstance(stdin, bytes):
        return BytesSource(stdin)
    try:
        return DescriptorSource(stdin.fileno(), owned=False)
    except (OSError, AttributeError) as error:
        raise InvalidInputError(
            "stdin", "has no descriptor", hint="Give bytes, or a file opened in binary mode."
        ) from error
