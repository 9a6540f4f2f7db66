"""What a hostile agent says of its disk is bounded, and never believed where it makes no sense."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pyro_mcp import protocol
from pyro_mcp.errors import GuestLostError
from pyro_mcp.machines import channel
from pyro_mcp.machines.stillness import Record

DISK = (1 << 20) + 512
"""17 blocks of 64 KiB, the last one short."""
BLOCK = 64 << 10


Agent = Callable[..., Path]


@pytest.fixture
def agent_that_says() -> Iterator[Agent]:
    """Makes a machine's directory whose agent answers one request after another with these."""
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/{channel.API_SOCKET}")
        listener.listen(1)
        threads: list[threading.Thread] = []

        def answer(*answers: bytes) -> None:
            for said in answers:
                client, _ = listener.accept()
                with client:
                    client.recv(100)
                    client.sendall(b"OK 1024\n" + protocol.preamble())
                    client.recv(65536)
                    with contextlib.suppress(OSError):  # the host has heard enough
                        client.sendall(said)

        def say(*answers: bytes) -> Path:
            threads.append(threading.Thread(target=answer, args=answers))
            threads[-1].start()
            return Path(folder)

        yield say
        for thread in threads:
            thread.join(30)


def told(bits: bytes, end: object, *, kind: int = protocol.REPLY) -> bytes:
    """An answer with a map."""
    said = protocol.frame(protocol.STDOUT, bits) if bits else b""
    return said + protocol.frame(kind, json.dumps(end).encode())


def test_set_bits_are_stretches_and_end_with_the_disk(
    agent_that_says: Agent,
) -> None:
    # Blocks 0, 1, 7, 8 and 16; what lies behind the end means nothing.
    bits = bytes([0b10000011, 0b1, 0b11111111])
    home = agent_that_says(told(bits, {"block_bytes": BLOCK}))

    assert Record(home, DISK).written() == [
        (0, 2 * BLOCK),
        (7 * BLOCK, 9 * BLOCK),
        (16 * BLOCK, DISK),
    ]


@pytest.mark.parametrize("end", [{}, {"block_bytes": 0}])
def test_a_guest_without_a_record_says_so(agent_that_says: Agent, end: object) -> None:
    assert Record(agent_that_says(told(b"", end)), DISK).written() is None


def test_an_agent_of_an_earlier_version_is_asked_to_write_out_alone(
    agent_that_says: Agent,
) -> None:
    refusal = {"code": "bad_request", "message": "its op is 'written'"}
    home = agent_that_says(told(b"", refusal, kind=protocol.ERROR), told(b"", {}))

    assert Record.begin(home, DISK) is None


@pytest.mark.parametrize(
    ("bits", "end"),
    [
        (bytes(2), {"block_bytes": BLOCK}),
        (bytes(1000), {"block_bytes": BLOCK}),
        (bytes(3), {"block_bytes": 3 * BLOCK}),
        (bytes(3), {"block_bytes": 1}),
        (bytes(3), {"block_bytes": 1 << 40}),
        (bytes(3), {"block_bytes": -BLOCK}),
        (bytes(3), {"block_bytes": "64"}),
        (bytes(3), [BLOCK]),
    ],
    ids=["too short", "too long", "no power", "tiny", "huge", "negative", "text", "a list"],
)
def test_what_makes_no_sense_is_refused(agent_that_says: Agent, bits: bytes, end: object) -> None:
    with pytest.raises(GuestLostError):
        Record(agent_that_says(told(bits, end)), DISK).written()


def test_random_maps_stay_within_the_disk(agent_that_says: Agent) -> None:
    source = random.Random(1)
    for _ in range(50):
        bits = source.randbytes(source.choice((3, 20, 33)))
        block = source.choice((BLOCK, 2 * BLOCK))
        home = agent_that_says(told(bits, {"block_bytes": block}))
        written = Record(home, DISK).written()

        assert written is not None
        edges = [edge for stretch in written for edge in stretch]
        assert edges == sorted(edges)
        assert all(0 <= edge <= DISK for edge in edges)
