"""The agent's services and relays, on this host: everything of them but sandboxes and vsock."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp import protocol
from pyro_mcp.guest.servicelogs import Ring
from tests.guest.agent import MISSING, HostAgent
from tests.guest.test_server import open_descriptors
from tests.support import until
from tests.support.waiting import given_time

RUN = "0123456789ab"
NO_LOOK_ENDED = "the first look took longer than that"


def ask(agent: HostAgent, op: str, **fields: object) -> tuple[bytes, bytes, int, dict[str, Any]]:
    """One request and its whole answer."""
    with agent.connect() as host:
        host.ask(op=f"service_{op}", **fields)
        return host.answer()


def facts(agent: HostAgent, op: str, **fields: object) -> dict[str, Any]:
    """The facts that answer a request which must succeed."""
    _, _, kind, answer = ask(agent, op, name="s", run=RUN, **fields)
    assert kind == protocol.REPLY, answer
    return answer


def start(agent: HostAgent, command: str, **fields: object) -> dict[str, Any]:
    return facts(agent, "start", command=command, cwd="/", **fields)


@pytest.fixture
def stopping(agent: HostAgent) -> Iterator[HostAgent]:
    """The agent; its service `s` is stopped with the test."""
    yield agent
    if not agent.halted.is_set():
        with contextlib.suppress(AssertionError):
            facts(agent, "stop")


def test_a_start_is_answered_at_once_and_its_end_is_told_who_waits(stopping: HostAgent) -> None:
    started = start(stopping, "read line < /dev/null; exec sleep 600")
    assert (started["state"], started["ended_ms"]) == ("running", None)
    ended: list[dict[str, Any]] = []
    watcher = threading.Thread(target=lambda: ended.append(facts(stopping, "watch")))
    watcher.start()

    stopped = facts(stopping, "stop")
    watcher.join(30)

    assert (stopped["state"], stopped["stop_reason"]) == ("stopped", "sigterm")
    assert ended[0]["state"] == "stopped"


def test_of_a_hundred_megabytes_the_last_part_is_kept(stopping: HostAgent) -> None:
    total = 100 * 1024 * 1024
    start(stopping, f"yes 0123456 | head -c {total}; yes err | head -c 4000 >&2")
    assert facts(stopping, "watch")["exit_code"] == 0

    stdout, stderr, _, end = ask(stopping, "log", name="s", run=RUN, stdout_from=0, stderr_from=0)

    assert stdout == b"0123456\n" * (protocol.SERVICE_LOG_BYTES // 8)
    assert stderr == b"err\n" * 1000
    assert (end["stdout_from"], end["stdout_to"]) == (total - len(stdout), total)
    assert (end["stderr_from"], end["stderr_to"], end["overrun"]) == (0, 4000, False)


def test_closing_its_streams_does_not_end_a_service(stopping: HostAgent) -> None:
    start(stopping, "echo last words; exec >/dev/null 2>&1; exec sleep 600")

    until(lambda: ask(stopping, "log", name="s", run=RUN)[0] == b"last words\n")

    _, _, _, end = ask(stopping, "list")
    assert end == {"count": 1}
    assert facts(stopping, "stop")["stop_reason"] == "sigterm"


def test_a_reader_that_is_too_slow_is_told_where_the_gap_is(
    stopping: HostAgent, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    wait = f"echo begun; until [ -e {go} ]; do sleep 0.01; done"
    start(stopping, f"{wait}; yes 0123456 | head -c 16777216; exec sleep 600")
    total = 6 + 16777216
    with stopping.connect() as slow:
        slow.ask(op="service_follow", name="s", run=RUN, stdout_from=0, stderr_from=0)
        slow.wait_for(b"begun\n")
        go.touch()
        until(
            lambda: (
                ask(stopping, "log", name="s", run=RUN, stdout_from=1 << 40)[3]["stdout_to"]
                == total
            )
        )

        stdout, _, kind, end = slow.answer()

    assert (kind, end["overrun"]) == (protocol.REPLY, True)
    assert 6 + len(stdout) == int(str(end["stdout_to"])) - int(str(end["stdout_from"]))
    assert 6 + len(stdout) < total


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_tcp_look_finds_who_listens(stopping: HostAgent, host: str) -> None:
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    with socket.create_server(("::1" if host == "::1" else "127.0.0.1", 0), family=family) as one:
        look = {"type": "tcp", "what": host, "port": one.getsockname()[1]}
        start(stopping, "exec sleep 600", readiness=look, ready_timeout_ms=20_000)

        assert facts(stopping, "wait")["ready_ms"] is not None


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.0 301 Moved\r\n\r\n", True),
        (b"HTTP/1.1 503 Not yet\r\n\r\n", False),
        (b"SSH-2.0-x\r\n", False),
        (b"HTTP/1.1 200", False),
        (b"", False),
        (b"x" * 10_000, False),
        (None, False),
    ],
    ids=str,
)
def test_an_http_look_needs_a_good_status(
    stopping: HostAgent, answer: bytes | None, ready: bool
) -> None:
    """What else comes back, a reset among it, means "not yet" and no more."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                with client:
                    if answer is None:
                        linger = (1).to_bytes(4, "little") + bytes(4)
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        continue
                    asked = client.recv(4096)
                    if not asked:
                        continue  # its time was over before it could ask
                    assert asked.startswith(b"GET /up?x=1 HTTP/1.1\r\n")
                    client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        look = {
            **{"type": "http", "what": "localhost", "target": "/up?x=1"},
            "port": server.getsockname()[1],
        }
        limit = 20_000 if ready else 300
        start(stopping, "exec sleep 600", readiness=look, ready_timeout_ms=limit)

        settled = facts(stopping, "wait")
        server.shutdown(socket.SHUT_RDWR)
        thread.join(30)

    assert settled["state"] == ("running" if ready else "failed")
    assert (settled["problem"] is None) is ready


