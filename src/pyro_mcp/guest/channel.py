"""One connection of the host: frames in, frames out, and no more memory than one read needs."""

from __future__ import annotations

import _socket

from pyro_mcp import protocol
from pyro_mcp.guest import loop as events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyro_mcp.guest.loop import Loop

    Buffer = bytes | memoryview
    Frame = tuple[int, bytes]
    Taker = Callable[[_socket.socket, protocol.Decoder, list[Frame], bytes], None]


class Scratch:
    """Where every read of the loop's thread goes first; its content is sent or copied at once.

    One for all, and small until something large is read: a page touched first costs 20 µs.
    """

    def __init__(self) -> None:
        self.view = memoryview(bytearray(protocol.DATA_CHUNK))

    def filled(self, size: int) -> None:
        """Note how much one read brought: a reader that fills it all may have more."""
        if size == protocol.DATA_CHUNK == len(self.view):
            self.view = memoryview(bytearray(4 * protocol.DATA_CHUNK))


SCRATCH = Scratch()


class Channel:
    """Frames over one non-blocking stream socket, which it owns.

    `on_frame` gets each frame as it is complete. `on_gone` is called once when the host closed
    the connection, broke it, or broke the protocol (with the error; then an answer can still be
    sent). `on_closed` comes last, however it ends.
    """

    def __init__(
        self,
        loop: Loop,
        sock: _socket.socket,
        on_frame: Callable[[int, bytes], None],
        on_gone: Callable[[Exception | None], None],
        on_closed: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._descriptor = sock.fileno()
        self._on_frame = on_frame
        self._on_gone = on_gone
        self._on_closed = on_closed
        self._decoder = protocol.Decoder(protocol.FROM_HOST)
        self._unsent = memoryview(b"")
        self._paused: set[object] = set()
        self._on_drained: list[Callable[[], None]] = []
        self._closing = False
        self._taker: Taker | None = None
        self.closed = False

    def start(self) -> None:
        """Greet the host and begin to listen to it."""
        self._watch()
        self.send((protocol.preamble(),))

    @property
    def blocked(self) -> bool:
        """Whether the host has not taken all yet; whoever reads for it must then stop reading."""
        return bool(self._unsent)

    def send(self, parts: Sequence[Buffer]) -> None:
        """Send what one or more frames are made of; nothing of `parts` is kept by reference."""
        if self.closed:
            return
        if self._unsent:
            self._unsent = memoryview(b"".join((self._unsent, *parts)))
            return
        total = sum(map(len, parts))
        try:
            sent = self._socket.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._gone(error)
            return
        if sent < total:
            self._unsent = memoryview(b"".join(parts))[sent:]
            self._watch()

    def send_frame(self, kind: int, payload: bytes) -> None:
        """Send one frame."""
        self.send((protocol.HEADER.pack(len(payload), kind), payload))

    def when_drained(self, call: Callable[[], None]) -> None:
        """Call once, when the channel is no longer blocked."""
        self._on_drained.append(call)

    def pause(self, who: object) -> None:
        """Read nothing until `who` resumes: the host is held back."""
        self._paused.add(who)
        self._watch()

    def resume(self, who: object) -> None:
        """Undo `pause`."""
        if who in self._paused:
            self._paused.discard(who)
            self._watch()

    def close_when_sent(self) -> None:
        """Close after what was sent so far; nothing is read any more."""
        self._closing = True
        if self._unsent:
            self._watch()
        else:
            self.close()

    def close(self) -> None:
        """Close at once, without `on_gone`. May be called twice."""
        if not self.closed:
            self.closed = True
            self._unsent = memoryview(b"")
            self._on_drained.clear()
            self._loop.forget(self._descriptor)
            self._socket.close()
            self._on_closed()

    def hand_over(self, taker: Taker) -> None:
        """From within `on_frame`: give the socket away, and with it all frames still to come.

        `taker` gets it with the decoder, the frames that have come already and what is unsent,
        and is called when this round of reading is over. The channel then counts as closed, but
        for `on_closed`: the taker says when the connection has ended.
        """
        self._taker = taker

    def say_last(self, kind: int, payload: bytes, seconds: float) -> None:
        """Send one frame and its end, and wait until the host has closed too, for so long at most.

        For the end of the machine: what the kernel has taken may otherwise never leave it.
        """
        self._socket.settimeout(seconds)
        try:
            self._socket.sendall(
                b"".join((self._unsent, protocol.HEADER.pack(len(payload), kind), payload))
            )
            self._socket.shutdown(_socket.SHUT_WR)
            while self._socket.recv_into(SCRATCH.view):
                pass
        except OSError:
            return

    def fail(self, error: Exception) -> None:
        """End the connection for a fault of the agent's own."""
        self._gone(error)

    def _watch(self) -> None:
        if self.closed:
            return
        wanted = events.PEER_CLOSED
        if not self._paused and not self._closing:
            wanted |= events.IN
        if self._unsent:
            wanted |= events.OUT
        self._loop.watch(self._descriptor, wanted, self._happened, self.fail)

    def _happened(self, happened: int) -> None:
        if happened & events.OUT and self._unsent:
            self._flush()
        if happened & events.IN and not self._paused and not self._closing and not self.closed:
            self._receive()
        elif happened & events.GONE and not self.closed:
            self._gone(None)

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError as error:
            self._gone(error)
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            return
        if self._closing:
            self.close()
            return
        self._watch()
        waiting, self._on_drained = self._on_drained, []
        for call in waiting:
            call()

    def _receive(self) -> None:
        try:
            view = SCRATCH.view
            size = self._socket.recv_into(view)
        except BlockingIOError:
            return
        except OSError as error:
            self._gone(error)
            return
        if size == 0:
            self._gone(None)
            return
        try:
            frames = self._decoder.feed(view[:size])
        except protocol.ProtocolError as error:
            self._gone(error)
            return
        SCRATCH.filled(size)
        for number, (kind, payload) in enumerate(frames, 1):
            if self.closed or self._closing:
                return
            self._on_frame(kind, payload)
            if self._taker is not None:
                self._give(frames[number:])
                return

    def _give(self, frames: list[Frame]) -> None:
        assert self._taker is not None
        self.closed = True
        self._loop.forget(self._descriptor)
        unsent, self._unsent = bytes(self._unsent), memoryview(b"")
        self._taker(self._socket, self._decoder, frames, unsent)

    def _gone(self, error: Exception | None) -> None:
        if self.closed:
            return
        if self._closing or not isinstance(error, protocol.ProtocolError):
            self.close()
        self._on_gone(error)
