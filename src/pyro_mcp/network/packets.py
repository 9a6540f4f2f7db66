"""Frames as the gateway reads and makes them: Ethernet, IPv4 and IPv6, TCP, UDP, ICMP.

What the guest sent is hostile: `parse` gives None for all that is not whole.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from pyro_mcp import protocol

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
_IPV4, _IPV6, _ARP = 0x0800, 0x86DD, 0x0806
_ARP_QUESTION, _ARP_ANSWER = bytes.fromhex("0001080006040001"), bytes.fromhex("0001080006040002")
_SOLICITATION, _ADVERTISEMENT, _ITS_MAC = 135, 136, 2
_SOLICITED_OVERRIDE = 0x60000000
_GATEWAY = {
    4: socket.inet_pton(socket.AF_INET, protocol.GATEWAY_IP),
    6: socket.inet_pton(socket.AF_INET6, protocol.GATEWAY_IP6),
}
_ETHERNET_BYTES, _IPV6_BYTES, _UDP_BYTES, _TCP_BYTES = 14, 40, 8, 20
_TTL, _NEIGHBOURS_HOPS = 64, 255
_RESET_AND_ACK = 0x14
_ERRORS = frozenset(bytes((kind,)) for kind in (3, 4, 5, 11, 12))
"""Of ICMP; of ICMPv6 all types below 128 are."""
_QUOTED = 520
"""How much of a refused packet an ICMP error gives back."""


class Packet(NamedTuple):
    """One IP packet from the guest."""

    version: int
    protocol: int
    source: bytes
    destination: bytes
    source_port: int
    """0 where there are no ports, like the other one."""
    destination_port: int
    sequence: int
    """Of TCP."""
    payload: bytes
    """Of UDP."""
    quoted: bytes
    """The beginning of the IP packet."""


def parse(frame: bytes) -> Packet | None:
    """Read a frame; None if it is no whole IP packet."""
    kind = int.from_bytes(frame[12:14], "big")
    ip = frame[_ETHERNET_BYTES:]
    if kind == _IPV4 and len(ip) >= 20 and ip[0] >> 4 == 4:
        header = (ip[0] & 15) * 4
        total = int.from_bytes(ip[2:4], "big")
        if not 20 <= header <= total <= len(ip):
            return None
        fragment = int.from_bytes(ip[6:8], "big") & 0x3FFF
        number = 255 if fragment else ip[9]  # parts have no ports: nothing passes in parts
        return _with_ports(4, number, ip[12:16], ip[16:20], ip[header:total], ip[:_QUOTED])
    if kind == _IPV6 and len(ip) >= _IPV6_BYTES and ip[0] >> 4 == 6:
        end = _IPV6_BYTES + int.from_bytes(ip[4:6], "big")
        if end > len(ip):
            return None
        return _with_ports(6, ip[6], ip[8:24], ip[24:40], ip[_IPV6_BYTES:end], ip[:_QUOTED])
    return None


def _with_ports(
    version: int, number: int, source: bytes, destination: bytes, content: bytes, quoted: bytes
) -> Packet | None:
    ports, sequence, payload = (0, 0), 0, b""
    if number == TCP:
        if len(content) < _TCP_BYTES:
            return None
        ports = struct.unpack_from(">HH", content)
        sequence = int.from_bytes(content[4:8], "big")
    elif number == UDP:
        if len(content) < _UDP_BYTES:
            return None
        *ports_, length, _ = struct.unpack_from(">HHHH", content)
        if not _UDP_BYTES <= length <= len(content):
            return None
        ports = (ports_[0], ports_[1])
        payload = content[_UDP_BYTES:length]
    return Packet(version, number, source, destination, *ports, sequence, payload, quoted)


def neighbour(frame: bytes, gateway_mac: bytes) -> bytes | None:
    """The answer to a question for the gateway's hardware address (RFC 826, RFC 4861).

    Empty for one that gets none, None for any other frame; nothing is learned from the question.
    """
    kind, content = int.from_bytes(frame[12:14], "big"), frame[_ETHERNET_BYTES:]
    if kind == _ARP:
        if content[:8] != _ARP_QUESTION or content[24:28] != _GATEWAY[4]:
            return b""
        answer = _ARP_ANSWER + gateway_mac + _GATEWAY[4] + content[8:18]
        return frame[6:12] + gateway_mac + _ARP.to_bytes(2, "big") + answer
    message = content[_IPV6_BYTES:]
    if kind != _IPV6 or content[6:7] != bytes((ICMPV6,)) or message[:1] != bytes((_SOLICITATION,)):
        return None
    packet = parse(frame)
    if packet is None or not any(packet.source) or message[8:24] != _GATEWAY[6]:
        return b""
    head = struct.pack(">BBHI", _ADVERTISEMENT, 0, 0, _SOLICITED_OVERRIDE)
    answer = head + _GATEWAY[6] + bytes((_ITS_MAC, 1)) + gateway_mac
    told = packet._replace(destination=_GATEWAY[6])
    answer = _with_checksum(answer, 2, _pseudo(told, ICMPV6, len(answer)))
    return _frame(told, ICMPV6, answer, gateway_mac, hops=_NEIGHBOURS_HOPS)


def refusal(packet: Packet, gateway_mac: bytes) -> bytes | None:
    """The frame that tells the guest at once: a reset for TCP, else "administratively prohibited".

    None where nobody would read it.
    """
    if packet.protocol == TCP:
        acknowledged = (packet.sequence + 1) & 0xFFFFFFFF
        ports = struct.pack(">HH", packet.destination_port, packet.source_port)
        segment = ports + struct.pack(">IIBBHHH", 0, acknowledged, 5 << 4, _RESET_AND_ACK, 0, 0, 0)
        segment = _with_checksum(segment, 16, _pseudo(packet, TCP, len(segment)))
        return _frame(packet, TCP, segment, gateway_mac)
    return unreachable(packet, gateway_mac, prohibited=True)


def is_error(packet: Packet) -> bool:
    """Whether it is an ICMP error, about something that the guest was sent."""
    if packet.protocol == ICMP and packet.version == 4:
        header = (packet.quoted[0] & 15) * 4
        return packet.quoted[header : header + 1] in _ERRORS
    kind = packet.quoted[_IPV6_BYTES : _IPV6_BYTES + 1]
    return packet.protocol == ICMPV6 and packet.version == 6 and bytes(1) <= kind < b"\x80"


def unreachable(packet: Packet, gateway_mac: bytes, *, prohibited: bool = False) -> bytes | None:
    """The ICMP error for a packet: its host is not there, or not to be reached.

    For UDP that nobody listens there: Linux keeps the other to itself, and a program would wait.
    """
    multicast = 224 if packet.version == 4 else 255
    if packet.destination[0] >= multicast:
        return None  # no errors about multicast
    is_udp = packet.protocol == UDP
    if packet.version == 4:
        head = struct.pack(">BBHI", 3, 13 if prohibited else 3 if is_udp else 1, 0, 0)
        content = _with_checksum(head + packet.quoted, 2, b"")
        return _frame(packet, ICMP, content, gateway_mac)
    head = struct.pack(">BBHI", 1, 1 if prohibited else 4 if is_udp else 0, 0, 0)
    content = head + packet.quoted
    content = _with_checksum(content, 2, _pseudo(packet, ICMPV6, len(content)))
    return _frame(packet, ICMPV6, content, gateway_mac)


def datagram(packet: Packet, payload: bytes, gateway_mac: bytes) -> bytes | None:
    """An answer to a UDP packet; None if it does not fit the link."""
    length = _UDP_BYTES + len(payload)
    if length + _IPV6_BYTES > protocol.MTU:
        return None
    head = struct.pack(">HHHH", packet.destination_port, packet.source_port, length, 0)
    content = head + payload
    if packet.version == 6:  # in IPv4 it may be left out, and nothing on the way flips bits
        content = _with_checksum(content, 6, _pseudo(packet, UDP, length), never_zero=True)
    return _frame(packet, UDP, content, gateway_mac)


def _frame(
    packet: Packet, number: int, content: bytes, gateway_mac: bytes, hops: int = _TTL
) -> bytes:
    """`content` from the packet's destination to its source."""
    if packet.version == 4:
        total = 20 + len(content)
        head = struct.pack(">BBHHHBBH", 0x45, 0, total, 0, 0x4000, _TTL, number, 0)
        header = _with_checksum(head + packet.destination + packet.source, 10, b"")
        kind = _IPV4
    else:
        head = struct.pack(">IHBB", 6 << 28, len(content), number, hops)
        header = head + packet.destination + packet.source
        kind = _IPV6
    return protocol.GUEST_MAC + gateway_mac + kind.to_bytes(2, "big") + header + content


def _pseudo(packet: Packet, number: int, length: int) -> bytes:
    if packet.version == 4:
        return packet.destination + packet.source + struct.pack(">BBH", 0, number, length)
    return packet.destination + packet.source + struct.pack(">II", length, number)


def _with_checksum(content: bytes, at: int, pseudo: bytes, *, never_zero: bool = False) -> bytes:
    summed = pseudo + content + bytes((len(pseudo) + len(content)) % 2)
    total: int = sum(struct.unpack(f">{len(summed) // 2}H", summed))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    checksum = ~total & 0xFFFF
    if never_zero and checksum == 0:
        checksum = 0xFFFF
    return content[:at] + checksum.to_bytes(2, "big") + content[at + 2 :]
