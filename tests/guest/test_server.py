"""What the agent answers: each request, each fault of the host's, each way a command ends.

Namespaces and disks are what `tests/conformance` has, with real guests.
"""

import json
import struct
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_mcp import protocol
from tests.guest.agent import MISSING, HostAgent
from tests.support.waiting import given_time, until


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_ping_is_answered(agent: HostAgent) -> None:
    with agent.connect() as host:
        host.ask(op="ping")

        assert host.answer()[2:] == (protocol.REPLY, {"protocol": protocol.VERSION, "commands": 0})


def test_sync_is_answered_when_it_is_done(agent: HostAgent) -> None:
    with agent.connect() as host:
        host.ask(op="sync")

        assert host.answer()[2:] == (protocol.REPLY, {})


def test_halt_ends_commands_first_and_has_its_answer_delivered(agent: HostAgent) -> None:
    with agent.connect() as busy, agent.connect() as host:
        busy.execute("echo up; sleep 600")
        busy.wait_for(b"up")

        host.ask(op="halt")

        assert next(host.frames())[0] == protocol.REPLY
        assert busy.answer()[2] == 0
        host.socket.close()
        assert agent.halted.wait(20)


def test_a_command_that_comes_while_the_machine_is_stopped_is_told_so(agent: HostAgent) -> None:
    """Whoever sent it may send it again to the machine that is started then."""
    with agent.connect() as late, agent.connect() as host:
        host.ask(op="halt")
        assert next(host.frames())[0] == protocol.REPLY

        late.execute("true")

        assert late.answer()[2:] == (
            protocol.ERROR,
            {"code": protocol.ERROR_STOPPING, "message": "the machine is being stopped"},
        )


def test_a_command_gives_streams_and_status(agent: HostAgent) -> None:
    with agent.connect() as host:
        host.execute("echo out; echo err >&2; exit 42")

        stdout, stderr, kind, end = host.answer()

    assert (stdout, stderr, kind) == (b"out\n", b"err\n", protocol.EXIT)
    assert isinstance(end.pop("duration_ms"), int)
    assert end == {"exit_code": 42, "signal": None, "timed_out": False, "oom_killed": False}


def test_a_signal_that_ends_a_command_is_named(agent: HostAgent) -> None:
    with agent.connect() as host:
        host.execute("kill -SEGV $$")

        end = host.answer()[3]

    assert (end["exit_code"], end["signal"]) == (128 + 11, 11)


def test_only_the_agents_few_variables_and_the_requests_are_there(agent: HostAgent) -> None:
    with agent.connect() as host:
        host.execute("env", env={"WORD": "a'b $c", "LANG": "C"})

        names = {line.split(b"=")[0] for line in host.answer()[0].splitlines()}

    assert names - {b"PWD", b"SHLVL", b"_", b"OLDPWD"} == {b"HOME", b"PATH", b"LANG", b"WORD"}


def test_input_arrives_whole_and_ends(agent: HostAgent) -> None:
    data = bytes(range(256)) * 20_000
    with agent.connect() as host:
        host.execute("cksum", stdin=True)
        for start in range(0, len(data), protocol.DATA_CHUNK):
            host.send(protocol.STDIN, data[start : start + protocol.DATA_CHUNK])
        host.send(protocol.STDIN)

        assert host.answer()[0].split()[1] == str(len(data)).encode()


def test_without_input_a_command_reads_its_end(agent: HostAgent) -> None:
    with agent.connect() as host:
        host.execute("cat; echo done")

        assert host.answer()[0] == b"done\n"


def test_input_that_is_not_read_holds_the_host_back_and_not_the_command(agent: HostAgent) -> None:
    with agent.connect() as host:
        host.execute("sleep 0.2; echo done", stdin=True)

        def feed() -> None:
            try:
                for _ in range(400):
                    host.send(protocol.STDIN, bytes(protocol.DATA_CHUNK))
            except OSError:
                return

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            stdout, _, kind, _ = host.answer()
        finally:
            feeder.join(20)

    assert (stdout, kind) == (b"done\n", protocol.EXIT)


def test_input_after_its_end_is_dropped(agent: HostAgent) -> None:
    with agent.connect() as host:
        host.execute("cat", stdin=True)
        for payload in (b"kept", b"", b"dropped", b""):
            host.send(protocol.STDIN, payload)

        assert host.answer()[0] == b"kept"


