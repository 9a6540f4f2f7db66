"""A hostile root of a guest with a network: frames of any kind, spoofed, and many of them."""

from __future__ import annotations

import struct

from pyro_mcp import protocol
from tests.network.conftest import Guest
from tests.network.test_reach import REFUSED
from tests.support.internet import OTHER_WEB, PRIVATE, SILENT, WEB

_GATEWAY_MAC = bytes.fromhex("020000000001")
_SPOOFED_MAC = bytes.fromhex("02deadbeef01")


def _tcp(source: str, destination: str, *, flags: int, mac: bytes = protocol.GUEST_MAC) -> str:
    return tcp_frame(source, destination, flags=flags, mac=mac).hex()


def tcp_frame(
    source: str, destination: str, *, flags: int, mac: bytes = protocol.GUEST_MAC
) -> bytes:
    """A TCP segment with right checksums."""
    addresses = _packed(source) + _packed(destination)
    segment = struct.pack(">HHIIBBHHH", 4321, 80, 7, 9, 5 << 4, flags, 8192, 0, 0)
    checksum = _sum(addresses + struct.pack(">BBH", 0, 6, len(segment)) + segment)
    segment = segment[:16] + checksum + segment[18:]
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, 6, 0) + addresses
    header = header[:10] + _sum(header) + header[12:]
    return _GATEWAY_MAC + mac + b"\x08\x00" + header + segment


def ask_for(address: str, *, by: str, mac: bytes) -> bytes:
    """The question where an address is."""
    body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + mac + _packed(by) + bytes(6)
    return b"\xff" * 6 + mac + b"\x08\x06" + body + _packed(address)


def _arp(claimed: str, mac: bytes) -> str:
    """The claim that `claimed` is at `mac`."""
    body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 2) + mac + _packed(claimed) + bytes(6)
    return (b"\xff" * 6 + mac + b"\x08\x06" + body + _packed(protocol.GATEWAY_IP)).hex()


def _packed(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


def _sum(data: bytes) -> bytes:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)


SYN, ACK, PUSH_ACK, RESET, FIN_SYN = 0x02, 0x10, 0x18, 0x04, 0x03


def test_frames_of_any_kind_reach_nobody(egress: Guest) -> None:
    """Handmade segments, of an own and of other addresses, to the outside and the gateway."""
    before = len(egress.world.seen("web"))
    frames = [
        _tcp(source, destination, flags=flags, mac=mac)
        for source in (protocol.GUEST_IP, "192.0.0.3", WEB, "127.0.0.1", protocol.GATEWAY_IP)
        for destination in (PRIVATE, protocol.GATEWAY_IP, "127.0.0.1", "10.9.0.2")
        for flags in (SYN, ACK, PUSH_ACK, RESET, FIN_SYN)
        for mac in (protocol.GUEST_MAC, _SPOOFED_MAC)
    ]

    answers = egress.tries(*(("frame", one) for one in frames), ("web", WEB), ("tcp", PRIVATE))

    assert answers[-2:] == [WEB, REFUSED]
    assert [seen["asked"] for seen in egress.world.seen("web")[before:]] == [WEB]


def test_frames_that_are_no_packets_do_no_harm(egress: Guest) -> None:
    whole = _tcp(protocol.GUEST_IP, WEB, flags=SYN)
    cut = [whole[: 2 * length] for length in range(14, 54, 3)]
    fragments = [whole[:40] + "2000" + whole[44:], whole[:40] + "0001" + whole[44:]]
    odd = [
        _GATEWAY_MAC.hex() + protocol.GUEST_MAC.hex() + rest
        for rest in (
            "0800" + "ff" * 60,
            "86dd" + "60" + "ff" * 60,
            "8100" + "00" * 60,
            "0800" + "45",
        )
    ]

    answers = egress.tries(*(("frame", one) for one in (*cut, *fragments, *odd)), ("web", WEB))

    assert answers[-1] == WEB


def test_claims_about_addresses_change_nothing(egress: Guest) -> None:
    claims = [
        ("frame", _arp(address, _SPOOFED_MAC), 20)
        for address in (protocol.GUEST_IP, protocol.GATEWAY_IP, WEB, "10.9.0.2")
    ]

    assert egress.tries(*claims, ("web", WEB), ("tcp", PRIVATE))[-2:] == [WEB, REFUSED]


def test_many_connections_neither_end_the_gateway_nor_open_anything(egress: Guest) -> None:
    results = egress.tries(("many", PRIVATE, 1500), ("many", WEB, 300), ("web", OTHER_WEB))

    assert results == [{REFUSED: 1500}, {"connected": 300}, OTHER_WEB]


def test_connections_that_nobody_answers_leave_room_for_others(egress: Guest) -> None:
    assert egress.tries(("unanswered", SILENT, 700), ("web", WEB)) == [700, WEB]


def test_connections_to_the_resolver_that_ask_nothing_are_few(egress: Guest) -> None:
    """What each has sent would lie in the host's memory."""
    held, name = egress.tries(("held", protocol.GATEWAY_IP, 300), ("names", "b.test"))

    assert 1 <= held <= 64
    assert OTHER_WEB in name


def test_a_flood_of_connection_requests_leaves_the_gateway_answering(egress: Guest) -> None:
    answers = egress.tries(
        ("frame", _tcp(protocol.GUEST_IP, WEB, flags=SYN), 3000),
        ("frame", _tcp(protocol.GUEST_IP, PRIVATE, flags=SYN), 3000),
        ("web", WEB),
    )

    assert answers[-1] == WEB