def test_a_look_by_command_has_the_services_variables(stopping: HostAgent) -> None:
    look = {"type": "command", "what": 'test "$MODE" = on'}

    start(stopping, "exec sleep 600", readiness=look, ready_timeout_ms=20_000, env={"MODE": "on"})

    assert facts(stopping, "wait")["state"] == "running"


def test_a_look_by_command_that_fails_means_not_yet(stopping: HostAgent) -> None:
    look = {"type": "command", "what": "exit 7"}

    def looked(limit: int) -> dict[str, Any] | None:
        times = {"ready_timeout_ms": limit, "ready_interval_ms": 10}
        start(stopping, "exec sleep 600", readiness=look, **times)
        settled = facts(stopping, "wait")
        return None if settled["problem"] == NO_LOOK_ENDED else settled

    settled = given_time(looked)
    assert (settled["state"], settled["stop_reason"]) == ("failed", "readiness_timeout")
    assert settled["problem"] == "the command ended with status 7"


def test_a_look_that_takes_longer_than_there_is_says_so(stopping: HostAgent) -> None:
    look = {"type": "command", "what": "exec sleep 600"}

    start(stopping, "exec sleep 600", readiness=look, ready_timeout_ms=100)

    assert facts(stopping, "wait")["problem"] == NO_LOOK_ENDED


def test_what_is_told_of_a_long_path_is_short(stopping: HostAgent) -> None:
    look = {"type": "file", "what": "/".join(["x" * 200] * 15)}

    start(stopping, "exec sleep 600", readiness=look, ready_timeout_ms=100)

    problem = facts(stopping, "wait")["problem"]
    assert problem.startswith("No such file or directory: xxx")
    assert len(problem) <= 400


def test_services_that_ended_hold_their_log_and_nothing_else(agent: HostAgent) -> None:
    look = {"type": "tcp", "what": "localhost", "port": 1}
    start(agent, "exit 7")
    facts(agent, "watch")
    before = open_descriptors()

    for _ in range(5):
        start(agent, "exec sleep 600", readiness=look, ports=[9000, 9001])
        with agent.connect() as host:  # one that follows, and goes away
            host.ask(op="service_follow", name="s", run=RUN, stdout_from=0, stderr_from=0)
        facts(agent, "stop")
        assert ask(agent, "start", name="s", run=RUN, command="x", cwd=MISSING)[2] == protocol.ERROR

    until(lambda: open_descriptors() <= before)


def test_services_that_ended_take_no_place(agent: HostAgent) -> None:
    """Only what runs counts; the logs of those that ended last are kept, and all that is known."""
    before = open_descriptors()
    for number in range(70):
        name = f"s{number}"
        assert (
            ask(agent, "start", name=name, run=RUN, command="echo x", cwd="/")[2] == protocol.REPLY
        )
        assert ask(agent, "watch", name=name, run=RUN)[3]["exit_code"] == 0

    first = ask(agent, "log", name="s0", run=RUN, stdout_from=0, stderr_from=0)
    last = ask(agent, "log", name="s69", run=RUN, stdout_from=0, stderr_from=0)

    assert ask(agent, "list")[3] == {"count": 70}
    assert (first[0], first[3]["stdout_from"]) == (b"", 2)
    assert last[0] == b"x\n"
    until(lambda: open_descriptors() <= before + 2 * 65)


def test_more_than_sixty_four_do_not_run_at_once(agent: HostAgent) -> None:
    def started(number: int) -> int:
        return ask(agent, "start", name=f"s{number}", run=RUN, command="exec sleep 600", cwd="/")[2]

    assert {started(number) for number in range(64)} == {protocol.REPLY}
    assert started(64) == protocol.ERROR
    assert ask(agent, "stop", name="s0", run=RUN)[2] == protocol.REPLY
    assert started(64) == protocol.REPLY
    for number in range(1, 65):
        ask(agent, "stop", name=f"s{number}", run=RUN)


def test_halting_ends_services_first(agent: HostAgent) -> None:
    start(agent, "trap 'exit 0' TERM; while :; do sleep 0.05; done")

    with agent.connect() as host:
        host.ask(op="halt")
        assert host.answer()[2] == protocol.REPLY

    until(agent.halted.is_set)


