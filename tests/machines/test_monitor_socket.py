"""The machine's socket: Firecracker's handshake, and nothing that a bad client could hold up."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pyro_mcp import protocol
from pyro_mcp.machines.machine import Machine
from tests.conftest import MachineFactory
from tests.support import until


@contextmanager
def client_of(machine: Machine) -> Iterator[socket.socket]:
    folder = os.open(machine.directory, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        try:
            client.connect(f"/proc/self/fd/{folder}/api.sock")
        finally:
            os.close(folder)
        yield client


def answer(client: socket.socket) -> bytes:
    """What comes until the other side closes or a line ends."""
    line = b""
    while not line.endswith(b"\n"):
        try:
            byte = client.recv(1)
        except ConnectionResetError:
            break
        if not byte:
            break
        line += byte
    return line


def test_connecting_to_the_agent_is_answered_with_its_port(shared_machine: Machine) -> None:
    with client_of(shared_machine) as client:
        client.sendall(b"CONNECT 1024\n")

        assert answer(client) == b"OK 1024\n"


def test_the_line_may_come_in_pieces_with_the_guests_bytes_right_behind(
    shared_machine: Machine,
) -> None:
    with client_of(shared_machine) as client:
        client.sendall(b"CONN")
        client.sendall(b"ECT 1024")
        client.sendall(
            b"\n" + protocol.preamble() + protocol.json_frame(protocol.REQUEST, {"op": "ping"})
        )

        assert answer(client) == b"OK 1024\n"
        assert client.recv(len(protocol.preamble()), socket.MSG_WAITALL) == protocol.preamble()


def test_a_port_nobody_listens_on_closes_the_connection(shared_machine: Machine) -> None:
    with client_of(shared_machine) as client:
        client.sendall(b"CONNECT 9999\n")

        assert answer(client) == b""


@pytest.mark.parametrize(
    "line",
    [
        *(b"\n", b"HELLO\n", b"CONNECT\n", b"CONNECT -1\n", b"CONNECT 4294967296\n", b"x" * 200),
        *(b"PUBLISH\n", b"PUBLISH s r\n", b"PUBLISH s r 80\n", b"PUBLISH s r 0:0\n"),
        *(b"PUBLISH s r 65536:80\n", b"PUBLISH s r \xff:80\n", b"PUBLISH " + b"x" * 2000),
    ],
)
def test_what_is_not_understood_closes_the_connection(shared_machine: Machine, line: bytes) -> None:
    with client_of(shared_machine) as client:
        client.sendall(line)

        assert answer(client) == b""


def test_clients_that_say_nothing_keep_nobody_waiting(shared_machine: Machine) -> None:
    with client_of(shared_machine), client_of(shared_machine) as half:
        half.sendall(b"CONN")

        assert shared_machine.execute("echo here", timeout_seconds=30).stdout.text() == "here\n"


def test_stop_ends_the_machine(machine_factory: MachineFactory) -> None:
    machine = machine_factory()

    with client_of(machine) as client:
        client.sendall(b"STOP\n")

        assert answer(client) == b"OK stop\n"
    until(lambda: not machine.running)


def test_another_version_of_the_protocol_is_refused_before_anything_else(
    shared_machine: Machine,
) -> None:
    other = protocol.PREAMBLE.pack(protocol.MAGIC, protocol.VERSION + 1, 0)
    with client_of(shared_machine) as client:
        client.sendall(b"CONNECT 1024\n")
        assert answer(client) == b"OK 1024\n"

        client.sendall(other + protocol.json_frame(protocol.REQUEST, {"op": "ping"}))

        assert client.recv(1000, socket.MSG_WAITALL) == protocol.preamble()
