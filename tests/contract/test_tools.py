"""The tools are the contract's: names, profiles, parameters, types, defaults; few are added."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp import Pyro
from pyro_mcp.tools import PROFILES, TOOLS, Tool, tools_of

CONTRACT = json.loads(Path(__file__).with_name("mcp.json").read_text())
EXTRA = {
    "vm-run": set(),
    "workspace-core": {"workspace_file_search", "workspace_fork"},
    "workspace-full": {
        "workspace_file_search", "workspace_fork", "shell_list", "shell_resize", "secret_set",
        "secret_list", "secret_delete", "network_log",
    },
}  # fmt: skip
BYTES = {"workspace-core": 12 * 1024, "workspace-full": 32 * 1024}


def _tool(profile: str, name: str) -> Tool:
    return next(tool for tool in tools_of(profile) if tool.name == name)


def _kinds(schema: dict[str, Any]) -> set[str]:
    """The JSON types a value may have."""
    return {one["type"] for one in schema.get("anyOf", [schema])}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_the_contracts_tools_and_the_few_extra_ones(profile: str) -> None:
    names = [tool.name for tool in tools_of(profile)]
    promised = CONTRACT["profiles"][profile]

    assert [name for name in names if name in promised["tools"]] == promised["tools"]
    assert set(names) - set(promised["tools"]) == EXTRA[profile]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("profile", PROFILES)
def test_the_parameters_are_the_contracts(profile: str) -> None:
    for name in CONTRACT["profiles"][profile]["tools"]:
        schemas = CONTRACT["tools"][name]["input_schema"]
        promised = schemas.get("all") or schemas[profile]
        tool = _tool(profile, name)
        schema = tool.input_schema
        nullable = {one.name for one in tool.parameters if one.default is None}

        assert set(schema.get("required", ())) == set(promised.get("required", ())), name
        assert schema["additionalProperties"] is False
        for parameter, expected in promised["properties"].items():
            ours = schema["properties"][parameter]
            kinds = _kinds(ours) | ({"null"} if parameter in nullable else set())
            assert kinds == _kinds(expected), (name, parameter)
            assert ours.get("default") == expected.get("default"), (name, parameter)


@pytest.mark.parametrize("name", ["workspace_create", "workspace_exec"])
def test_workspace_core_leaves_out_what_the_contract_says(name: str) -> None:
    left_out = {"network_policy", "secrets", "secret_env"}

    assert left_out.isdisjoint(_tool("workspace-core", name).input_schema["properties"])
    assert not left_out.isdisjoint(_tool("workspace-full", name).input_schema["properties"])


_OF_THE_TOOL = {
    "offset", "max_chars", "sequence", "max_matches", "globs", "network_allow", "limit",
    "ready_file", "ready_tcp", "ready_http", "ready_command",
}  # fmt: skip
"""Parameters that a tool has instead of those of the method behind it, or beside them."""


def test_arguments_reach_a_parameter_of_the_sdk_with_the_same_default() -> None:
    for tool in TOOLS:
        taken = inspect.signature(getattr(Pyro, tool.method)).parameters
        for one in tool.parameters:
            if one.name in _OF_THE_TOOL:
                continue
            assert one.name in taken, (tool.name, one.name)
            default = inspect.Parameter.empty if one.required else one.default
            assert taken[one.name].default == default, (tool.name, one.name)


@pytest.mark.parametrize(("profile", "limit"), BYTES.items())
def test_what_is_announced_leaves_room_in_a_models_context(profile: str, limit: int) -> None:
    announced = [
        {
            "name": tool.name, "title": tool.title, "description": tool.description,
            "inputSchema": tool.input_schema, "outputSchema": tool.output_schema,
            "annotations": tool.hints.announced(),
        }
        for tool in tools_of(profile)
    ]  # fmt: skip

    assert len(json.dumps(announced, separators=(",", ":"))) <= limit


def test_tools_say_what_they_are_for_and_what_they_answer() -> None:
    for tool in TOOLS:
        assert tool.description.endswith("."), tool.name
        assert tool.title, tool.name
        promised = CONTRACT["tools"].get(tool.name, {}).get("result_keys", {})
        if promised and "one_of" not in promised:
            assert set(tool.answer) <= set(promised), tool.name
