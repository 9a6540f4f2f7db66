"""Files of workspaces as resources, and the recipes as prompts."""

from __future__ import annotations

import base64
import json
import re

import pytest
from mcp import Client, MCPError
from mcp.types import BlobResourceContents, TextContent, TextResourceContents

from tests.surfaces.mcp.support import ERAS, Address, http_client, running, stdio_client


@pytest.mark.parametrize("era", ERAS)
def test_files_of_a_workspace_can_be_read(
    era: str, address: Address, shared_workspace: str
) -> None:
    here = f"pyro://workspace/{shared_workspace}/"

    async def read() -> None:
        async with http_client(address, era=era) as client:
            await client.call_tool(
                "workspace_exec",
                {
                    "workspace_id": shared_workspace,
                    "command": "mkdir -p d; echo hi > 'd/a b.txt'; printf '\\377' > d/x.bin",
                },
            )
            listed = await client.list_resources()
            assert here in [str(one.uri) for one in listed.resources]
            (template,) = (await client.list_resource_templates()).resource_templates
            assert template.uri_template == "pyro://workspace/{workspace_id}/{+path}"

            top = await _text(client, here)
            assert "d" in [entry["path"].rpartition("/")[2] for entry in top["entries"]]
            inner = await _text(client, f"{here}d")
            uris = [entry["uri"] for entry in inner["entries"]]
            assert uris == [f"{here}d/a%20b.txt", f"{here}d/x.bin"]

            (text,) = (await client.read_resource(uris[0])).contents
            assert isinstance(text, TextResourceContents)
            assert (text.text, text.mime_type) == ("hi\n", "text/plain")
            (blob,) = (await client.read_resource(uris[1])).contents
            assert isinstance(blob, BlobResourceContents)
            assert base64.b64decode(blob.blob) == b"\xff"

            for unknown in (
                f"{here}none", f"{here}../etc/passwd", "pyro://workspace/000000000000/x",
                "pyro://elsewhere/x", "file:///etc/passwd",
            ):  # fmt: skip
                with pytest.raises(MCPError) as refused:
                    await client.read_resource(unknown)
                assert refused.value.error.code == -32602

    running(read)


async def _text(client: Client, uri: str) -> dict[str, list[dict[str, str]]]:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    found: dict[str, list[dict[str, str]]] = json.loads(content.text)
    return found


def test_the_recipes_name_only_tools_that_are_offered() -> None:
    async def recipes(profile: str) -> int:
        async with stdio_client("--profile", profile) as client:
            offered = {tool.name for tool in (await client.list_tools()).tools}
            prompts = (await client.list_prompts()).prompts
            for prompt in prompts:
                assert prompt.description
                got = await client.get_prompt(prompt.name, {"source": "/srv/project"})
                (message,) = got.messages
                assert isinstance(message.content, TextContent)
                text = message.content.text
                named = set(re.findall(r"\b(?:workspace|vm|shell|service|snapshot)_[a-z_]+", text))
                assert named - {"workspace_id"} <= offered
                assert "/srv/project" in text
                assert "{" not in text
            with pytest.raises(MCPError, match="There are: "):
                await client.get_prompt("no-such")
            return len(prompts)

    assert running(recipes, "workspace-core") == 3
    assert running(recipes, "workspace-full") == 5


def test_one_shot_servers_have_neither() -> None:
    async def nothing() -> None:
        async with stdio_client("--profile", "vm-run") as client:
            assert client.server_capabilities.resources is None
            assert client.server_capabilities.prompts is None

    running(nothing)


@pytest.mark.usefixtures("shared_state")
def test_a_confined_server_shows_its_workspace_alone(shared_workspace: str) -> None:
    async def confined() -> None:
        async with stdio_client("--workspace", shared_workspace) as client:
            ran = await client.call_tool("workspace_exec", {"command": "echo here"})
            assert ran.structured_content["stdout"] == "here\n"
            (one,) = (await client.list_resources()).resources
            assert shared_workspace in str(one.uri)
            with pytest.raises(MCPError, match="alone"):
                await client.read_resource("pyro://workspace/000000000000/x")

    running(confined)
