"""The connection of a request about files: blocking, and owned by the thread that serves it."""

from __future__ import annotations

import _json
import _socket

from pyro_mcp import protocol
from pyro_mcp.guest.requests import bad_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Frame = tuple[int, bytes]

CHUNK = 256 * 1024
"""Of a file's content, at once: in memory and in one frame."""
_LINES = 64 * 1024
_CHECK_EVERY = 256


def _unknown(value: object) -> object:
    raise TypeError(f"{value!r} is not for JSON")


_encode: Callable[[object, int], tuple[str, ...]] = _json.make_encoder(
    None, _unknown, _json.encode_basestring_ascii, None, ":", ",", False, False, False
)


class HostGoneError(Exception):
    """The host has closed the connection: nobody waits for an answer any more."""


class Link:
    """Frames both ways. `HostGoneError` from any method: stop."""

    def __init__(
        self,
        sock: _socket.socket,
        decoder: protocol.Decoder,
        frames: list[Frame],
        unsent: bytes,
    ) -> None:
        self._socket = sock
        self._decoder = decoder
        self._frames = frames
        self._scratch = memoryview(bytearray(CHUNK))
        self._lines: list[str] = []
        self._lines_size = 0
        self._until_check = _CHECK_EVERY
        self._input_ended = False
        sock.setblocking(True)
        if unsent:
            self._send((unsent,))

    @property
    def descriptor(self) -> int:
        """The connection's, to wait for its end."""
        return self._socket.fileno()

    @property
    def scratch(self) -> memoryview:
        """Room for one piece of content; what was received is not in it."""
        return self._scratch

    def data(self, content: bytes | memoryview) -> None:
        """Send content, at most MAX_PAYLOAD."""
        self._send((protocol.HEADER.pack(len(content), protocol.STDOUT), content))

    def line(self, value: dict[str, object]) -> None:
        """Send one line of JSON, soon."""
        text = "".join(_encode(value, 0))
        self._lines.append(text)
        self._lines_size += len(text) + 1
        if self._lines_size >= _LINES:
            self._flush()

    def reply(self, value: dict[str, object]) -> None:
        """Send the last frame."""
        self._flush()
        payload = "".join(_encode(value, 0)).encode()
        self._send((protocol.HEADER.pack(len(payload), protocol.REPLY), payload))

    def refuse(self, code: str, message: str) -> None:
        """Send ERROR instead of the last frame."""
        payload = "".join(_encode({"code": code, "message": message}, 0)).encode()
        self._send((protocol.HEADER.pack(len(payload), protocol.ERROR), payload))

    def input(self) -> bytes:
        """The payload of the next STDIN frame; empty at the input's end and from then on."""
        if self._input_ended:
            return b""
        while not self._frames:
            try:
                size = self._socket.recv_into(self._scratch)
            except OSError:
                raise HostGoneError from None
            if size == 0:
                raise HostGoneError
            try:
                self._frames += self._decoder.feed(self._scratch[:size])
            except protocol.ProtocolError as error:
                raise bad_request(str(error)) from None
        kind, payload = self._frames.pop(0)
        if kind != protocol.STDIN:
            raise bad_request(f"a frame of kind {kind} is not due")
        self._input_ended = not payload
        return payload

    def drain(self) -> None:
        """Take all input to its end: a refusal would be lost if the host still wrote."""
        while self.input():
            pass

    def check(self) -> None:
        """In a long loop, now and then: notice that the host has gone."""
        self._until_check -= 1
        if self._until_check <= 0:
            self._until_check = _CHECK_EVERY
            try:
                gone = not self._socket.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                gone = True
            if gone:
                raise HostGoneError

    def wait_until_gone(self, seconds: float) -> None:
        """Return when the host closes the connection, and after so long at the latest."""
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(1)
        except OSError:
            return

    def close(self) -> None:
        """End the connection now."""
        try:
            self._socket.shutdown(_socket.SHUT_RDWR)
        except OSError:
            return

    def _flush(self) -> None:
        if self._lines:
            text = "\n".join(self._lines) + "\n"
            self._lines, self._lines_size = [], 0
            view = memoryview(text.encode())
            for start in range(0, len(view), CHUNK):
                self.data(view[start : start + CHUNK])

    def _send(self, parts: tuple[bytes | memoryview, ...]) -> None:
        try:
            sent = self._socket.sendmsg(parts)
            for part in parts:
                if sent < len(part):
                    self._socket.sendall(memoryview(part)[sent:])
                    sent = 0
                else:
                    sent -= len(part)
        except OSError:
            raise HostGoneError from None
