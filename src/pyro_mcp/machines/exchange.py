"""One request to a guest agent: its frames out and in, none of which may block another."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from typing import TYPE_CHECKING, BinaryIO, Protocol

from pyro_mcp import protocol
from pyro_mcp.errors import GuestLostError, GuestUnreachableError, InvalidInputError
from pyro_mcp.machines import channel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyro_mcp.machines.cancel import Cancel

    OnData = Callable[[int, bytes], None]


_LONGEST_POLL_SECONDS = 86400.0
"""poll(2) takes milliseconds in 31 bits."""


class AgentError(Exception):
    """The agent answered with ERROR; whoever asked says what that means."""

    def __init__(self, answer: dict[str, object]) -> None:
        self.code = str(answer.get("code"))
        self.message = str(answer.get("message", "no reason given"))
        self.answer = answer
        super().__init__(self.message)


class Source(Protocol):
    """What is sent as STDIN frames."""

    descriptor: int | None
    """To be waited for before each read; None where reading never waits for anybody else."""

    def read(self, size: int) -> bytes:
        """The next bytes, empty at the end."""

    def close(self) -> None:
        """Give back what belongs to the source."""


class Exchange:
    """Sends one request, then input as the agent takes it, and hands on what comes back."""

    def __init__(
        self,
        client: socket.socket,
        request: dict[str, object],
        *,
        source: Source | None = None,
        on_data: OnData | None = None,
        end: int = protocol.REPLY,
    ) -> None:
        """`on_data` gets kind and payload of each STDOUT and STDERR frame.

        `end` is the kind of frame that ends it well.
        """
        self._client = client
        self._frames = channel.Frames(client)
        self._source = source
        self._sourced = source is not None
        self._on_data = on_data
        self._end = end
        self._to_send = memoryview(
            protocol.preamble() + protocol.json_frame(protocol.REQUEST, request)
        )

    def run(
        self,
        *,
        within_seconds: float,
        silent_seconds: float | None = None,
        cancel: Cancel | None = None,
    ) -> dict[str, object]:
        """The last frame's content.

        `silent_seconds` instead limits how long nothing may cross in either direction.

        Raises:
            AgentError: The agent refused or failed.
            GuestLostError: The machine ended, stopped answering or broke the protocol.
            CallCancelledError: `cancel` was triggered first; the agent sees the connection end.
        """
        try:
            if cancel is None:
                return self._run(within_seconds, silent_seconds)
            with cancel.waking(self._hang_up):
                try:
                    return self._run(within_seconds, silent_seconds)
                except GuestLostError:
                    cancel.check()
                    raise
        finally:
            self._close_source()

    def _hang_up(self) -> None:
        # Ends the wait in another thread, which closing the socket would not.
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def _run(self, within_seconds: float, silent_seconds: float | None) -> dict[str, object]:
        self._client.setblocking(False)
        deadline = time.monotonic() + within_seconds
        poll = select.poll()
        while True:
            # Input is read only when all before it has gone: an agent that does not take it
            # holds its source back.
            wanted = None
            if self._source is not None and not self._to_send:
                wanted = self._source.descriptor
                if wanted is None:
                    self._read_source()
                    if silent_seconds is not None:  # the source may have taken its time
                        deadline = time.monotonic() + silent_seconds
                else:
                    poll.register(wanted, select.POLLIN)
            poll.register(self._client, select.POLLIN | (select.POLLOUT if self._to_send else 0))
            left = deadline - time.monotonic()
            if left <= 0:
                raise GuestLostError("the agent stopped answering")
            happened = poll.poll(min(left, _LONGEST_POLL_SECONDS) * 1000)
            if wanted is not None:
                poll.unregister(wanted)
            if any(descriptor == wanted for descriptor, _ in happened):
                self._read_source()
            if happened and silent_seconds is not None:
                deadline = time.monotonic() + silent_seconds
            self._send()
            for kind, payload in self._frames.receive():
                if kind in (protocol.STDOUT, protocol.STDERR) and self._on_data is not None:
                    self._on_data(kind, payload)
                elif kind == self._end:
                    return _parsed(payload)
                elif kind == protocol.ERROR:
                    raise self._refusal(AgentError(_parsed(payload)))
                else:
                    raise GuestLostError(f"the agent sent a frame of kind {kind}")

    def _refusal(self, error: AgentError) -> AgentError | GuestLostError:
        if error.code != protocol.ERROR_STOPPING:
            return error
        # A source may have been read from already, and cannot be asked for that again.
        return (
            GuestLostError(error.message) if self._sourced else GuestUnreachableError(error.message)
        )

    def _read_source(self) -> None:
        if self._source is None:
            return
        data = self._source.read(protocol.DATA_CHUNK)
        self._to_send = memoryview(protocol.frame(protocol.STDIN, data))
        if not data:
            self._close_source()

    def _close_source(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def _send(self) -> None:
        while self._to_send:
            try:
                sent = self._client.send(self._to_send)
            except BlockingIOError:
                return
            except OSError:
                # The agent has finished; what it said last is still to be read.
                self._to_send = memoryview(b"")
                self._close_source()
                return
            self._to_send = self._to_send[sent:]


def _parsed(payload: bytes) -> dict[str, object]:
    try:
        return protocol.parse_json(payload)
    except protocol.ProtocolError as error:
        raise GuestLostError(f"the agent broke the protocol: {error}") from error


class DescriptorSource:
    """Input from a descriptor: a pipe, a terminal, a file."""

    def __init__(self, descriptor: int, *, owned: bool) -> None:
        self.descriptor: int | None = descriptor
        self._number = descriptor
        self._owned = owned

    def read(self, size: int) -> bytes:
        """See `Source`."""
        try:
            return os.read(self._number, size)
        except OSError as error:
            raise InvalidInputError(
                "stdin", f"cannot be read: {error.strerror}", hint="Give a readable file."
            ) from error

    def close(self) -> None:
        """See `Source`."""
        if self._owned:
            os.close(self._number)


class BytesSource:
    """Input that is all there."""

    descriptor: int | None = None

    def __init__(self, data: bytes) -> None:
        self._left = memoryview(data)

    def read(self, size: int) -> bytes:
        """See `Source`."""
        piece, self._left = self._left[:size], self._left[size:]
        return bytes(piece)

    def close(self) -> None:
        """See `Source`."""


class PiecesSource:
    """Input made on demand, in pieces of any size; an exception of theirs ends the request."""

    descriptor: int | None = None

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = memoryview(b"")

    def read(self, size: int) -> bytes:
        """See `Source`."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._left = memoryview(piece)
        now, self._left = self._left[:size], self._left[size:]
        return bytes(now)

    def close(self) -> None:
        """End the generator, if it is one."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            with contextlib.suppress(RuntimeError):
                close()


def pieces_of(file: BinaryIO, size: int = 1 << 20) -> Iterable[bytes]:
    """The content of a file that can only be read."""
    while data := file.read(size):
        yield data