def test_output_comes_while_the_command_runs(agent: HostAgent) -> None:
    with agent.connect() as host:
        host.execute("echo question; read reply; echo got $reply", stdin=True)
        host.wait_for(b"question\n")

        host.send(protocol.STDIN, b"answer\n")

        assert host.answer()[0] == b"got answer\n"


def test_a_host_that_does_not_read_blocks_its_command_and_no_other(agent: HostAgent) -> None:
    size = 50_000_000
    with agent.connect() as slow, agent.connect() as quick:
        slow.execute(f"head -c {size} /dev/zero")
        quick.execute("echo quick")

        assert quick.answer()[0] == b"quick\n"
        assert agent.commands() == 1
        assert len(slow.answer()[0]) == size


def test_what_a_command_left_in_its_pipes_still_arrives(agent: HostAgent, tmp_path: Path) -> None:
    note = tmp_path / "done"
    with agent.connect() as host:
        host.execute(f"head -c 900000 /dev/zero & head -c 50000 /dev/zero >&2; wait; : > {note}")
        until(note.exists)

        stdout, stderr, kind, _ = host.answer()

    assert (len(stdout), len(stderr), kind) == (900_000, 50_000, protocol.EXIT)


def test_a_background_process_does_not_hold_the_command(agent: HostAgent) -> None:
    with agent.connect() as host:
        host.execute("sleep 600 & echo started")

        assert host.answer()[0] == b"started\n"


def cut_off(agent: HostAgent, command: str, *, after: bytes) -> tuple[bytes, dict[str, object]]:
    """What a command that is too slow printed, and how it ended; it had time to print `after`."""

    def attempt(limit: int) -> tuple[bytes, dict[str, object]] | None:
        with agent.connect() as host:
            host.execute(command, timeout_ms=limit)
            stdout, _, _, end = host.answer()
        return (stdout, end) if stdout.startswith(after) else None

    return given_time(attempt)


def test_a_command_past_its_time_is_asked_to_end(agent: HostAgent) -> None:
    stdout, end = cut_off(
        agent,
        "trap 'echo asked; exit 3' TERM; echo begun; while :; do sleep 0.05; done",
        after=b"begun\n",
    )

    assert stdout == b"begun\nasked\n"
    assert (end["exit_code"], end["timed_out"]) == (124, True)


def test_a_command_that_ignores_that_is_killed(agent: HostAgent) -> None:
    stdout, end = cut_off(agent, "trap '' TERM; echo begun; sleep 600", after=b"begun\n")

    assert stdout == b"begun\n"
    assert (end["exit_code"], end["timed_out"], end["signal"]) == (124, True, 9)
    assert int(str(end["duration_ms"])) >= protocol.TERM_GRACE_MS


def test_what_tidies_up_after_its_time_has_the_grace_to_do_it(agent: HostAgent) -> None:
    """The command ends at once, its child needs a moment more."""
    stdout, _ = cut_off(
        agent,
        "(trap 'sleep 0.3; echo tidied; exit' TERM; echo up; while :; do sleep 0.05; done) & "
        "sleep 600",
        after=b"up\n",
    )

    assert stdout == b"up\ntidied\n"


def test_a_signal_of_the_hosts_reaches_the_command(agent: HostAgent) -> None:
    with agent.connect() as host:
        host.execute("trap 'echo int; exit 5' INT; echo up; while :; do sleep 0.05; done")
        host.wait_for(b"up")

        host.send(protocol.SIGNAL, b'{"signal": 2}')

        stdout, _, _, end = host.answer()
    assert (stdout, end["exit_code"]) == (b"int\n", 5)


