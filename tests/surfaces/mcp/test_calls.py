"""Calls run side by side, tell how they go, and are ended when nobody waits for them."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from mcp import Client

from pyro_mcp import Pyro
from tests.surfaces.mcp.support import (
    ERAS,
    Address,
    RawClient,
    http_client,
    raw_client,
    running,
    stdio_client,
)

_STUBBORN = (
    "trap '' TERM HUP; exec 9>/var/tmp/held; flock 9; setsid sleep 4321 & echo started; sleep 4321"
)
_GONE = "test -e /var/tmp/held && flock 9 9</var/tmp/held"
"""Commands do not see each other's processes; a lock is held until the last of them has ended."""
_CORE = ("--profile", "workspace-core")


@asynccontextmanager
async def _connected(transport: str, era: str, address: Address) -> AsyncIterator[Client]:
    if transport == "http":
        async with http_client(address, era=era) as client:
            yield client
    else:
        async with stdio_client(*_CORE, era=era) as client:
            yield client


pytestmark = pytest.mark.usefixtures("shared_state")


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_a_cancelled_call_ends_its_command_and_shows_what_it_printed_before(
    transport: str, era: str, address: Address, shared_workspace: str
) -> None:
    """The output comes as progress: without it the test would wait for ever."""

    async def cancelled() -> None:
        async with _connected(transport, era, address) as client:
            with anyio.CancelScope() as scope:

                async def heard(progress: float, total: float | None, message: str | None) -> None:
                    if message and "started" in message:
                        scope.cancel()

                await client.call_tool(
                    "workspace_exec",
                    {
                        "workspace_id": shared_workspace, "command": _STUBBORN,
                        "timeout_seconds": 600,
                    },
                    progress_callback=heard,
                )  # fmt: skip
            assert scope.cancelled_caught
            result = await client.call_tool(
                "workspace_exec", {"workspace_id": shared_workspace, "command": _GONE}
            )
            assert result.structured_content["exit_code"] == 0

    running(cancelled)


@pytest.mark.parametrize("era", ERAS)
def test_twenty_commands_run_at_once(era: str, shared_workspace: str) -> None:
    """Each waits for all the others, so that they end only if none waits for its turn."""
    command = (
        "mkdir -p /tmp/all; touch /tmp/all/{}; "
        "while [ $(ls /tmp/all | wc -l) -lt 20 ]; do sleep 0.1; done"
    )

    async def twenty() -> list[int]:
        codes: list[int] = []
        async with stdio_client(*_CORE, era=era) as client:

            async def one(number: int) -> None:
                result = await client.call_tool(
                    "workspace_exec",
                    {
                        "workspace_id": shared_workspace, "command": command.format(number),
                        "timeout_seconds": 120,
                    },
                )  # fmt: skip
                codes.append(result.structured_content["exit_code"])

            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(one, number)
            await client.call_tool(
                "workspace_exec",
                {"workspace_id": shared_workspace, "command": "rm -r /tmp/all"},
            )
        return codes

    assert running(twenty) == [0] * 20


def test_a_long_call_holds_up_no_other(shared_workspace: str) -> None:
    with raw_client(*_CORE) as client:
        long = _start_stubborn(client, shared_workspace)

        other = client.ask(
            "tools/call",
            {
                "name": "workspace_exec",
                "arguments": {"workspace_id": shared_workspace, "command": "echo other"},
            },
        )
        listed = client.ask("tools/list")

        # Between them, how the long one goes on is told.
        answers = (message["id"] for message in iter(client.receive, None) if "id" in message)
        assert {next(answers), next(answers)} == {other, listed}
        client.send(
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": long}}
        )
        assert (
            client.call("workspace_exec", {"workspace_id": shared_workspace, "command": _GONE})[
                "structuredContent"
            ]["exit_code"]
            == 0
        )


@pytest.mark.parametrize("how", ["closes", "terminates", "kills"])
def test_when_the_client_goes_its_command_ends_and_the_workspace_stays(
    how: str, shared_workspace: str
) -> None:
    with raw_client() as client:
        _start_stubborn(client, shared_workspace)
        process = client.process
        if how == "closes":
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(timeout=60) == 0
        else:
            sent = signal.SIGTERM if how == "terminates" else signal.SIGKILL
            process.send_signal(sent)
            assert process.wait(timeout=60) in (128 + sent, -sent)

    with Pyro() as pyro:
        assert pyro.exec_workspace(shared_workspace, command=_GONE)["exit_code"] == 0


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL, None])
def test_when_the_server_goes_its_one_shot_machines_go(sent: signal.Signals | None) -> None:
    """Whatever ends it: what is left would be found after the test."""
    with raw_client("--profile", "vm-run") as client:
        asked = {"environment": "debian:12", "command": _STUBBORN, "mem_mib": 256}
        _ask_and_hear(client, "vm_run", {**asked, "timeout_seconds": 600})
        if sent is None:
            assert client.process.stdin is not None
            client.process.stdin.close()
        else:
            client.process.send_signal(sent)
        client.process.wait(timeout=60)


def test_a_server_whose_client_reads_nothing_can_be_ended() -> None:
    """Its answers fill the pipe; a signal ends it all the same."""
    with raw_client() as client:
        for _ in range(8):  # 30 KB each, and a pipe holds 64
            client.ask("tools/list")
        client.process.send_signal(signal.SIGTERM)

        assert client.process.wait(timeout=60) == 128 + signal.SIGTERM


def _start_stubborn(client: RawClient, workspace_id: str) -> int:
    arguments = {"workspace_id": workspace_id, "command": _STUBBORN, "timeout_seconds": 600}
    return _ask_and_hear(client, "workspace_exec", arguments)


def _ask_and_hear(client: RawClient, name: str, arguments: dict[str, object]) -> int:
    """Call a tool and wait until its command has printed that it runs."""
    asked = client.ask(
        "tools/call",
        {"name": name, "arguments": arguments, "_meta": {"progressToken": "p"}},
    )
    while "started" not in client.receive()["params"].get("message", ""):
        pass
    return asked
