"""The SDK's own client drives every tool of every profile against real guests."""

from __future__ import annotations

from pathlib import Path

import pytest
from mcp import Client

from tests.surfaces.mcp.drive import walk_through
from tests.surfaces.mcp.support import http_client, http_server, running, stdio_client

_BY_STDIO = [("vm-run", "legacy"), ("workspace-core", "legacy"), ("workspace-full", "auto")]
_BY_HTTP = [("workspace-core", "auto"), ("workspace-full", "legacy")]


async def _drive(client: Client, scratch: Path) -> None:
    offered = {tool.name for tool in (await client.list_tools()).tools}

    called = await walk_through(client.call_tool, offered, scratch)

    assert called == offered


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(("profile", "era"), _BY_STDIO)
def test_every_tool_works_over_stdio(profile: str, era: str, tmp_path: Path) -> None:
    async def drive() -> None:
        async with stdio_client("--profile", profile, era=era) as client:
            await _drive(client, tmp_path)

    running(drive)


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(("profile", "era"), _BY_HTTP)
def test_every_tool_works_over_http(profile: str, era: str, tmp_path: Path) -> None:
    async def drive() -> None:
        async with http_client(address, era=era) as client:
            await _drive(client, tmp_path)

    with http_server("--profile", profile) as address:
        running(drive)
