"""A proxy that adds a bearer token to each request: for a client that cannot be told of one."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from tests.surfaces.mcp.support import Address

_END = b"\r\n\r\n"


class _Visit(socketserver.BaseRequestHandler):
    """One request; the connection ends with it, so that every request has a head of its own."""

    server: _Doorman

    def handle(self) -> None:
        client: socket.socket = self.request
        read = b""
        while _END not in read:
            data = client.recv(65536)
            if not data:
                return
            read += data
        head, _, body = read.partition(_END)
        lines = [one for one in head.split(b"\r\n") if not one.lower().startswith(b"connection:")]
        lines += [b"Authorization: Bearer " + self.server.token, b"Connection: close"]
        with socket.create_connection(self.server.behind) as inside:
            inside.sendall(b"\r\n".join(lines) + _END + body)
            onward = threading.Thread(target=_copy, args=(client, inside))
            onward.start()
            _copy(inside, client)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                inside.shutdown(socket.SHUT_RDWR)
            onward.join()


class _Doorman(socketserver.ThreadingTCPServer):
    daemon_threads = False

    def __init__(self, address: Address) -> None:
        parts = urlsplit(address.url)
        assert parts.hostname
        assert parts.port
        self.behind = (parts.hostname, parts.port)
        self.token = address.token.encode()
        super().__init__(("127.0.0.1", 0), _Visit)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


@contextmanager
def doorman(address: Address) -> Iterator[str]:
    """The URL at which everybody may come in."""
    with _Doorman(address) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/mcp"
        finally:
            server.shutdown()
            thread.join()
