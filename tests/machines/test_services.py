"""What a hostile agent says of services is never believed further than it makes sense."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pyro_mcp import protocol
from pyro_mcp.errors import GuestLostError
from pyro_mcp.machines import channel, services

GOOD: dict[str, object] = {
    **{"name": "s", "run": "r", "state": "running", "pid": 7, "exit_code": None},
    **{"stop_reason": None, "ready_ms": 1, "ended_ms": None, "problem": None},
}


@pytest.fixture
def agent_that_says() -> Iterator[Callable[[bytes], Path]]:
    """Makes a machine's directory whose agent answers its next request with these bytes."""
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/{channel.API_SOCKET}")
        listener.listen(1)
        threads: list[threading.Thread] = []

        def answer(said: bytes) -> None:
            client, _ = listener.accept()
            with client:
                line = client.recv(100)
                if line.startswith(b"CONNECT"):
                    client.sendall(b"OK 1024\n" + protocol.preamble())
                    client.recv(65536)
                try:
                    client.sendall(said)
                except OSError:
                    return  # the host has heard enough

        def say(said: bytes) -> Path:
            threads.append(threading.Thread(target=answer, args=(said,)))
            threads[-1].start()
            return Path(folder)

        yield say
        for thread in threads:
            thread.join(30)


def reply(value: object) -> bytes:
    return protocol.frame(protocol.REPLY, json.dumps(value).encode())


def line(data: bytes) -> bytes:
    return protocol.frame(protocol.STDOUT, data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "dancing"},
        {"state": None},
        {"pid": -1},
        {"pid": "7"},
        {"pid": True},
        {"exit_code": 256},
        {"ready_ms": 1.5},
        {"ended_ms": 2**60},
        {"stop_reason": 7},
        {"problem": 7},
        {"stop_reason": "x" * 501},
        {"name": ["s"]},
    ],
    ids=json.dumps,
)
def test_facts_that_make_no_sense_are_refused(
    agent_that_says: Callable[[bytes], Path], wrong: dict[str, object]
) -> None:
    with pytest.raises(GuestLostError, match="not understood"):
        services.wait(agent_that_says(reply({**GOOD, **wrong})), "s", "r", within_seconds=30)


def test_of_words_that_are_too_many_the_first_are_taken(
    agent_that_says: Callable[[bytes], Path],
) -> None:
    """Or one service's would hide all the others."""
    said = reply({**GOOD, "problem": "x" * 499 + "\n" + "y" * 5000})

    facts = services.wait(agent_that_says(said), "s", "r", within_seconds=30)

    assert facts.problem == "x" * 499 + "?"


@pytest.mark.parametrize(
    "said",
    [
        line(b"{") + reply({}),
        line(b"[]\n") + reply({}),
        line(b"{}\n") + reply({}),
        line(json.dumps(GOOD).encode()) + reply({}),
        line((json.dumps(GOOD) + "\n").encode() * 300) + reply({}),
        line(b"x" * 65536) * 20 + reply({}),
        protocol.frame(protocol.REPLY, b"no json"),
        protocol.frame(protocol.EXIT, b"{}"),
        b"\xff" * 100,
        b"",
    ],
    ids=[str(number) for number in range(10)],
)
def test_a_list_that_makes_no_sense_is_refused(
    agent_that_says: Callable[[bytes], Path], said: bytes
) -> None:
    with pytest.raises(GuestLostError):
        services.list_all(agent_that_says(said))


def test_random_bytes_are_refused(agent_that_says: Callable[[bytes], Path]) -> None:
    for _ in range(20):
        with pytest.raises(GuestLostError):
            services.list_all(agent_that_says(os.urandom(2000)))


@pytest.mark.parametrize(
    "said",
    [b"", b"OK\n", b"OK x\n", b"NO\n", b"NO 1\n", b"YES 1\n", b"OK 1 2\n", b"OK 99999\n"],
    ids=repr,
)
def test_a_monitor_that_does_not_understand_publishes_nothing(
    agent_that_says: Callable[[bytes], Path], said: bytes
) -> None:
    with pytest.raises(GuestLostError, match="did not understand"):
        channel.publish(agent_that_says(said), "s", "r", [(0, 80)])
