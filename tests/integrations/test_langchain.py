"""LangChain: its own standard tests of tools, and its own agent with its own fake model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from pyro_mcp import Pyro
from pyro_mcp.errors import UnknownToolError
from pyro_mcp.integrations.langchain import PyroTool, PyroToolkit, Session
from tests.integrations.conftest import Shared
from tests.support import until


class FakeModel(GenericFakeChatModel):
    """Says what it was given, one message for each request."""

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Runnable[Any, Any]:
        return self


def agent_that_calls(tools: Sequence[BaseTool], *calls: tuple[str, dict[str, Any]]) -> Any:
    asked = [
        {"name": name, "args": arguments, "id": str(number)}
        for number, (name, arguments) in enumerate(calls)
    ]
    said = iter([AIMessage("", tool_calls=asked), AIMessage("done")])
    return create_agent(FakeModel(messages=said), list(tools))


def results(state: dict[str, Any]) -> list[ToolMessage]:
    return [message for message in state["messages"] if isinstance(message, ToolMessage)]


GO: dict[str, Any] = {"messages": [("user", "go")]}


class TestStandardUnit(ToolsUnitTests):
    @property
    def tool_constructor(self) -> type[BaseTool]:
        return PyroTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"session": Session(), "name": "workspace_exec"}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"workspace_id": "0123456789ab", "command": "true"}


class TestStandardIntegration(ToolsIntegrationTests):
    _session: Session

    @pytest.fixture(autouse=True)
    def _in_the_shared_workspace(self, shared: Shared) -> Iterator[None]:
        with Session(shared.pyro, workspace=shared.workspace_id) as self._session:
            yield

    @property
    def tool_constructor(self) -> type[BaseTool]:
        return PyroTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"session": self._session, "name": "workspace_exec"}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"command": "echo standard"}


def test_an_agent_works_in_the_workspace_of_its_toolkit(shared: Shared) -> None:
    with PyroToolkit(shared.pyro, workspace=shared.workspace_id) as toolkit:
        agent = agent_that_calls(
            toolkit.get_tools(),
            ("workspace_file_write", {"path": "f", "text": "one\n"}),
            ("workspace_exec", {"command": "cat f; exit 3"}),
            ("workspace_file_read", {"path": "none"}),
            ("workspace_exec", {"comand": "x"}),
        )
        written, ran, missing, wrong = results(agent.invoke(GO))

    assert (written.status, ran.status) == ("success", "success")
    assert ran.artifact["exit_code"] == 3
    assert json.loads(str(ran.content)) == ran.artifact
    assert (missing.status, wrong.status) == ("error", "error")
    assert "none" in str(missing.content)
    assert "Did you mean command?" in str(wrong.content)


async def test_calls_of_one_turn_keep_their_order(shared: Shared) -> None:
    """The framework starts them all at once."""
    async with PyroToolkit(shared.pyro, workspace=shared.workspace_id) as toolkit:
        agent = agent_that_calls(
            toolkit.get_tools(),
            ("workspace_exec", {"command": "sleep 1; echo one >> f"}),
            ("workspace_file_read", {"path": "f"}),
            ("workspace_exec", {"command": "echo two >> f"}),
        )
        _, read, _ = results(await agent.ainvoke(GO))

    assert read.artifact["content"] == "one\n"
    assert shared.sh("cat f") == "one\ntwo\n"


async def test_a_cancelled_agent_leaves_no_command_behind(shared: Shared) -> None:
    async with PyroToolkit(shared.pyro, workspace=shared.workspace_id) as toolkit:
        arguments = {"command": "flock held sleep 900", "timeout_seconds": 900}
        agent = agent_that_calls(toolkit.get_tools(), ("workspace_exec", arguments))
        work = asyncio.create_task(agent.ainvoke(GO))
        await asyncio.to_thread(until, lambda: shared.locked("held"))
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    # The guest learns of it from the closed connection.
    until(lambda: not shared.locked("held"))


@pytest.mark.parametrize("keep", [False, True])
def test_the_toolkit_owns_the_workspace_it_makes(keep: bool, images: object) -> None:
    with Pyro() as pyro:
        new = {"environment": "debian:12", "mem_mib": 256}
        with PyroToolkit(pyro, workspace=new, keep_workspaces=keep) as toolkit:
            (made,) = pyro.list_workspaces()["workspaces"]
            assert made["workspace_id"] == toolkit.session.workspace_id

        left = [one["workspace_id"] for one in pyro.list_workspaces()["workspaces"]]
        assert left == ([made["workspace_id"]] if keep else [])
        for workspace_id in left:
            pyro.delete_workspace(workspace_id)


def test_a_tool_that_the_profile_lacks_is_refused() -> None:
    with pytest.raises(UnknownToolError, match="workspace_exec"):
        PyroTool(Session(profile="vm-run"), "workspace_exec")
