"""One member of a JSON text changes, and no other byte of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.chat_hosts import json_edit
from pyro_mcp.chat_hosts.jsonc import MalformedError, parse

OURS = ("servers", "pyro")
ENTRY = {"command": "/opt/pyro", "args": ["mcp", "serve"], "env": {"A": "1"}}

_names = st.text(max_size=6) | st.sampled_from(["servers", "pyro", "a"])
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=12,
)
_between = st.sampled_from(
    ["", " ", "\n", "\t", "\r\n  ", " // a } comment, with \"marks\"\n", "/* { */", "\n\n    "]
)  # fmt: skip


@st.composite
def _documents(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """An object, and a text of it as a careless person would write it."""
    document: dict[str, Any] = draw(st.dictionaries(_names, _values, max_size=4))
    if draw(st.booleans()):
        document["servers"] = draw(st.dictionaries(_names, _values, max_size=3))
    if not isinstance(document.get("servers", {}), dict):
        del document["servers"]

    def written(value: Any) -> str:
        gap = draw(_between)
        if isinstance(value, dict):
            items = [
                f"{draw(_between)}{json.dumps(name)}{draw(_between)}:{gap}{written(one)}"
                for name, one in value.items()
            ]
            return "{" + _joined(draw, items) + gap + "}"
        if isinstance(value, list):
            return "[" + _joined(draw, [written(one) for one in value]) + gap + "]"
        return json.dumps(value, ensure_ascii=draw(st.booleans()))

    return document, draw(_between) + written(document) + draw(_between)


def _joined(draw: st.DrawFn, items: list[str]) -> str:
    text = ""
    for index, item in enumerate(items):
        last = index + 1 == len(items)
        text += item + draw(_between) + ("," if not last or draw(st.booleans()) else "")
    return text


def _plain(text: str) -> Any:
    return parse(text, relaxed=True).plain


@given(_documents())
def test_any_document_is_read_as_what_it_says(given_document: tuple[dict[str, Any], str]) -> None:
    document, text = given_document

    assert _plain(text) == document


@given(_documents())
def test_putting_in_changes_our_entry_alone(given_document: tuple[dict[str, Any], str]) -> None:
    document, text = given_document

    changed = json_edit.put(text, OURS, ENTRY, relaxed=True)

    expected = {**document, "servers": {**document.get("servers", {}), "pyro": ENTRY}}
    assert _plain(changed) == expected
    assert json_edit.put(changed, OURS, ENTRY, relaxed=True) == changed
    if "pyro" not in document.get("servers", {}):
        assert _is_within(_comments(text), changed)


@given(_documents())
def test_taking_out_changes_our_entry_alone(given_document: tuple[dict[str, Any], str]) -> None:
    document, text = given_document
    text = json_edit.put(text, OURS, ENTRY, relaxed=True)

    changed = json_edit.take(text, OURS, relaxed=True)

    servers = {name: one for name, one in document.get("servers", {}).items() if name != "pyro"}
    assert _plain(changed) == {**document, "servers": servers}
    assert _is_within(_comments(changed), text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "servers": {\n    "pyro": 1\n  }\n}\n'),
        ("{}", '{\n  "servers": {\n    "pyro": 1\n  }\n}'),
        ('{"a": 1}', '{"a": 1, "servers": {"pyro": 1}}'),
        ('{"a":1,"servers":{"b":2}}', '{"a":1,"servers":{"b":2, "pyro": 1}}'),
        ('{\n\t"servers": {\n\t\t"b": 2\n\t}\n}\n',
         '{\n\t"servers": {\n\t\t"b": 2,\n\t\t"pyro": 1\n\t}\n}\n'),
        ('{\n    "servers": {}\n}\n', '{\n    "servers": {\n        "pyro": 1\n    }\n}\n'),
        ('{\n  "servers": {\n    "b": 2, // two\n  },\n}\n',
         '{\n  "servers": {\n    "b": 2, // two\n    "pyro": 1,\n  },\n}\n'),
        ('{\n  "servers": {\n    "b": 2 // two\n  }\n}\n',
         '{\n  "servers": {\n    "b": 2, // two\n    "pyro": 1\n  }\n}\n'),
        ('{\n  "servers": {\n    // none yet\n  }\n}\n',
         '{\n  "servers": {\n    // none yet\n    "pyro": 1\n  }\n}\n'),
        ('{\r\n  "a": 1\r\n}\r\n',
         '{\r\n  "a": 1,\r\n  "servers": {\r\n    "pyro": 1\r\n  }\r\n}\r\n'),
    ],
)  # fmt: skip
def test_the_style_of_the_file_is_followed(before: str, after: str) -> None:
    assert json_edit.put(before, OURS, 1, relaxed=True) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"servers": {"pyro": {"a": 1}}}', '{"servers": {}}'),
        ('{\n  "servers": {\n    "pyro": 1\n  }\n}\n', '{\n  "servers": {}\n}\n'),
        ('{"servers": {"pyro": 1, "b": 2}}', '{"servers": {"b": 2}}'),
        ('{"servers": {"b": 2, "pyro": 1}}', '{"servers": {"b": 2}}'),
        ('{\n  "servers": {\n    "b": 2,\n    "pyro": 1\n  }\n}\n',
         '{\n  "servers": {\n    "b": 2\n  }\n}\n'),
        ('{\n  "servers": {\n    "b": 2, // two\n    // ours\n    "pyro": 1,\n  }\n}\n',
         '{\n  "servers": {\n    "b": 2, // two\n    // ours\n  }\n}\n'),
        ('{\n  "servers": {\n    "pyro": {\n      "x": 1\n    },\n    "b": 2\n  }\n}\n',
         '{\n  "servers": {\n    "b": 2\n  }\n}\n'),
        ('{"servers": {"pyro": 1, "b": 2, "pyro": 3}}', '{"servers": {"b": 2}}'),
    ],
)  # fmt: skip
def test_nothing_but_the_entry_goes(before: str, after: str) -> None:
    assert json_edit.take(before, OURS, relaxed=True) == after


@pytest.mark.parametrize(
    ("text", "line", "column", "wrong"),
    [
        ('{\n  "a": 1,\n}', 3, 1, "a comma before '}'"),
        ('{\n  // why\n}', 2, 3, "there is a comment, and this program reads none"),
        ('{"a": }', 1, 7, "a value is expected"),
        ('{"a": 1', 1, 8, "a comma or '}' is expected, and the file ends"),
        ('{"a" 1}', 1, 6, "a colon is expected"),
        ("{'a': 1}", 1, 2, "a name in double quotes is expected"),
        ('{"a": "b\n"}', 1, 7, "a string that does not end on its line"),
        ('{"a": "\\q"}', 1, 7, "an escape that is none"),
        ('{} {}', 1, 4, "something follows the end"),
        ('{"a": 01}', 1, 8, "a comma or '}' is expected"),
        ('{"a": NaN}', 1, 7, "a value is expected"),
        ("[]", 1, 1, "the document is not an object"),
        ('{"servers": []}', 1, 13, "'servers' is not an object"),
        ("[" * 300, 1, 201, "nested deeper than 200 levels"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_named_with_its_place(
    text: str, line: int, column: int, wrong: str
) -> None:
    with pytest.raises(MalformedError) as caught:
        json_edit.put(text, OURS, 1, relaxed=False)

    assert wrong in caught.value.wrong
    assert (caught.value.line, caught.value.column) == (line, column)


def test_a_comment_without_end_is_malformed() -> None:
    with pytest.raises(MalformedError, match="it does not end"):
        parse("{} /* on and on", relaxed=True)


@given(st.text(alphabet='{}[]":,/*\\ \n1a', max_size=30))
def test_no_text_whatever_is_taken_for_what_it_is_not(text: str) -> None:
    """Strict reading accepts what the library accepts, and refuses what it refuses."""
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(MalformedError):
            parse(text, relaxed=False)
    else:
        assert parse(text, relaxed=False).plain == expected


def _comments(text: str) -> list[str]:
    return [part for part in ("/* { */", ' // a } comment, with "marks"') for _ in range(
        text.count(part)
    )]  # fmt: skip


def _is_within(comments: list[str], text: str) -> bool:
    return all(text.count(one) >= comments.count(one) for one in comments)
