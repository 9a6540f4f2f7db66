"""What the agent answers about shells: on this host, with a terminal of this host."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp import protocol
from pyro_mcp.guest.history import History
from tests.guest.agent import HostAgent
from tests.guest.test_server import open_descriptors
from tests.support.waiting import until

SHELL = "0123456789ab"
READ = {"cursor": 0, "context": 0, "max_bytes": 100_000, "max_chars": 100_000, "wait_idle_ms": 0}


def ask(agent: HostAgent, **request: object) -> tuple[bytes, int, dict[str, object]]:
    with agent.connect() as host:
        host.ask(**request)
        stdout, _, kind, answer = host.answer()
    return stdout, kind, answer


def opened(agent: HostAgent, shell_id: str = SHELL, **more: object) -> dict[str, object]:
    size = {"cols": 80, "rows": 24, "cwd": "/tmp"}
    _, kind, answer = ask(agent, op="shell_open", shell_id=shell_id, **{**size, **more})
    assert kind == protocol.REPLY, answer
    return answer


def wrote(agent: HostAgent, text: bytes, shell_id: str = SHELL) -> dict[str, object]:
    with agent.connect() as host:
        host.ask(op="shell_write", shell_id=shell_id)
        host.send(protocol.STDIN, text)
        host.send(protocol.STDIN)
        _, _, kind, answer = host.answer()
    assert kind == protocol.REPLY, answer
    return answer


def wrote_after_its_end(agent: HostAgent, more: bytes) -> tuple[int, dict[str, object]]:
    """What a write is answered whose first line ended the shell, before `more` came."""
    opened(agent)
    with agent.connect() as host:
        host.ask(op="shell_write", shell_id=SHELL)
        host.send(protocol.STDIN, b"exit 5\n")
        until(lambda: ask(agent, op="shell_read", shell_id=SHELL, **READ)[2]["state"] == "stopped")
        host.send(protocol.STDIN, more)
        _, _, kind, answer = host.answer()
    return kind, answer


def closed(agent: HostAgent, shell_id: str = SHELL) -> dict[str, object]:
    return ask(agent, op="shell_close", shell_id=shell_id)[2]


def wait_for(agent: HostAgent, text: bytes) -> bytes:
    def read() -> bytes | None:
        said = ask(agent, op="shell_read", shell_id=SHELL, **READ)[0]
        return said if text in said else None

    return until(read)


def test_a_shell_is_opened_typed_into_read_and_closed(agent: HostAgent) -> None:
    record = opened(agent)
    assert (record["state"], record["cols"], record["rows"]) == ("running", 80, 24)

    assert wrote(agent, b"echo $((6 * 7)); exit 5\n")["taken"] == 24
    assert b"42" in wait_for(agent, b"exit\r\n")
    # It says so before it ends; closed meanwhile, it would end of that.
    until(lambda: ask(agent, op="shell_read", shell_id=SHELL, **READ)[2]["state"] == "stopped")

    assert closed(agent)["exit_code"] == 5
    assert ask(agent, op="shell_list")[2] == {"count": 0}
    assert closed(agent)["code"] == protocol.ERROR_NO_SUCH_SHELL


WRONG: list[dict[str, object]] = [
    {"op": "shell_open", "cols": 0},
    {"op": "shell_open", "rows": 10**9},
    {"op": "shell_open", "cols": "80"},
    {"op": "shell_open", "cwd": "relative"},
    {"op": "shell_open", "env": {"A=B": "c"}},
    {"op": "shell_open", "shell_id": "../../etc/passwd"},
    {"op": "shell_read", "cursor": -1},
    {"op": "shell_read", "cursor": 1.5},
    {"op": "shell_read", "max_bytes": 0},
    {"op": "shell_read", "max_bytes": 10**9},
    {"op": "shell_read", "context": 10**9},
    {"op": "shell_read", "wait_idle_ms": 10_001},
    {"op": "shell_read", "wait_idle_ms": True},
    {"op": "shell_signal", "signal": "STOP"},
    {"op": "shell_signal", "signal": 9},
    {"op": "shell_resize", "rows": -1},
    {"op": "shell_attach", "cursor": None},
    {"op": "shell_nothing"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=json.dumps)
def test_a_malformed_request_is_refused_and_changes_nothing(
    agent: HostAgent, wrong: dict[str, object]
) -> None:
    opened(agent)
    fields = {"shell_id": SHELL, "cols": 80, "rows": 24, "cwd": "/tmp", "signal": "INT", **READ}
    if wrong["op"] == "shell_open":
        fields["shell_id"] = "f" * 12

    _, kind, answer = ask(agent, **{**fields, **wrong})

    assert (kind, answer["code"]) == (protocol.ERROR, protocol.ERROR_BAD_REQUEST)
    assert ask(agent, op="shell_list")[2] == {"count": 1}
    closed(agent)


def test_a_host_that_goes_away_leaves_the_shell_and_no_descriptor(agent: HostAgent) -> None:
    opened(agent)
    wait_for(agent, b"$ ")
    before = open_descriptors()

    for number in range(40):
        with agent.connect() as host:
            if number % 4 == 0:
                host.ask(op="shell_attach", shell_id=SHELL, cursor=0)
                host.wait_for(b"$ ")
            elif number % 4 == 1:
                host.ask(op="shell_read", shell_id=SHELL, **{**READ, "wait_idle_ms": 10_000})
            elif number % 4 == 2:
                host.ask(op="shell_write", shell_id=SHELL)
                host.send(protocol.STDIN, b"true\n")
            else:
                host.ask(op="shell_write", shell_id=SHELL)

    assert b"42" in (wrote(agent, b"echo $((6 * 7))\n") and wait_for(agent, b"42\r\n"))
    until(lambda: open_descriptors() <= before)
    closed(agent)
    until(lambda: open_descriptors() < before)
    assert agent.logged == []


def test_what_was_all_typed_was_taken_even_if_the_shell_ended_of_it(agent: HostAgent) -> None:
    kind, answer = wrote_after_its_end(agent, b"")

    assert (kind, answer["taken"], answer["exit_code"]) == (protocol.REPLY, 7, 5)


def test_what_is_typed_after_the_shell_has_ended_is_not_taken(agent: HostAgent) -> None:
    kind, answer = wrote_after_its_end(agent, b"ls\n")

    assert (kind, answer["code"], answer["taken"]) == (
        protocol.ERROR,
        protocol.ERROR_INPUT_NOT_TAKEN,
        7,
    )


def test_writers_have_their_turn_one_after_the_other(agent: HostAgent) -> None:
    opened(agent)
    wrote(agent, b"stty raw -echo; echo go''ing; head -c 200000 | tr -d '\\n' | uniq -c; exit\n")
    wait_for(agent, b"going")
    with agent.connect() as first, agent.connect() as second:
        for host, letter in ((first, b"a"), (second, b"b")):
            host.ask(op="shell_write", shell_id=SHELL)
            host.send(protocol.STDIN, letter * 50_000)
        for host, letter in ((first, b"a"), (second, b"b")):
            host.send(protocol.STDIN, letter * 50_000)
            host.send(protocol.STDIN)
        assert first.answer()[2] == second.answer()[2] == protocol.REPLY

    closed(agent)


def test_halting_ends_shells(agent: HostAgent) -> None:
    opened(agent)
    # Without a job: those are in groups of their own, which only a real sandbox holds together.
    wrote(agent, b"trap '' HUP TERM INT; echo de''af\n")
    wait_for(agent, b"deaf")

    with agent.connect() as host:
        host.ask(op="halt")
        assert next(host.frames())[0] == protocol.REPLY
    assert agent.halted.wait(20)


@given(st.lists(st.binary(max_size=400_000), max_size=12), st.integers(0, 4_000_000))
def test_the_history_is_the_end_of_all_that_came(pieces: list[bytes], cursor: int) -> None:
    history = History()
    for piece in pieces:
        history.add(memoryview(piece))
    whole = b"".join(pieces)

    assert history.end == len(whole)
    assert history.oldest == max(len(whole) - protocol.SHELL_WINDOW, 0)
    start = history.within(cursor)
    context = history.context_before(start, protocol.SHELL_CONTEXT)
    assert context == min(start, protocol.SHELL_CONTEXT)
    assert history.piece(start - context, history.end) == whole[start - context :]
