"""The gateway's unix socket: one line of JSON asks, one line answers.

{"op": "mark"}                      {"mark": N}
{"op": "since", "mark": N}          {"attempts": [{…, "times": n}, …]}
{"op": "policy", "policy": {…}}     {}
anything else                       {"error": "…"}
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any

from pyro_mcp.errors import InvalidInputError
from pyro_mcp.network import policy
from pyro_mcp.network.loop import READ, Loop

if TYPE_CHECKING:
    from pyro_mcp.network.judge import Judge
    from pyro_mcp.network.record import Record

SOCKET_NAME = "network.sock"
_LONGEST_LINE = 1 << 20
_MOST_CLIENTS = 64


class Control:
    """Serves the socket; who can open it is said by the machine's directory."""

    def __init__(self, loop: Loop, listener: socket.socket, judge: Judge, record: Record) -> None:
        self._loop = loop
        self._listener = listener
        self._judge = judge
        self._record = record
        self._clients: dict[socket.socket, bytes] = {}
        listener.setblocking(False)
        loop.watch(listener, READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        if len(self._clients) >= _MOST_CLIENTS:
            client.close()
            return
        client.setblocking(False)
        self._clients[client] = b""
        self._loop.watch(client, READ, lambda _events: self._read(client))

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        line = self._clients[client] + data
        self._clients[client] = line
        if not data or len(line) > _LONGEST_LINE:
            self._drop(client)
        elif line.endswith(b"\n"):
            self._loop.forget(client)
            answer = json.dumps(self._answer(line)).encode() + b"\n"
            # Who asks reads; what does not fit its buffer waits for it, and for nobody else.
            client.settimeout(1.0)
            with contextlib.suppress(OSError):
                client.sendall(answer)
            self._drop(client)

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(line)
            operation = asked["op"]
            if operation == "mark":
                return {"mark": self._record.mark()}
            if operation == "since":
                return self._since(int(asked["mark"]))
            if operation == "policy":
                self._judge.change(policy.parse(**asked["policy"]))
                return {}
        except (ValueError, KeyError, TypeError, InvalidInputError) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return {"error": f"no operation is named {operation!r}"}

    def _since(self, mark: int) -> dict[str, Any]:
        found = self._record.since(mark)
        attempts = [{**attempt._asdict(), "times": times} for attempt, times in found]
        return {"attempts": attempts}

    def _drop(self, client: socket.socket) -> None:
        self._clients.pop(client, None)
        self._loop.forget(client)
        client.close()


def listen(name: str = SOCKET_NAME) -> socket.socket:
    """The socket, in the working directory."""
    if os.path.lexists(name):
        os.unlink(name)  # noqa: PTH108 - left by an earlier gateway of this machine
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(name)
    listener.listen(64)
    return listener