def test_a_command_ends_when_its_host_is_gone(agent: HostAgent, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with agent.connect() as host:
        host.execute(f"echo $$ > {note}; echo up; sleep 600")
        host.wait_for(b"up")
    pid = note.read_text().strip()

    until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_host_that_is_gone_before_its_command_began_leaves_nothing(agent: HostAgent) -> None:
    for _ in range(20):
        with agent.connect() as host:
            host.execute("sleep 600")

    until(lambda: agent.commands() == 0)


def test_a_directory_that_is_not_there_is_refused(agent: HostAgent) -> None:
    with agent.connect() as host:
        host.execute("true", cwd=MISSING)

        _, _, kind, error = host.answer()

    assert (kind, error["code"]) == (protocol.ERROR, protocol.ERROR_NO_SUCH_DIRECTORY)
    assert MISSING in str(error["message"])


def test_a_guest_without_room_for_a_sandbox_says_so(agent: HostAgent) -> None:
    agent.sandboxes.error = OSError(11, "Resource temporarily unavailable")
    with agent.connect() as host:
        host.execute("true", stdin=True)

        _, _, kind, error = host.answer()

    assert (kind, error["code"]) == (protocol.ERROR, protocol.ERROR_CANNOT_START)


WRONG_FIELDS: list[dict[str, object]] = [
    {"command": 5},
    {"command": ""},
    {"command": "a\0b"},
    {"command": "\ud800"},
    {"cwd": "relative"},
    {"cwd": None},
    {"env": []},
    {"env": {"A=B": ""}},
    {"env": {"": "x"}},
    {"env": {"A": 1}},
    {"timeout_ms": -1},
    {"timeout_ms": 1.5},
    {"timeout_ms": True},
    {"timeout_ms": 10**400},
    {"stdin": 1},
]
BAD_REQUESTS = [
    b"",
    b"{",
    b"[]",
    b"\xff",
    b"[" * 200_000,
    b'{"op": "reboot"}',
    b'{"op": ["exec"]}',
    b'{"op": "exec"}',
    *(json.dumps({"op": "exec", "command": "true", **wrong}).encode() for wrong in WRONG_FIELDS),
]


@pytest.mark.parametrize("payload", BAD_REQUESTS)
def test_a_malformed_request_is_refused(agent: HostAgent, payload: bytes) -> None:
    with agent.connect() as host:
        host.greet()
        host.send(protocol.REQUEST, payload)

        _, _, kind, error = host.answer()

    assert (kind, error["code"]) == (protocol.ERROR, protocol.ERROR_BAD_REQUEST)
    assert str(error["message"]).startswith("the request is malformed: ")


@pytest.mark.parametrize("kind", [protocol.STDIN, protocol.SIGNAL, protocol.STDOUT, 77])
def test_a_connection_that_begins_with_something_else_is_ended(agent: HostAgent, kind: int) -> None:
    with agent.connect() as host:
        host.greet()
        host.send(kind, b"x")

        assert host.answer()[2] == protocol.ERROR


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (protocol.REQUEST, b'{"op": "ping"}'),
        (protocol.STDIN, b"not asked for"),
        (protocol.SIGNAL, b'{"signal": 0}'),
        (protocol.SIGNAL, b'{"signal": "INT"}'),
        (protocol.SIGNAL, b"2"),
    ],
)
def test_a_frame_that_is_not_due_ends_the_command(
    agent: HostAgent, kind: int, payload: bytes
) -> None:
    with agent.connect() as host:
        host.execute("echo up; sleep 600")
        host.wait_for(b"up")

        host.send(kind, payload)

        assert host.answer()[2] == protocol.ERROR


def test_a_host_of_another_version_learns_ours_and_is_left(agent: HostAgent) -> None:
    with agent.connect() as host:
        host.socket.sendall(struct.pack("<4sHH", protocol.MAGIC, protocol.VERSION + 1, 0))

        assert host.socket.recv(100) == protocol.preamble()
        assert host.socket.recv(100) == b""


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=400), st.booleans())
def test_the_agent_outlives_random_input(agent: HostAgent, data: bytes, greeted: bool) -> None:
    with agent.connect() as host:
        if greeted:
            host.greet()
        host.socket.sendall(data)

    with agent.connect() as host:
        host.ask(op="ping")
        assert host.answer()[2] == protocol.REPLY


def test_more_connections_than_it_serves_wait_their_turn(agent: HostAgent) -> None:
    idle = [agent.connect() for _ in range(256)]
    with agent.connect() as host:
        host.ask(op="ping")
        host.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            host.answer()

        for conversation in idle:
            conversation.socket.close()

        host.socket.settimeout(30)
        assert host.answer()[2] == protocol.REPLY


def test_hundreds_of_commands_leave_no_descriptor(agent: HostAgent) -> None:
    with agent.connect() as host:
        host.execute("true")
        host.answer()
    before = open_descriptors()

    for number in range(200):
        with agent.connect() as host:
            if number % 5 == 0:
                host.execute("true", cwd=MISSING)
            elif number % 5 == 1:
                host.execute("cat", stdin=True)
                host.send(protocol.STDIN)
            else:
                host.execute("echo x; exit 1")
            if number % 3:
                host.answer()

    until(lambda: open_descriptors() <= before)
    assert agent.logged == []
