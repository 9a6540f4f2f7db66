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
        "secret_list", "secret_delete",
    },
}  # fmt: skip
BYTES = {"workspace-core": 12 * 1024, "workspace-full": 32 * 1024}


def _tool(profile: str, name: str) -> Tool:
    return next(tool for tool in tools_of(profile) if tool.name == name)


def _kinds(schema: dict[str, Any]) -> set[str]:
    """The JSON types a value may have, however the schema says so."""
    if "anyOf" in schema:
        return {kind for one in schema["anyOf"] for kind in _kinds(one)}
    kinds = schema["type"]
    return set(kinds) if isinstance(kinds, list) else {kinds}


def _announced() -> list[Any]:
    return [
        pytest.param(profile, name, id=f"{profile} {name}")
        for profile in PROFILES
        for name in CONTRACT["profiles"][profile]["tools"]
    ]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_the_contracts_tools_and_the_few_extra_ones(profile: str) -> None:
    names = [tool.name for tool in tools_of(profile)]
    promised = CONTRACT["profiles"][profile]

    assert [name for name in names if name in promised["tools"]] == promised["tools"]
    assert set(names) - set(promised["tools"]) == EXTRA[profile]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("profile", "name"), _announced())
def test_the_parameters_are_the_contracts(profile: str, name: str) -> None:
    schemas = CONTRACT["tools"][name]["input_schema"]
    promised = schemas.get("all") or schemas[profile]
    schema = _tool(profile, name).input_schema

    assert set(schema.get("required", ())) == set(promised.get("required", ()))
    assert schema["additionalProperties"] is False
    for parameter, expected in promised["properties"].items():
        ours = schema["properties"][parameter]
        assert _kinds(ours) == _kinds(expected), parameter
        assert ours.get("default") == expected.get("default"), parameter


@pytest.mark.parametrize("name", ["workspace_create", "workspace_exec"])
def test_workspace_core_leaves_out_what_the_contract_says(name: str) -> None:
    left_out = {"network_policy", "secrets", "secret_env"}

    assert left_out.isdisjoint(_tool("workspace-core", name).input_schema["properties"])
    assert not left_out.isdisjoint(_tool("workspace-full", name).input_schema["properties"])


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_arguments_reach_a_parameter_of_the_sdk_with_the_same_default(tool: Tool) -> None:
    method = getattr(Pyro, tool.method, None)
    if method is None:
        pytest.skip(f"Pyro has no {tool.method} yet")
    taken = inspect.signature(method).parameters
    of_the_tool = {"offset", "max_chars", "sequence", "max_matches"}
    readiness = {"ready_file", "ready_tcp", "ready_http", "ready_command"}

    for one in tool.parameters:
        if one.name in of_the_tool | readiness:
            continue
        assert one.name in taken, one.name
        theirs = taken[one.name].default
        if one.required:
            assert theirs is inspect.Parameter.empty, one.name
        elif one.name != "globs":
            assert one.default == theirs, one.name


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


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tool_says_what_it_is_for_and_what_it_answers(tool: Tool) -> None:
    promised = CONTRACT["tools"].get(tool.name)

    assert tool.description.endswith(".")
    assert tool.title
    if promised and "one_of" not in promised["result_keys"]:
        assert set(tool.answer) <= set(promised["result_keys"])
