"""`pyro mcp serve` as a process, and clients of it: the SDK's own, and one that may misbehave."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

T = TypeVar("T")

SERVE = [sys.executable, "-m", "pyro_mcp", "mcp", "serve"]
ERAS = ("auto", "legacy")
"""Of the client: `auto` speaks 2026-07-28 with us, `legacy` begins with a handshake."""


def running(ask: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """Run a test's coroutine."""
    return anyio.run(partial(ask, *arguments))


@asynccontextmanager
async def stdio_client(*words: str, era: str = "auto") -> AsyncIterator[Client]:
    """The SDK's client of a server of its own."""
    command = StdioServerParameters(
        command=SERVE[0], args=[*SERVE[1:], *words], env=dict(os.environ)
    )
    async with Client(command, mode=era) as client:
        yield client


@dataclass(frozen=True)
class Address:
    """Where a server listens, and what lets a client in."""

    url: str
    token: str
    pid: int

    @property
    def headers(self) -> dict[str, str]:
        """Those of a client that may come in."""
        return {"Authorization": f"Bearer {self.token}"}


@contextmanager
def http_server(*words: str) -> Iterator[Address]:
    """A server on a free port of the loopback."""
    with subprocess.Popen(
        [*SERVE, "--transport", "http", "--port", "0", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            url = re.search(r"http://\S+", process.stderr.readline())
            token = process.stderr.readline().removeprefix("Bearer token: ").strip()
            assert url, process.stderr.read()
            yield Address(url[0], token, process.pid)
            process.terminate()
            assert process.wait(timeout=30) == 128 + 15
            assert process.stdout is not None
            assert process.stdout.read() == ""
        finally:
            process.kill()


@asynccontextmanager
async def http_client(address: Address, *, era: str = "auto") -> AsyncIterator[Client]:
    """The SDK's client of a server that runs."""
    async with httpx2.AsyncClient(headers=address.headers, timeout=60) as connection:
        transport = streamable_http_client(address.url, http_client=connection)
        async with Client(transport, mode=era) as client:
            yield client


class RawClient:
    """Writes what it likes, and reads lines; begins with a handshake unless told otherwise."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._last = 0

    def send(self, message: dict[str, Any] | bytes) -> None:
        """One message, or bytes as they are."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def ask(self, method: str, params: dict[str, Any] | None = None) -> int:
        """Send a request; gives its id."""
        self._last += 1
        self.send({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params or {}})
        return self._last

    def receive(self) -> dict[str, Any]:
        """The next message. Everything on standard output has to be one."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server ended"
        message: dict[str, Any] = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        return message

    def answer(self, number: int) -> dict[str, Any]:
        """The answer to that request; others that come first are dropped."""
        while (message := self.receive()).get("id") != number:
            pass
        return message

    def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The result of a tool call."""
        asked = self.ask("tools/call", {"name": name, "arguments": arguments})
        result: dict[str, Any] = self.answer(asked)["result"]
        return result

    def shake_hands(self) -> None:
        """As the protocol begins."""
        asked = self.ask(
            "initialize",
            {
                "protocolVersion": "2025-06-18", "capabilities": {},
                "clientInfo": {"name": "raw", "version": "1"},
            },
        )  # fmt: skip
        assert self.answer(asked)["result"]["serverInfo"]["name"] == "pyro_mcp"
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})


@contextmanager
def raw_client(
    *words: str, shake_hands: bool = True, log: Path | None = None
) -> Iterator[RawClient]:
    """A client that may do everything wrong."""
    with (
        (log or Path(os.devnull)).open("ab") as errors,
        subprocess.Popen(
            [*SERVE, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        try:
            client = RawClient(process)
            if shake_hands:
                client.shake_hands()
            yield client
        finally:
            process.kill()
