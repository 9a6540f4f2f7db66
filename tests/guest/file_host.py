"""The agent's work on files on a directory of this host, behind a socket like a machine's."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.guest import filework
from pyro_mcp.guest.filelink import HostGoneError, Link
from pyro_mcp.guest.filetree import Tree
from pyro_mcp.machines.channel import API_SOCKET
from pyro_mcp.protocol import decode_object as decode

if TYPE_CHECKING:
    from pathlib import Path


class FileHost:
    """`home` is for `machines.files`; `workspace` is the tree, `system` what lies around it."""

    def __init__(self, folder: Path, *, seeded: bool = False) -> None:
        self.home = folder / "home"
        self.system = folder / "system"
        self.workspace = self.system / "workspace"
        self.seed = folder / "seed"
        self.upper = folder / "upper"
        for made in (self.home, self.workspace, self.upper):
            made.mkdir(parents=True)
        if seeded:
            self.seed.mkdir()
        self.log: list[str] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.home / API_SOCKET))
        self._listener.listen()
        self._start(self._accept)

    def tree(self) -> Tree:
        """The workspace, for one request."""
        return Tree(str(self.system), str(self.seed), str(self.upper))

    def close(self) -> None:
        """End it, when every request has ended. May be called twice."""
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        assert self.log == []

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            line = b""
            while not line.endswith(b"\n"):
                line += connection.recv(1)
            connection.sendall(b"OK %d\n" % protocol.AGENT_PORT + protocol.preamble())
            decoder = protocol.Decoder(protocol.FROM_HOST)
            frames: list[tuple[int, bytes]] = []
            while not frames:
                data = connection.recv(65536)
                if not data:
                    return
                frames = decoder.feed(data)
            _, payload = frames.pop(0)
            request = decode(payload)
            try:
                link = Link(connection, decoder, frames, b"")
                filework.answer(link, request, self.tree, log=self.log.append)
            except HostGoneError:
                return
