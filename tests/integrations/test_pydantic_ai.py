"""PydanticAI's own agent, with its function model in place of a paid one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from pyro_mcp import Pyro
from pyro_mcp.integrations.pydantic_ai import PyroToolset
from tests.integrations.conftest import Shared
from tests.support import until


def model_that_calls(*turns: list[tuple[str, dict[str, Any]]]) -> FunctionModel:
    said = iter(turns)

    def answer(_messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
        calls = next(said, None)
        if calls is None:
            return ModelResponse(parts=[TextPart("done")])
        return ModelResponse(parts=[ToolCallPart(name, given) for name, given in calls])

    return FunctionModel(answer)


def parts(messages: list[ModelMessage]) -> list[Any]:
    return [
        part
        for message in messages
        if isinstance(message, ModelRequest)
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]


async def test_an_agent_works_in_the_workspace_of_its_toolset(shared: Shared) -> None:
    toolset = PyroToolset(shared.pyro, workspace=shared.workspace_id)
    turn = [
        ("workspace_exec", {"command": "echo one > f"}),
        ("workspace_file_read", {"path": "f"}),
    ]
    async with Agent(model_that_calls(turn), toolsets=[toolset]) as agent:
        result = await agent.run("go")

    assert result.output == "done"
    ran, read = parts(result.all_messages())
    assert ran.content["exit_code"] == 0
    assert read.content["content"] == "one\n"


async def test_mistakes_are_retried_and_failures_are_told(shared: Shared) -> None:
    toolset = PyroToolset(shared.pyro, workspace=shared.workspace_id)
    model = model_that_calls(
        [("workspace_exec", {"comand": "true"})],
        [("workspace_exec", {"command": "true"}), ("workspace_file_read", {"path": "none"})],
    )
    async with Agent(model, toolsets=[toolset]) as agent:
        result = await agent.run("go")

    wrong, right, failed = parts(result.all_messages())
    assert wrong.outcome == "retried"
    assert "Did you mean command?" in str(wrong.content)
    assert right.outcome == "success"
    assert failed.outcome == "failed"
    assert "none" in str(failed.content)


async def test_a_model_that_does_not_learn_ends_the_run(shared: Shared) -> None:
    toolset = PyroToolset(shared.pyro, workspace=shared.workspace_id, max_retries=1)
    wrong = [("workspace_exec", {"comand": "true"})]
    agent = Agent(model_that_calls(wrong, wrong, wrong), toolsets=[toolset])

    with pytest.raises(UnexpectedModelBehavior):
        await agent.run("go")


async def test_the_workspace_lives_as_long_as_the_agent_is_entered(images: object) -> None:
    with Pyro() as pyro:
        toolset = PyroToolset(pyro, workspace={"environment": "debian:12", "mem_mib": 256})
        agent = Agent(
            model_that_calls([("workspace_exec", {"command": "echo one > f"})]), toolsets=[toolset]
        )
        read = model_that_calls([("workspace_file_read", {"path": "f"})])
        async with agent:
            await agent.run("write")
            second = await agent.run("read", model=read)

        assert parts(second.all_messages())[0].content["content"] == "one\n"
        assert pyro.list_workspaces()["workspaces"] == []


async def test_a_cancelled_run_leaves_no_command_behind(shared: Shared) -> None:
    toolset = PyroToolset(shared.pyro, workspace=shared.workspace_id)
    arguments = {"command": "flock held sleep 900", "timeout_seconds": 900}
    agent = Agent(model_that_calls([("workspace_exec", arguments)]), toolsets=[toolset])
    work = asyncio.create_task(agent.run("go"))
    await asyncio.to_thread(until, lambda: shared.locked("held"))

    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    # The guest learns of it from the closed connection.
    until(lambda: not shared.locked("held"))
