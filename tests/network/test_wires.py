"""The host's end of a guest's interface, without a guest: what its kernel could do with it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from pyro_mcp import protocol
from pyro_mcp.machines.monitor.wire import Wire
from pyro_mcp.network import firewall, namespace
from tests.network.test_attacks import ACK, ask_for, tcp_frame

_SPOOFED_MAC = bytes.fromhex("02deadbeef01")


@pytest.fixture(params=firewall.STEERINGS)
def wires(request: pytest.FixtureRequest) -> Iterator[namespace.Wires]:
    """A guest's namespaces with nobody in the gateway's place."""
    made = namespace.make(None, (request.param,))
    yield made
    made.close()


def test_the_socket_for_later_leads_nowhere() -> None:
    with socket.socket(fileno=Wire.begin().take()) as wire:
        with pytest.raises(OSError, match=r"No such device") as told:
            wire.send(bytes(60))

        assert told.value.errno == errno.ENXIO
        # An address that names an interface has only the loopback to name, which is down.
        with pytest.raises(OSError, match=r"down|No such device"):
            wire.sendto(bytes(60), ("lo", 0x0800))


def test_the_socket_for_later_becomes_the_guests_end(wires: namespace.Wires) -> None:
    with socket.socket(fileno=Wire.begin().take()) as wire:
        made = namespace.make(wire, (wires.steering,))

        assert wire.getsockname()[0] == namespace.WIRE
        made.close()


def test_the_hosts_kernel_answers_no_question_of_a_guest_about_neighbours(
    wires: namespace.Wires,
) -> None:
    """It would remember who asked, in a table that the whole host shares."""
    for last in range(1, 250):
        wires.guest.send(ask_for(protocol.GATEWAY_IP, by=f"10.0.0.{last}", mac=_SPOOFED_MAC))
    wires.guest.send(tcp_frame(protocol.GUEST_IP, protocol.GATEWAY_IP, flags=ACK))

    kinds = set()
    while (frame := wires.guest.recv(65535))[12:14] != b"\x08\x00":
        kinds.add(frame[12:14])
    assert frame[14 + 9] == socket.IPPROTO_TCP
    assert b"\x08\x06" not in kinds


def test_the_hosts_kernel_hears_no_other_address_than_the_guests(wires: namespace.Wires) -> None:
    for source in ("10.0.0.1", "192.0.0.3", protocol.GATEWAY_IP, "127.0.0.1"):
        wires.guest.send(tcp_frame(source, protocol.GATEWAY_IP, flags=ACK))
    wires.guest.send(tcp_frame(protocol.GUEST_IP, protocol.GATEWAY_IP, flags=ACK))

    while (frame := wires.guest.recv(65535))[12:14] != b"\x08\x00":
        continue
    assert frame[14 + 16 : 14 + 20] == socket.inet_aton(protocol.GUEST_IP)
