"""The command line is the contract's: every word, default and choice; more is allowed."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from pyro_mcp.cli.main import root

COMMANDS = json.loads(Path(__file__).with_name("cli.json").read_text())["commands"]
_TYPES = {"integer": "integer", "string": "text", "flag": "boolean"}


def _find(words: str) -> click.Command:
    command: click.Command = root
    for word in words.split()[1:]:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None, words
        command = found
    return command


def _cases(field: str) -> list[Any]:
    return [
        pytest.param(
            one["command"], part, id=f"{one['command']} {part.get('name') or part['flags'][-1]}"
        )
        for one in COMMANDS
        for part in one.get(field, ())
    ]


@pytest.mark.parametrize("expected", COMMANDS, ids=lambda one: one["command"])
def test_the_command_and_its_subcommands_exist(expected: dict[str, Any]) -> None:
    command = _find(expected["command"])

    if "subcommands" in expected:
        assert isinstance(command, click.Group)
        names = command.list_commands(click.Context(command))
        assert set(expected["subcommands"]) <= set(names)
        assert command.invoke_without_command is not expected["subcommand_required"]


@pytest.mark.parametrize(("command", "expected"), _cases("options"))
def test_the_option_is_there_with_its_default(command: str, expected: dict[str, Any]) -> None:
    options = {
        flag: option
        for option in _find(command).params
        if isinstance(option, click.Option)
        for flag in option.opts
    }

    for flag in expected["flags"]:
        option = options[flag]
        if "choices" in expected:
            assert isinstance(option.type, click.Choice)
            assert list(option.type.choices)[: len(expected["choices"])] == expected["choices"]
        else:
            assert option.type.name == _TYPES[expected["type"]]
        assert option.multiple is expected.get("repeatable", False)
        assert option.is_flag is (expected["type"] == "flag")
        assert option.required is expected["required"]
        if expected["flags"] != ["--version"]:
            default = option.to_info_dict()["default"]
            assert ([] if option.multiple else default) == expected["default"]


@pytest.mark.parametrize(("command", "expected"), _cases("positionals"))
def test_the_argument_is_there(command: str, expected: dict[str, Any]) -> None:
    arguments = {one.name: one for one in _find(command).params if isinstance(one, click.Argument)}

    argument = arguments[expected["name"]]

    assert (argument.nargs == -1) is expected.get("variadic", False)
