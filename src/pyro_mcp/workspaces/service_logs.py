"""What services wrote: the latest part, and what comes while one looks on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, AnyStr

from pyro_mcp import protocol
from pyro_mcp.errors import (
    GuestLostError,
    GuestRefusedError,
    InvalidInputError,
    WorkspaceStateError,
)
from pyro_mcp.machines import services as agent
from pyro_mcp.results.services import Service, ServiceLogs
from pyro_mcp.workspaces import naming, secrets
from pyro_mcp.workspaces.service_view import one

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.state.services import ServiceRow
    from pyro_mcp.workspaces.secret_file import Watch
    from pyro_mcp.workspaces.store import Store

    OnOutput = Callable[[str, bytes], None]

DEFAULT_TAIL_LINES = 200
_LAST_LINES = 20
_LAST_CHARACTERS = 8192


class _Streams:
    """Both streams of one log, as they came."""

    def __init__(self) -> None:
        self.kept = {"stdout": bytearray(), "stderr": bytearray()}

    def take(self, stream: str, data: bytes) -> None:
        kept = self.kept[stream]
        if len(kept) + len(data) > 2 * protocol.SERVICE_LOG_BYTES:
            raise GuestLostError("the agent sent more than was asked for")
        kept += data


def read(
    store: Store,
    workspace_id: str,
    service_name: str,
    *,
    tail_lines: int = DEFAULT_TAIL_LINES,
    all_lines: bool = False,
) -> ServiceLogs:
    """The last lines of both streams, or all that is kept of them. Changes nothing.

    Raises:
        WorkspaceStateError: The machine has ended, and the log with it.
    """
    lines = None if all_lines else _positive(tail_lines)
    name = naming.clean_service_name(service_name)
    found = one(store, workspace_id, name)
    streams, part = _fetch(store, workspace_id, found.row)
    redactor = secrets.redactor(store, workspace_id)
    texts = {}
    truncated = part.stdout_from > 0 or part.stderr_from > 0
    redacted = False
    for stream, data in streams.kept.items():
        # All of it, before it is cut: a value may have several lines.
        text, replaced = redactor.excerpt(data.decode("utf-8", "replace"))
        texts[stream] = text if lines is None else last_of(text, lines)
        truncated = truncated or len(texts[stream]) < len(text)
        redacted = redacted or replaced
    shown = found.shown(workspace_id, redactor)
    return ServiceLogs(
        **{**vars(shown), "redacted": shown.redacted or redacted},
        stdout=texts["stdout"],
        stderr=texts["stderr"],
        tail_lines=lines,
        truncated=truncated,
        stdout_bytes=part.stdout_to,
        stderr_bytes=part.stderr_to,
    )


def follow(
    store: Store,
    workspace_id: str,
    service_name: str,
    *,
    on_output: OnOutput,
    tail_lines: int = DEFAULT_TAIL_LINES,
    all_lines: bool = False,
) -> Service:
    """Pass on its last lines, then what it writes until it has ended.

    `on_output` gets "stdout" or "stderr", and bytes; an exception of it ends the following.
    """
    lines = None if all_lines else _positive(tail_lines)
    name = naming.clean_service_name(service_name)
    row = one(store, workspace_id, name).row
    place = store.place(workspace_id)
    watch = secrets.watch(store, workspace_id)
    gates = {stream: _Gate(watch) for stream in ("stdout", "stderr")}

    def pass_on(stream: str, data: bytes) -> None:
        if data:
            on_output(stream, data)

    def take(stream: str, data: bytes) -> None:
        pass_on(stream, gates[stream].take(data))

    with place.in_use():
        asked = (0, 0)
        while True:
            streams, part = _fetch(store, workspace_id, row, start=asked)
            begins = (part.stdout_from, part.stderr_from)
            for (stream, gate), begin, wanted in zip(gates.items(), begins, asked, strict=True):
                text = gate.begin(bytes(streams.kept[stream]), cut=begin > wanted)
                pass_on(stream, text if lines is None else last_of(text, lines))
            lines = None
            at = (part.stdout_to, part.stderr_to)
            part = agent.read_log(place.home, name, row.run, take, start=at, follow=True)
            if not part.overrun:
                break
            asked = (part.stdout_to, part.stderr_to)
        for stream, gate in gates.items():
            pass_on(stream, gate.finish())
    shown = one(store, workspace_id, name).shown(workspace_id, watch.redactor())
    return replace(shown, redacted=shown.redacted or any(gate.redacted for gate in gates.values()))


class _Gate:
    """One stream that is followed, without values of secrets, wherever the pieces are cut."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._stream = watch.redactor().stream()
        self._redacted_before = False

    @property
    def redacted(self) -> bool:
        """Whether a value was left out so far."""
        return self._redacted_before or self._stream.redacted

    def begin(self, data: bytes, *, cut: bool) -> bytes:
        """The first piece, or with `cut` the first after a gap."""
        redactor = self._watch.redactor()
        if cut:
            self._redacted_before = self.redacted
            self._stream = redactor.stream()
            # A value that begins in the gap cannot be recognised: its end goes too.
            longest = redactor.longest
            data = data[data.find(b"\n", longest) + 1 or len(data) :] if longest else data
        return self.take(data)

    def take(self, data: bytes) -> bytes:
        """The next piece."""
        return self._stream.feed(data, self._watch.redactor())

    def finish(self) -> bytes:
        """What was held back."""
        return self._stream.finish()


def last_lines(store: Store, workspace_id: str, row: ServiceRow) -> tuple[str, str, bool]:
    """The end of both streams for a message, and whether it is redacted."""
    try:
        streams, _part = _fetch(store, workspace_id, row)
    except (GuestLostError, GuestRefusedError):
        return "", "", False
    redactor = secrets.redactor(store, workspace_id)
    texts = [redactor.excerpt(data.decode("utf-8", "replace")) for data in streams.kept.values()]
    stdout, stderr = (last_of(text, _LAST_LINES)[-_LAST_CHARACTERS:] for text, _ in texts)
    return stdout, stderr, any(replaced for _, replaced in texts)


def last_of(text: AnyStr, lines: int) -> AnyStr:
    """The last lines; one without its newline counts."""
    newline = "\n" if isinstance(text, str) else b"\n"
    at = len(text) - 1 if text.endswith(newline) else len(text)
    for _ in range(lines):
        at = text.rfind(newline, 0, max(at, 0))
        if at < 0:
            return text
    return text[at + 1 :]


def _fetch(
    store: Store, workspace_id: str, row: ServiceRow, *, start: tuple[int, int] = (0, 0)
) -> tuple[_Streams, agent.LogPart]:
    place = store.place(workspace_id)
    if not place.running:
        raise WorkspaceStateError(
            workspace_id, state="stopped", needed="started",
            hint="The logs of its services ended with its machine.",
        )  # fmt: skip
    streams = _Streams()
    return streams, agent.read_log(place.home, row.name, row.run, streams.take, start=start)


def _positive(tail_lines: object) -> int:
    if isinstance(tail_lines, bool) or not isinstance(tail_lines, int) or tail_lines < 1:
        raise InvalidInputError(
            "tail_lines", f"is {tail_lines!r}", hint="Give a whole number above 0, or all."
        )
    return tail_lines
