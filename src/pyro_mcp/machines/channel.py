"""The way to a guest: the machine's unix socket, and the frames that cross it."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.errors import (
    GuestLostError,
    GuestUnreachableError,
    NetworkError,
    ProtocolVersionError,
)
from pyro_mcp.host import sockets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

API_SOCKET = "api.sock"
VSOCK_SOCKET = "vsock.sock"
_LONGEST_ANSWER = 64
_LAST_PORT = 65535


def connect(directory: Path, port: int = protocol.AGENT_PORT) -> socket.socket:
    """Open a stream to a port of the guest; waits until its agent listens."""
    client = _open(directory)
    try:
        answer = _ask(client, b"CONNECT %d\n" % port)
        if answer != b"OK %d\n" % port:
            raise GuestUnreachableError("it closed the connection before answering")
    except BaseException:
        client.close()
        raise
    return client


def publish(
    directory: Path, name: str, run: str, ports: Sequence[tuple[int, int]]
) -> list[int] | tuple[int, int]:
    """Have the monitor forward host ports to guest ports as long as that service runs.

    `ports` are pairs of host port, 0 for the system's choice, and guest port. Returns the host
    ports; if one cannot be had none is, and a tuple says which and the errno.
    """
    asked = " ".join(f"{host}:{guest}" for host, guest in ports)
    with _open(directory) as client:
        answer = _ask(client, f"PUBLISH {name} {run} {asked}\n".encode(), longest=1024)
    verdict, *words = answer.split() or [b""]
    numbers = [int(word) for word in words if word.isdigit() and int(word) <= _LAST_PORT]
    if len(numbers) == len(words):
        if verdict == b"OK" and len(numbers) == len(ports):
            return numbers
        if verdict == b"NO" and len(numbers) == 2:
            return numbers[0], numbers[1]
    raise GuestLostError("its monitor did not understand which ports to publish")


def unpublish(directory: Path) -> None:
    """Have the monitor close all published ports, with the connections through them."""
    with _open(directory) as client:
        if _ask(client, b"UNPUBLISH\n") != b"OK unpublish\n":
            raise GuestLostError("its monitor did not close the published ports")


def give_network(directory: Path, launch: dict[str, Any]) -> None:
    """Have the monitor lead the guest's interface to a gateway; `launch` is made by `network.way`.

    Raises:
        NetworkError: This host does not give it; nothing has changed.
        GuestLostError: Its gateway has ended, or it was started by an older pyro.
    """
    with _open(directory) as client:
        answer = _ask(client, f"UPLINK {json.dumps(launch)}\n".encode(), longest=4096)
    if answer.startswith(b"NO "):
        raise NetworkError(answer[3:].decode(errors="replace").strip())
    if answer == b"GONE\n":
        raise GuestLostError("its gateway has ended, and only a start gives another")
    if answer != b"OK uplink\n":
        raise GuestLostError("its monitor did not understand that it gets a network")


def stop(directory: Path) -> bool:
    """Ask the monitor to end the machine; False when there is no monitor."""
    try:
        client = _open(directory)
    except GuestLostError:
        return False
    with client:
        return _ask(client, b"STOP\n") == b"OK stop\n"


def _open(directory: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sockets.connect(client, directory, API_SOCKET)
    except OSError as error:
        client.close()
        raise GuestUnreachableError("its monitor is gone") from error
    return client


def _ask(client: socket.socket, line: bytes, *, longest: int = _LONGEST_ANSWER) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionError):
        client.sendall(line)
        # Byte by byte up to the newline: what follows is the guest's.
        while not answer.endswith(b"\n") and len(answer) < longest:
            byte = client.recv(1)
            if not byte:
                break
            answer += byte
    return answer


class Frames:
    """Frames of the guest agent, over one connection."""

    def __init__(self, client: socket.socket) -> None:
        self.socket = client
        self._decoder = protocol.Decoder(protocol.FROM_GUEST)

    def receive(self) -> list[tuple[int, bytes]]:
        """What one read completes; may be empty. Raises `GuestLostError` at the end."""
        try:
            data = self.socket.recv(256 * 1024)
        except BlockingIOError:
            return []
        except OSError as error:
            raise GuestLostError("the connection broke") from error
        if not data:
            raise GuestLostError("the connection ended before the answer")
        try:
            return self._decoder.feed(data)
        except protocol.VersionMismatchError as error:
            raise ProtocolVersionError(ours=protocol.VERSION, theirs=error.theirs) from error
        except protocol.ProtocolError as error:
            raise GuestLostError(f"the agent broke the protocol: {error}") from error
