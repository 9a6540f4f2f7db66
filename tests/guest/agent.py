"""The agent's server on this host: everything of it but namespaces, disks and the vsock."""

from __future__ import annotations

import _socket
import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.guest.channel import Channel
from pyro_mcp.guest.loop import Loop
from pyro_mcp.guest.requests import RefusedError
from pyro_mcp.guest.server import Server
from tests.support.waiting import until

if TYPE_CHECKING:
    from pyro_mcp.guest.processes import Place
    from pyro_mcp.guest.requests import Launch

MISSING = "/no/such/place"


class FakeSandbox:
    """Runs a command as a process group of this host; without namespaces, so nothing is confined.

    It is the real thing's interface, on purpose with its worst order: the end of everything is
    told as soon as it is asked for.
    """

    def __init__(self, loop: Loop) -> None:
        self.on_ended: Callable[[], None] | None = None
        self._loop = loop
        self._group = 0
        self._ended = False

    def spawn(
        self,
        launch: Launch,
        stdio: tuple[int, int, int],
        on_spawned: Callable[[int | RefusedError], None],
    ) -> None:
        if launch.cwd.decode() == MISSING:
            refusal = RefusedError(protocol.ERROR_NO_SUCH_DIRECTORY, f"{MISSING}: not there")
            self._loop.call_from_thread(lambda: on_spawned(refusal))
            return
        actions: list[tuple[object, ...]] = [
            (os.POSIX_SPAWN_DUP2, stdio[number], number) for number in range(3)
        ]
        if launch.terminal:
            opened = (os.POSIX_SPAWN_OPEN, 3, "/proc/self/fd/0", os.O_RDWR, 0)
            actions += (opened, (os.POSIX_SPAWN_CLOSE, 3))
        program, words = launch.programs[0]
        self._group = os.posix_spawn(
            program,
            # No login shell: a profile of this host has no business here.
            [b"-c" if word == b"-lc" else word for word in words],
            launch.environment,
            file_actions=actions,
            setsid=True,
            setsigdef=(signal.SIGPIPE,),
        )
        self._loop.call_from_thread(lambda: on_spawned(self._group))

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def empty(self) -> bool:
        # Orphans are this process's to reap: tests adopt them.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-self._group, os.WNOHANG)[0]:
                pass
        return not self._signal(0)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        if not self._ended:
            self._ended = True
            self._loop.call_from_thread(self._tell)

    def _tell(self) -> None:
        if self.on_ended is not None:
            self.on_ended()

    def _signal(self, number: int) -> bool:
        if not self._group:
            return False
        try:
            os.killpg(self._group, number)
        except ProcessLookupError:
            return False
        return True


class FakeSandboxes:
    """Hands out fake sandboxes, or the error it was told to give."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.error: OSError | None = None

    def take(self, taker: Callable[[Place | OSError], None]) -> None:
        given: Place | OSError = self.error or FakeSandbox(self._loop)
        self._loop.call_from_thread(lambda: taker(given))


def watched_processes() -> set[str]:
    """Descriptors of this process that stand for processes."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was the loop's, and is closed
            if "pidfd" in str(entry.readlink()):
                found.add(entry.name)
    return found


class HostAgent:
    """A running server, and a way to talk to it."""

    def __init__(self, address: Path) -> None:
        self._address = str(address)
        self._watched_before = watched_processes()
        self.loop = Loop()
        self.sandboxes = FakeSandboxes(self.loop)
        self.halted = threading.Event()
        self.logged: list[str] = []
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._listener.bind(self._address)
        self._listener.listen(128)
        self._listener.setblocking(False)
        self._null = os.open(os.devnull, os.O_RDWR)
        self._terminals = os.open("/dev", os.O_PATH | os.O_DIRECTORY)
        self._server = Server(
            self.loop,
            self._listener,
            self.sandboxes,
            count_oom_kills=lambda: 0,
            null=self._null,
            terminals=self._terminals,
            on_halt=self._on_halt,
            on_idle=lambda: None,
            on_disconnect=lambda: None,
            listen_relay=self._listen_relay,
            log=self.logged.append,
        )
        self._stop = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def connect(self) -> Conversation:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(self._address)
        return Conversation(client)

    def relay(self, port: int) -> socket.socket:
        """A connection to the relay of a published port."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(30)
        try:
            client.connect(f"{self._address}.{port}")
        except OSError:
            client.close()
            raise
        return client

    def commands(self) -> int:
        """How many the agent counts."""
        with self.connect() as host:
            host.ask(op="ping")
            return int(str(host.answer()[3]["commands"]))

    def close(self) -> None:
        if not self.halted.is_set():
            until(lambda: self.commands() == 0)
        # What it killed last, a look at a service say, it has still to see the end of.
        until(lambda: watched_processes() <= self._watched_before)

        def stop() -> None:
            self._stop = True

        self.loop.call_from_thread(stop)
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._server.close()
        self.loop.close()
        self._listener.close()
        os.close(self._null)
        os.close(self._terminals)

    def _listen_relay(self, port: int) -> _socket.socket:
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._address}.{port}")  # noqa: PTH108
        listener.bind(f"{self._address}.{port}")
        listener.listen(128)
        listener.setblocking(False)
        return listener

    def _run(self) -> None:
        while not self._stop:
            self.loop.run_once()

    def _on_halt(self, channel: Channel) -> None:
        channel.say_last(protocol.REPLY, b"{}", 10)
        self.halted.set()


class Conversation:
    """The host's side of one connection."""

    def __init__(self, client: socket.socket) -> None:
        self.socket = client
        self._decoder = protocol.Decoder(protocol.FROM_GUEST)
        client.settimeout(30)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def greet(self) -> None:
        self.socket.sendall(protocol.preamble())

    def send(self, kind: int, payload: bytes = b"") -> None:
        self.socket.sendall(protocol.frame(kind, payload))

    def ask(self, **request: object) -> None:
        self.greet()
        self.send(protocol.REQUEST, json.dumps(request).encode())

    def execute(self, command: str, **fields: object) -> None:
        self.ask(op="exec", command=command, **fields)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Until the agent closes."""
        with contextlib.suppress(ConnectionResetError):  # what it did not read is thrown away
            while data := self.socket.recv(256 * 1024):
                yield from self._decoder.feed(data)

    def answer(self) -> tuple[bytes, bytes, int, dict[str, object]]:
        """All of stdout and stderr, and the kind and content of the last frame."""
        output = {protocol.STDOUT: bytearray(), protocol.STDERR: bytearray()}
        last: tuple[int, bytes] = (0, b"{}")
        for kind, payload in self.frames():
            assert last[0] == 0, "something came after the last frame"
            if kind in output:
                assert 0 < len(payload) <= protocol.DATA_CHUNK
                output[kind] += payload
            else:
                last = (kind, payload)
        stdout, stderr = map(bytes, output.values())
        return stdout, stderr, last[0], protocol.parse_json(last[1])

    def wait_for(self, text: bytes) -> None:
        """Until that has come on stdout; nothing after it is read."""
        seen = b""
        while text not in seen:
            data = self.socket.recv(4096)
            assert data, f"closed before {text!r} came"
            for kind, payload in self._decoder.feed(data):
                assert kind == protocol.STDOUT
                seen += payload
