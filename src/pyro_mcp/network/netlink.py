"""Netlink messages, as far as a guest's network needs them.

Messages and attributes are those of netlink(7): a header of 16 bytes, a fixed part of the family's
own, and attributes of 4 bytes head (length, type) and content, padded to 4 bytes.
"""

from __future__ import annotations

import os
import socket
import struct

ROUTE, NETFILTER = 0, 12
"""Families: rtnetlink(7) and nfnetlink."""

REQUEST, ACK, EXCLUSIVE, CREATE = 0x1, 0x4, 0x200, 0x400
NESTED = 0x8000
_ERROR = 2
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_RECEIVE = 65536


class Netlink:
    """A socket of one family, in the network namespace of whoever makes it."""

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family
        )
        self._socket.settimeout(5)
        self._sequence = 0

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def change(self, kind: int, body: bytes, flags: int = 0, *, what: str) -> None:
        """Ask for one change and wait until it is done; an `OSError` names `what`."""
        self._sequence += 1
        self._socket.send(message(kind, REQUEST | ACK | flags, self._sequence, body))
        self.await_acks(1, what=what)

    def ask(self, kind: int, body: bytes) -> tuple[int, bytes]:
        """Ask for one thing: the kind and the body of what comes back."""
        self._sequence += 1
        self._socket.send(message(kind, REQUEST, self._sequence, body))
        while True:
            for answer, sequence, content in messages(self._socket.recv(_RECEIVE)):
                if sequence != self._sequence:
                    continue  # of a question that was given up
                if answer == _ERROR:
                    raise _error(content, "a question")
                return answer, content

    def send(self, data: bytes) -> None:
        """Send messages that are made already."""
        self._socket.send(data)

    def await_acks(self, count: int, *, what: str) -> None:
        """Wait for `count` acknowledgements, the first refusal is raised."""
        while count > 0:
            for kind, _, content in messages(self._socket.recv(_RECEIVE)):
                if kind == _ERROR:
                    if int.from_bytes(content[:4], "little", signed=True):
                        raise _error(content, what)
                    count -= 1


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """One message."""
    return _padded(_HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body)


def messages(data: bytes) -> list[tuple[int, int, bytes]]:
    """Kind, sequence number and body of each message in what was received."""
    found = []
    while len(data) >= _HEADER.size:
        length, kind, _, sequence, _ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            break
        found.append((kind, sequence, data[_HEADER.size : length]))
        data = data[(length + 3) & ~3 :]
    return found


def attribute(kind: int, content: bytes) -> bytes:
    """One attribute."""
    return _padded(_ATTRIBUTE.pack(_ATTRIBUTE.size + len(content), kind) + content)


def text(kind: int, content: str) -> bytes:
    """An attribute of text."""
    return attribute(kind, content.encode() + b"\0")


def number(kind: int, content: int) -> bytes:
    """An attribute of 32 bits in the host's order."""
    return attribute(kind, struct.pack("=I", content))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _error(content: bytes, what: str) -> OSError:
    code = -int.from_bytes(content[:4], "little", signed=True)
    return OSError(code, os.strerror(code), what)
