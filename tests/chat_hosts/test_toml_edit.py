"""One table of a TOML text changes, and no other byte of it."""

import tomllib

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.chat_hosts import toml_edit
from pyro_mcp.chat_hosts.jsonc import MalformedError

OURS = ("mcp_servers", "pyro")
ENTRY = {"command": "/opt/pyro", "args": ["mcp", "serve"]}
ADDED = '[mcp_servers.pyro]\ncommand = "/opt/pyro"\nargs = ["mcp", "serve"]\n'

ODD = '''\
# my settings
model   =  'x'   # the best

[mcp_servers.other]
command="npx"
args = [
  "-y",   # yes
  [1, 2],
]
note = """
[mcp_servers.pyro]
# not a table
"""

# where models live
[model_providers . x]
base_url = "http://127.0.0.1/v1"
'''

_pieces = st.lists(
    st.sampled_from([
        "# a comment\n", "\n", "[a]\n", "x = 1\n", "y = [\n  [1],\n]\n", 'z = """\n[b]\n"""\n',
        "[mcp_servers.other]\n", 'command = "x"\n', "[[list]]\n", "[a.b]\n", "q.r = 2\n",
    ]),
    max_size=8,
)  # fmt: skip


@given(_pieces, _pieces)
def test_a_table_comes_and_goes_and_nothing_else(head: list[str], tail: list[str]) -> None:
    before = _valid("".join(head))
    text = toml_edit.put(before, OURS, ENTRY)
    expected = tomllib.loads(before)
    expected.setdefault("mcp_servers", {})["pyro"] = ENTRY
    assert tomllib.loads(text) == expected
    assert text.startswith(before)

    more = _valid(text + "\n# a comment\n[next]\n" + "".join(tail))
    after = toml_edit.take(more, OURS)

    left = tomllib.loads(more)
    del left["mcp_servers"]["pyro"]
    assert {"mcp_servers": {}, **tomllib.loads(after)} == left
    assert after.count("# a comment") == more.count("# a comment")


def _valid(text: str) -> str:
    """As much of the beginning as is TOML."""
    lines = text.splitlines(keepends=True)
    while True:
        try:
            tomllib.loads("".join(lines))
        except tomllib.TOMLDecodeError:
            lines.pop()
        else:
            return "".join(lines)


def test_a_new_table_follows_what_is_there() -> None:
    assert toml_edit.put("", OURS, ENTRY) == ADDED
    assert toml_edit.put(ODD, OURS, ENTRY) == f"{ODD}\n{ADDED}"
    assert toml_edit.put("a = 1", OURS, ENTRY) == f"a = 1\n\n{ADDED}"


def test_what_was_put_in_is_taken_out_again() -> None:
    assert toml_edit.take(toml_edit.put(ODD, OURS, ENTRY), OURS) == ODD


def test_comments_about_the_next_table_stay() -> None:
    text = f"a = 1\n\n{ADDED}\n# where models live\n[models]\nb = 2\n"

    assert toml_edit.take(text, OURS) == "a = 1\n\n# where models live\n[models]\nb = 2\n"


def test_tables_below_it_go_with_it() -> None:
    with_env = {**ENTRY, "env": {"A": "1", "odd name": "2"}}

    text = toml_edit.put(ODD, OURS, with_env)

    assert tomllib.loads(text)["mcp_servers"]["pyro"] == with_env
    assert toml_edit.take(text, OURS) == ODD


def test_line_ends_are_followed() -> None:
    text = toml_edit.put("a = 1\r\n", OURS, ENTRY)

    assert "\n" not in text.replace("\r\n", "")


@pytest.mark.parametrize(
    "text",
    [
        "mcp_servers = { other = { command = 'x' } } # mine\nb = 1 # one\n",
        "mcp_servers.other.command = 'x' # mine\nb = 1 # one\n",
        "[mcp_servers]\n# mine\nother = { command = 'x' }\n[b] # one\n",
        "[mcp_servers]\npyro = { command = 'old', timeout = 3 } # mine\n[b] # one\n",
        "[mcp_servers.pyro]\ncommand = 'x' # mine\n\n[b] # one\n[mcp_servers.pyro.env]\nA='2'\n",
    ],
)  # fmt: skip
def test_other_ways_to_write_tables_work_too(text: str) -> None:
    before = tomllib.loads(text)

    changed = toml_edit.put(text, OURS, ENTRY)

    expected = {**before, "mcp_servers": {**before["mcp_servers"], "pyro": ENTRY}}
    assert tomllib.loads(changed) == expected
    assert "# mine" in changed
    assert "# one" in changed
    del expected["mcp_servers"]["pyro"]
    taken = toml_edit.take(changed, OURS)
    assert {"mcp_servers": {}, **tomllib.loads(taken)} == expected
    assert "# one" in taken


def test_an_entry_that_is_there_keeps_its_comments_and_order() -> None:
    text = "[mcp_servers.pyro]\n# why\nargs = []   # none\ncommand = 'old'\n\n[b]\n"

    changed = toml_edit.put(text, OURS, ENTRY)

    assert changed == (
        '[mcp_servers.pyro]\n# why\nargs = ["mcp", "serve"]   # none\n'
        'command = "/opt/pyro"\n\n[b]\n'
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("a = 1\nb = \n", 2, 5), ("a = 1\n[b\n", 2, 3), ('a = "x', 1, 7), ("a = 1\na = 2\n", 2, 6)],
)
def test_what_is_malformed_is_named_with_its_place(text: str, line: int, column: int) -> None:
    with pytest.raises(MalformedError) as caught:
        toml_edit.put(text, OURS, ENTRY)

    assert (caught.value.line, caught.value.column) == (line, column)


def test_a_container_of_another_kind_is_malformed() -> None:
    with pytest.raises(MalformedError, match="'mcp_servers' is not a table"):
        toml_edit.put("mcp_servers = 3\n", OURS, ENTRY)


def test_the_library_reads_what_was_written() -> None:
    assert tomlkit.parse(toml_edit.put(ODD, OURS, ENTRY)).unwrap()["mcp_servers"]["pyro"] == ENTRY
