"""The host's end of a guest's interface, without a guest: what its kernel could do with it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from pyro_mcp import protocol
from pyro_mcp.machines.monitor.wire import Wire
from pyro_mcp.network import firewall, namespace, relay
from tests.network.test_attacks import ACK, ask_for, tcp_frame

# From linux/sockios.h and linux/nsfs.h.
_NAMESPACE_OF_SOCKET, _OWNER_OF_NAMESPACE = 0x894C, 0xB701
_SPOOFED_MAC = bytes.fromhex("02deadbeef01")


@pytest.fixture(params=firewall.STEERINGS)
def wires(request: pytest.FixtureRequest) -> Iterator[namespace.Wires]:
    """A guest's namespaces with nobody in the gateway's place."""
    made = namespace.make(None, (request.param,))
    made.guest.settimeout(30)
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
    known = _read_inside(wires, "/proc/net/arp").splitlines()[1:]
    assert [line.split()[0] for line in known] == [protocol.GUEST_IP]


def test_the_hosts_kernel_hears_no_other_address_than_the_guests(wires: namespace.Wires) -> None:
    for source in ("10.0.0.1", "192.0.0.3", protocol.GATEWAY_IP, "127.0.0.1"):
        wires.guest.send(tcp_frame(source, protocol.GATEWAY_IP, flags=ACK))
    wires.guest.send(tcp_frame(protocol.GUEST_IP, protocol.GATEWAY_IP, flags=ACK))

    while (frame := wires.guest.recv(65535))[12:14] != b"\x08\x00":
        continue
    assert frame[14 + 16 : 14 + 20] == socket.inet_aton(protocol.GUEST_IP)


def test_the_hosts_kernel_keeps_nothing_of_segments_of_no_connection(
    wires: namespace.Wires,
) -> None:
    """Where it tracks connections, a guest could fill the table."""
    for last in range(1, 250):
        wires.guest.send(tcp_frame(protocol.GUEST_IP, f"203.0.113.{last}", flags=ACK))
    wires.guest.send(tcp_frame(protocol.GUEST_IP, protocol.GATEWAY_IP, flags=ACK))

    while wires.guest.recv(65535)[12:14] != b"\x08\x00":
        continue  # until the last one is answered
    if wires.steering == firewall.REDIRECT:
        assert int(_read_inside(wires, "/proc/sys/net/netfilter/nf_conntrack_count")) == 0


@pytest.mark.parametrize("live", [0, 8, 300])
def test_many_connections_of_a_guest_get_small_buffers(live: int) -> None:
    with socket.socket() as sock:
        untouched = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        relay.bound(sock, live)
        # The kernel doubles what is asked for.
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == {
            0: untouched, 8: 256 * 1024, 300: 64 * 1024,
        }[live]  # fmt: skip


def _read_inside(wires: namespace.Wires, path: str) -> str:
    """A file of `/proc` as a process in the gateway's namespace sees it."""
    network = fcntl.ioctl(wires.link, _NAMESPACE_OF_SOCKET)
    owner = fcntl.ioctl(network, _OWNER_OF_NAMESPACE)
    inside = [f"--net=/proc/self/fd/{network}", f"--user=/proc/self/fd/{owner}"]
    try:
        return subprocess.run(
            ["nsenter", *inside, "--preserve-credentials", "cat", path],
            capture_output=True, text=True, check=True, pass_fds=(network, owner),
        ).stdout  # fmt: skip
    finally:
        os.close(network)
        os.close(owner)