def test_a_start_that_fails_leaves_nothing(agent: HostAgent) -> None:
    _, _, kind, answer = ask(agent, "start", name="s", run=RUN, command="true", cwd=MISSING)

    assert (kind, answer["code"]) == (protocol.ERROR, protocol.ERROR_NO_SUCH_DIRECTORY)
    assert ask(agent, "list")[3] == {"count": 0}


@pytest.mark.parametrize(
    "fields",
    [
        {"name": None},
        {"name": ""},
        {"name": "x" * 65},
        {"run": 7},
        {"command": ""},
        {"cwd": "relative"},
        {"ports": "80"},
        {"ports": [0]},
        {"ports": [65536]},
        {"ports": [True]},
        {"ports": [1] * 65},
        {"readiness": "tcp"},
        {"readiness": {"type": "ping"}},
        {"readiness": {"type": "tcp", "what": "localhost"}},
        {"readiness": {"type": "file"}},
        {"readiness": {"type": "http", "what": "h", "port": 1, "target": "/\r\nx"}},
        {"ready_timeout_ms": -1},
        {"ready_interval_ms": 1.5},
    ],
    ids=json.dumps,
)
def test_a_malformed_start_is_refused(agent: HostAgent, fields: dict[str, object]) -> None:
    given: dict[str, object] = {"name": "s", "run": RUN, "command": "true", "cwd": "/", **fields}

    _, _, kind, answer = ask(agent, "start", **given)

    assert (kind, answer["code"]) == (protocol.ERROR, protocol.ERROR_BAD_REQUEST)
    assert ask(agent, "list")[3] == {"count": 0}


def test_another_run_of_the_same_name_is_not_confused_with_it(stopping: HostAgent) -> None:
    start(stopping, "exec sleep 600")

    _, _, kind, answer = ask(stopping, "stop", name="s", run="other")
    assert (kind, answer["code"]) == (protocol.ERROR, protocol.ERROR_NOT_FOUND)
    _, _, kind, answer = ask(stopping, "start", name="s", run="other", command="true", cwd="/")
    assert (kind, answer["code"]) == (protocol.ERROR, protocol.ERROR_EXISTS)
    assert ask(stopping, "list")[3] == {"count": 1}


def test_a_relay_is_there_as_long_as_the_service(stopping: HostAgent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(FileNotFoundError):
            stopping.relay(port)
        start(stopping, "exec sleep 600", ports=[port])

        with stopping.relay(port) as host:
            service, _ = server.accept()
            with service:
                host.sendall(b"in")
                host.shutdown(socket.SHUT_WR)
                assert service.recv(10) == b"in"
                assert service.recv(10) == b""
                service.sendall(b"out")
                assert host.recv(10) == b"out"

        facts(stopping, "stop")
        with pytest.raises(ConnectionRefusedError):
            stopping.relay(port)


def test_a_relay_finds_a_service_that_speaks_ipv6_alone(stopping: HostAgent) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        start(stopping, "exec sleep 600", ports=[port])
        with stopping.relay(port) as host:
            service, _ = server.accept()
            with service:
                service.sendall(b"six")
                assert host.recv(10) == b"six"


def test_a_relay_to_nobody_ends_at_once(stopping: HostAgent) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens: nobody else will, either
        port = taken.getsockname()[1]
        start(stopping, "exec sleep 600", ports=[port])

        with stopping.relay(port) as host:
            assert host.recv(1) == b""


def test_a_relay_carries_both_ways_at_once(stopping: HostAgent) -> None:
    block = bytes(range(256)) * 4096
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        start(stopping, "exec sleep 600", ports=[port])
        with stopping.relay(port) as host:
            service, _ = server.accept()
            with service:
                sides = (host, service)
                got: dict[int, bytearray] = {0: bytearray(), 1: bytearray()}

                def send(side: int) -> None:
                    sides[side].sendall(block * 8)
                    sides[side].shutdown(socket.SHUT_WR)

                def receive(side: int) -> None:
                    while data := sides[side].recv(1 << 18):
                        got[side] += data

                threads = [
                    threading.Thread(target=what, args=(side,))
                    for side in (0, 1)
                    for what in (send, receive)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(60)
    assert got[0] == got[1] == block * 8


@pytest.mark.parametrize("sizes", [[3, 5, 4], [10], [25], [4, 4, 4, 4], [9, 1, 10]], ids=str)
def test_a_ring_keeps_the_last_bytes_at_their_offsets(sizes: list[int]) -> None:
    ring = Ring(10)
    written = b""
    for number, size in enumerate(sizes):
        data = bytes((number,)) * size
        ring.add(memoryview(data))
        written += data

        kept = b""
        while ring.start + len(kept) < ring.end:
            kept += ring.read(ring.start + len(kept), 100)

        assert (ring.end, kept) == (len(written), written[-10:])
    ring.close()
    ring.close()
