"""What a model sends is checked before anything happens, and told what is wrong with it."""

from typing import Any

import pytest

from pyro_mcp.errors import InvalidInputError
from pyro_mcp.tools.parameters import checked, flag, input_schema, integer, mapping, text, texts

PARAMETERS = (
    text("command", "For the shell"),
    integer("count", "1-8", 1),
    flag("quiet"),
    text("colour", "", "red", one_of=("red", "green")),
    text("name", "", None),
    mapping("labels"),
    texts("globs"),
)


def test_what_is_left_out_has_its_default() -> None:
    assert checked(PARAMETERS, {"command": "ls"}) == {
        "command": "ls", "count": 1, "quiet": False, "colour": "red", "name": None,
        "labels": None, "globs": None,
    }  # fmt: skip


def test_what_is_given_arrives() -> None:
    given = {
        "command": "", "count": 3, "quiet": True, "colour": "green", "name": "n",
        "labels": {"a": "b"}, "globs": ["*.py"],
    }  # fmt: skip

    assert checked(PARAMETERS, given) == given


def test_null_is_left_out_where_it_may_be() -> None:
    assert checked(PARAMETERS, {"command": "ls", "labels": None})["labels"] is None


def test_a_whole_number_may_be_written_with_a_point() -> None:
    """JSON has one kind of number; some clients send 3.0."""
    count = checked(PARAMETERS, {"command": "ls", "count": 3.0})["count"]

    assert count == 3
    assert isinstance(count, int)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "command is missing"),
        ({"command": 1}, "command is 1, not string"),
        ({"command": None}, "command is null, not string"),
        ({"command": "ls", "count": "3"}, "count is a string, not integer"),
        ({"command": "ls", "count": 3.5}, "count is 3.5, not integer"),
        ({"command": "ls", "count": True}, "count is true, not integer"),
        ({"command": "ls", "count": float("nan")}, "count is nan, not integer"),
        ({"command": "ls", "quiet": 1}, "quiet is 1, not boolean"),
        ({"command": "ls", "quiet": "yes"}, "quiet is a string, not boolean"),
        ({"command": "ls", "colour": "blue"}, "Choose one of: red, green"),
        ({"command": "ls", "labels": []}, "labels is an array, not object or null"),
        ({"command": "ls", "labels": {"a": 1}}, r"labels\.a is 1, not string"),
        ({"command": "ls", "globs": ["a", {}]}, r"globs\[1\] is an object, not string"),
        ({"command": "ls", "comand": "x"}, "comand is not taken by this tool. Did you mean comman"),
        ({"command": "ls", "zzz": "x"}, "It takes: command, count"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        checked(PARAMETERS, given)


def test_a_refusal_does_not_repeat_what_may_be_a_secret() -> None:
    with pytest.raises(InvalidInputError) as refused:
        checked(PARAMETERS, {"command": "ls", "labels": "hunter2"})

    assert "hunter2" not in str(refused.value)


def test_the_schema_takes_nothing_else() -> None:
    schema = input_schema(PARAMETERS)

    assert schema["additionalProperties"] is False
    assert schema["required"] == ["command"]
    assert schema["properties"]["count"] == {
        "type": "integer", "description": "1-8", "default": 1,
    }  # fmt: skip
    assert schema["properties"]["name"] == {"type": "string"}
