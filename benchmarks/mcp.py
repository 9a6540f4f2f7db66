"""The MCP server: its first answer, what a call costs, what it announces, calls side by side."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.ground import SDK_LABEL, Ground
from benchmarks.rounds import NotMeasuredError, Subject, alternate
from benchmarks.table import Row, Table
from pyro_mcp import Pyro

_ENVIRONMENT = "debian:12"
_CORE, _FULL, _BARE = "workspace-core", "workspace-full", "bare server of the SDK"
_AT_ONCE = 20
_SERVE = [sys.executable, "-m", "pyro_mcp", "mcp", "serve", "--profile"]
_BARE_PROGRAM = """
from mcp.server import MCPServer
server = MCPServer("bare")
@server.tool()
def hello(name: str) -> str:
    "Say hello."
    return name
server.run("stdio")
"""


def measure(ground: Ground) -> list[Table]:
    """What an MCP client waits for."""
    ground.images(_ENVIRONMENT)
    return [_first_answer(ground), _announced(), *_calls(ground)]


class _Client:
    """As little of a client as there can be: what is measured is the server."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._number = 0
        self.answer(
            self.ask(
                "initialize",
                {
                    "protocolVersion": "2025-06-18", "capabilities": {},
                    "clientInfo": {"name": "benchmark", "version": "1"},
                },
            )
        )  # fmt: skip
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def ask(self, method: str, params: dict[str, Any]) -> int:
        self._number += 1
        self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        return self._number

    def answer(self, *numbers: int) -> dict[str, Any]:
        """The last of the answers to these requests."""
        assert self._process.stdout is not None
        left = set(numbers)
        message: dict[str, Any] = {}
        while left:
            line = self._process.stdout.readline()
            if not line:
                raise NotMeasuredError("the server ended")
            message = json.loads(line)
            left.discard(message.get("id", 0))
        return message

    def tools(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.answer(self.ask("tools/list", {}))["result"]["tools"]
        return found

    def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        answer = self.answer(self.ask("tools/call", {"name": name, "arguments": arguments}))
        result: dict[str, Any] = answer["result"]
        if result.get("isError"):
            raise NotMeasuredError(str(result["content"])[:300])
        return result


@contextmanager
def _connected(argv: list[str]) -> Iterator[_Client]:
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        yield _Client(process)
        assert process.stdin is not None
        process.stdin.close()


def _first_answer(ground: Ground) -> Table:
    def until_listed(argv: list[str]) -> Callable[[], float]:
        def once() -> float:
            begun = time.perf_counter()
            with _connected(argv) as client:
                client.tools()
                return time.perf_counter() - begun

        return once

    rows = alternate(
        [
            Subject(_BARE, until_listed([sys.executable, "-c", _BARE_PROGRAM])),
            Subject(_CORE, until_listed([*_SERVE, _CORE]), goal="≤ 1.3 times the bare server"),
            Subject(_FULL, until_listed([*_SERVE, _FULL]), goal="≤ 1.3 times the bare server"),
        ],
        rounds=ground.rounds(15, 5),
    )
    reference = "the reference (pyro-mcp 3.x of PyPI)"
    unable = "its wheel lacks a file that it looks for at start, and it wants an older SDK"
    return Table(
        title="From starting the server to its list of tools",
        unit="s",
        rows=[*rows, Row(label=reference, note=unable)],
        references=[_BARE],
    )


def _announced() -> Table:
    rows = []
    for profile, goal in ((_CORE, "≤ 12 KiB"), (_FULL, "≤ 32 KiB")):
        with _connected([*_SERVE, profile]) as client:
            size = len(json.dumps(client.tools(), separators=(",", ":"), ensure_ascii=False))
        rows.append(Row(label=profile, series=(size / 1024,), goal=goal))
    return Table(title="The list of tools, as compact JSON", unit="KiB", rows=rows, digits=2)


def _calls(ground: Ground) -> list[Table]:
    with ExitStack() as owned:
        pyro = Pyro()
        made = pyro.create_workspace(environment=_ENVIRONMENT, mem_mib=512)
        here = {"workspace_id": made["workspace_id"]}
        owned.callback(pyro.delete_workspace, made["workspace_id"])
        client = owned.enter_context(_connected([*_SERVE, _CORE]))
        return [_overhead(ground, pyro, client, here), _at_once(ground, client, here)]


def _overhead(ground: Ground, pyro: Pyro, client: _Client, here: dict[str, str]) -> Table:
    def timed(call: Callable[[], object]) -> Callable[[], float]:
        def once() -> float:
            begun = time.perf_counter()
            call()
            return (time.perf_counter() - begun) * 1000

        return once

    workspace_id = here["workspace_id"]
    exec_sdk, exec_tool = f"{SDK_LABEL}: exec true", "tool: workspace_exec true"
    look_sdk, look_tool = f"{SDK_LABEL}: status", "tool: workspace_status"
    once = {"environment": _ENVIRONMENT, "command": "true", "mem_mib": 512}
    rows = alternate(
        [
            Subject(
                exec_sdk, timed(lambda: pyro.exec_workspace(here["workspace_id"], command="true"))
            ),
            Subject(
                exec_tool,
                timed(lambda: client.call("workspace_exec", {**here, "command": "true"})),
                goal="≤ 5 ms over the SDK",
            ),
            Subject(look_sdk, timed(lambda: pyro.status_workspace(workspace_id))),
            Subject(
                look_tool,
                timed(lambda: client.call("workspace_status", here)),
                goal="≤ 5 ms over the SDK",
            ),
            Subject(
                "tool: vm_run true", timed(lambda: client.call("vm_run", once)), goal="≤ 400 ms"
            ),
        ],
        rounds=ground.rounds(25, 7),
        warm_up=2,
    )
    return Table(title="One call over standard input and output", unit="ms", rows=rows, digits=1)


def _at_once(ground: Ground, client: _Client, here: dict[str, str]) -> Table:
    def together() -> float:
        begun = time.perf_counter()
        asked = [
            client.ask(
                "tools/call",
                {"name": "workspace_exec", "arguments": {**here, "command": "sleep 1"}},
            )
            for _ in range(_AT_ONCE)
        ]
        client.answer(*asked)
        return time.perf_counter() - begun

    rows = alternate(
        [Subject(f"{_AT_ONCE} times sleep 1, at once", together)], rounds=ground.rounds(5, 3)
    )
    return Table(title="Calls side by side", unit="s", rows=rows, digits=2)
