"""Plain functions: what a framework reads from them, and what they do."""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from agents import function_tool
from langchain_core.tools import StructuredTool
from pydantic_ai import Tool

from pyro_mcp.errors.integrations import ToolCallError
from pyro_mcp.integrations.callables import Session, async_functions, functions
from tests.integrations.conftest import Shared


@pytest.fixture
def session(shared: Shared) -> Iterator[Session]:
    """A session in the shared workspace."""
    with Session(shared.pyro, workspace=shared.workspace_id) as session:
        yield session


def by_name(found: list[Any]) -> dict[str, Any]:
    return {function.__name__: function for function in found}


def test_functions_carry_out_their_tools(session: Session) -> None:
    tools = by_name(functions(session))

    tools["workspace_file_write"]("f", text="one\n")

    assert tools["workspace_exec"]("cat f")["stdout"] == "one\n"
    assert tools["workspace_file_read"](path="f", offset=1)["content"] == "ne\n"


async def test_coroutine_functions_do_the_same(session: Session) -> None:
    tools = by_name(async_functions(session))

    ran = await asyncio.gather(*(tools["workspace_exec"](f"echo {n} >> f") for n in range(3)))

    assert [one["exit_code"] for one in ran] == [0, 0, 0]
    assert (await tools["workspace_file_read"]("f"))["content"] == "0\n1\n2\n"


def test_errors_are_raised_with_what_to_do(session: Session) -> None:
    tools = by_name(functions(session))

    with pytest.raises(ToolCallError, match="none") as failed:
        tools["workspace_file_read"]("none")
    with pytest.raises(ToolCallError, match="is 3, not string"):
        tools["workspace_exec"](3)
    with pytest.raises(TypeError, match="comand"):
        tools["workspace_exec"]("ls", comand="ls")

    assert failed.value.code == "workspace_file"


def test_signatures_are_those_of_the_table() -> None:
    tools = by_name(functions(Session(profile="workspace-full")))

    create = inspect.signature(tools["workspace_create"])
    hints = typing.get_type_hints(tools["workspace_create"])

    assert next(iter(create.parameters)) == "environment"
    assert create.parameters["environment"].default is inspect.Parameter.empty
    assert create.parameters["mem_mib"].default == 1024
    assert hints["mem_mib"] is int
    assert hints["labels"] == dict[str, str] | None
    assert hints["secrets"] == list[dict[str, str]] | None
    assert hints["return"] == dict[str, Any]
    assert hints.keys() == {*create.parameters, "return"}


def test_docstrings_say_what_the_table_says() -> None:
    said = inspect.getdoc(by_name(functions(Session()))["workspace_exec"])

    assert said is not None
    assert said.startswith("Run a shell command in a workspace")
    assert "    command: For /bin/sh -lc, as root in /workspace.\n" in said
    assert "Returns:\n    An object with exit_code, stdout, stderr" in said


def test_frameworks_make_their_tools_of_them() -> None:
    """Each by its own reading of signature, type hints and docstring."""
    for function in functions(Session(profile="workspace-full")):
        parameters = set(inspect.signature(function).parameters)
        chained = StructuredTool.from_function(function, parse_docstring=True)
        pydantic = Tool(function, docstring_format="google").function_schema.json_schema
        agents = function_tool(function, strict_mode=False)

        assert set(chained.args) == parameters
        assert set(pydantic["properties"]) == parameters
        assert set(agents.params_json_schema["properties"]) == parameters
        assert agents.description.splitlines()[0]
