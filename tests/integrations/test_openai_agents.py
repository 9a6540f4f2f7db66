"""The Agents SDK's own runner, with its scripted model in place of a paid one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from agents import Agent, ApplyPatchOperation, Runner, Tool, set_tracing_disabled
from agents.items import ToolCallOutputItem
from agents.testing import ScriptedModel, assistant_message, function_call
from openai import AsyncOpenAI

from pyro_mcp.errors import InvalidInputError
from pyro_mcp.integrations.openai_agents import (
    Session,
    WorkspaceEditor,
    apply_patch_tool,
    function_tools,
    shell_tool,
)
from tests.integrations.conftest import Shared
from tests.support import until
from tests.support.fake_responses import edit, fake_responses, say, shell


@pytest.fixture(autouse=True)
def _no_tracing() -> Iterator[None]:
    set_tracing_disabled(True)
    yield
    set_tracing_disabled(False)


@pytest.fixture
def session(shared: Shared) -> Iterator[Session]:
    """A session in the shared workspace."""
    with Session(shared.pyro, workspace=shared.workspace_id) as session:
        yield session


def outputs(result: Any) -> list[str]:
    return [str(item.output) for item in result.new_items if isinstance(item, ToolCallOutputItem)]


async def test_an_agent_works_and_is_told_what_goes_wrong(session: Session) -> None:
    optional = {"timeout_seconds": None}
    model = ScriptedModel(
        [
            [
                function_call(
                    "workspace_exec", {"command": "echo one > f", **optional}, call_id="1"
                ),
                function_call("workspace_exec", {"command": "cat f", **optional}, call_id="2"),
                function_call("workspace_file_read", {"path": "none"}, call_id="3"),
                function_call("workspace_exec", {"comand": "x"}, call_id="4"),
            ],
            [assistant_message("done")],
        ]
    )
    agent = Agent(name="a", model=model, tools=[*function_tools(session)])

    result = await Runner.run(agent, "go")

    assert result.final_output == "done"
    _, ran, missing, wrong = outputs(result)
    assert json.loads(ran)["stdout"] == "one\n"
    assert missing.startswith("[workspace_file]")
    assert "none" in missing
    assert "Did you mean command?" in wrong
    model.assert_complete()


async def test_a_cancelled_run_leaves_no_command_behind(session: Session, shared: Shared) -> None:
    arguments = {"command": "flock held sleep 900", "timeout_seconds": 900}
    model = ScriptedModel([[function_call("workspace_exec", arguments, call_id="1")]])
    agent = Agent(name="a", model=model, tools=[*function_tools(session)])
    work = asyncio.create_task(Runner.run(agent, "go"))
    await asyncio.to_thread(until, lambda: shared.locked("held"))

    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    # The guest learns of it from the closed connection.
    until(lambda: not shared.locked("held"))


async def test_shell_and_apply_patch_work_in_the_workspace(
    session: Session, shared: Shared
) -> None:
    """Through the real client: the SDK itself turns these items into calls, and answers."""
    from agents import OpenAIResponsesModel

    said = [
        shell(["echo out; exit 3", "exec sleep 984"], "s", timeout_ms=900, max_output_length=99),
        edit("create_file", "f", "+a\n+b", "c"),
        edit("update_file", "f", " a\n-b\n+B", "u"),
        edit("update_file", "f", "-nothing\n+x", "f"),
    ]
    with fake_responses([said, [say("done")]]) as fake:
        async with AsyncOpenAI(base_url=fake.url, api_key="x", max_retries=0) as client:
            model = OpenAIResponsesModel(model="gpt-5.2", openai_client=client)
            tools: list[Tool] = [shell_tool(session), apply_patch_tool(session)]
            result = await Runner.run(Agent(name="a", model=model, tools=tools), "go")

        assert result.final_output == "done"
        answers = {item["call_id"]: item for item in fake.answers()}
    first, second = answers["s"]["output"]
    assert (first["stdout"], first["outcome"]) == ("out\n", {"type": "exit", "exit_code": 3})
    assert second["outcome"]["type"] == "timeout"
    assert [answers[name]["status"] for name in "cuf"] == ["completed", "completed", "failed"]
    assert "hunk 1 are not in the file" in answers["f"]["output"]
    assert shared.sh("cat f") == "a\nB\n"


async def test_an_editor_moves_what_it_changes(session: Session, shared: Shared) -> None:
    shared.sh("echo a > f; echo b > taken")
    editor = WorkspaceEditor(session)

    def change(to: str) -> ApplyPatchOperation:
        return ApplyPatchOperation(type="update_file", path="f", diff="-a\n+A", move_to=to)

    refused = await editor.update_file(change("taken"))
    moved = await editor.update_file(change("g"))

    assert (refused.status, moved.status) == ("failed", "completed")
    assert shared.sh("cat taken g; ls") == "b\nA\ng\ntaken\n"


def test_approval_is_asked_for_what_may_lose_something() -> None:
    tools = function_tools(Session(), needs_approval=True)
    asked = {tool.name for tool in tools if tool.needs_approval}

    assert {"workspace_exec", "workspace_delete"} <= asked
    assert "workspace_file_read" not in asked


def test_the_api_s_own_tools_need_a_workspace() -> None:
    for make in (shell_tool, apply_patch_tool):
        with pytest.raises(InvalidInputError, match="one workspace"):
            make(Session())
