"""The packet filter of a guest's namespace: a few rules that never change.

What a guest may reach is decided elsewhere, for each connection. These rules see to it that there
is no other way: a connection that the guest begins (SYN) goes no further than to the gateway's
eyes; one that the gateway lets in comes back through the second interface, and is given to the
gateway's listening socket whatever its destination; everything else but the packets of such
connections is dropped.

A kernel that can do so hands the connection to the socket as it is (`tproxy`); any other writes
the socket's address into its packets, and takes it out of the answers (`redirect`, which is what
every host with containers can do). The listener sees the same either way.

The rules are written in nf_tables' own messages (linux/netfilter/nf_tables.h): that needs no
program of the host.

    table inet pyro {
      chain in {
        type filter hook prerouting priority mangle; policy drop;      redirect: priority raw
        iifname ENTRANCE meta l4proto tcp tproxy to :PORT accept       redirect: without tproxy
        iifname LINK meta l4proto tcp tcp flags & (fin|syn|rst|ack) == syn drop
        iifname LINK meta l4proto tcp ip saddr GUEST accept
        iifname LINK meta l4proto tcp ip6 saddr GUEST accept
      }
      chain to {                                                       redirect only
        type nat hook prerouting priority dstnat; policy accept;
        iifname ENTRANCE meta l4proto tcp dnat ip to GATEWAY:PORT
        iifname ENTRANCE meta l4proto tcp dnat ip6 to GATEWAY:PORT
      }
    }
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from pyro_mcp import protocol
from pyro_mcp.network import netlink
from pyro_mcp.network.netlink import NESTED, Netlink, attribute, text

TPROXY, REDIRECT = "tproxy", "redirect"
STEERINGS = (TPROXY, REDIRECT)
"""How a connection comes to the gateway's listener, best first."""

_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 3, 6
_UNSPECIFIED, _INET, _IPV4, _IPV6 = 0, 1, 2, 10  # NFPROTO_…
_PREROUTING = 0
_RAW, _MANGLE, _DESTINATION = -300, -150, -100
_DROP, _ACCEPT = 0, 1
_APPEND = 0x800

_TABLE, _CHAIN, _CHANGES = "pyro", "in", "to"
_REGISTER, _SECOND_REGISTER = 1, 2
_META_IIFNAME, _META_FAMILY, _META_L4PROTO = 6, 15, 16
_NETWORK, _TRANSPORT = 1, 2
_TCP = 6
_FLAGS_OFFSET = 13
_NEW_CONNECTION_MASK, _NEW_CONNECTION = 0x17, 0x02
_CHANGE_DESTINATION = 1
_NAME_BYTES = 16
_GUESTS = (
    (_IPV4, 12, socket.inet_pton(socket.AF_INET, protocol.GUEST_IP)),
    (_IPV6, 8, socket.inet_pton(socket.AF_INET6, protocol.GUEST_IP6)),
)
_GATEWAYS = (
    (_IPV4, socket.inet_pton(socket.AF_INET, protocol.GATEWAY_IP)),
    (_IPV6, socket.inet_pton(socket.AF_INET6, protocol.GATEWAY_IP6)),
)
_TRACKING = Path("/proc/sys/net/netfilter")

_Step = tuple[int, bytes]


def install(steering: str, *, link: str, entrance: str, port: int, ip6: bool) -> None:
    """Set the rules up in the network namespace of this process.

    `steering` is REDIRECT, or the name of an expression with the arguments of tproxy; `link` is the
    interface towards the guest, `entrance` the one for connections that were let in,
    `port` where the gateway listens, on all addresses, of IPv6 as well if `ip6`.

    Raises:
        OSError: This host's kernel cannot; nothing was set up.
    """
    on_link, on_entrance = _interface(link), _interface(entrance)
    tcp = _meta(_META_L4PROTO, bytes((_TCP,)))
    new = [
        _payload(_TRANSPORT, _FLAGS_OFFSET, 1),
        _bitwise(_NEW_CONNECTION_MASK),
        _equals(bytes((_NEW_CONNECTION,))),
    ]
    taken = [] if steering == REDIRECT else _to_listener(steering, port)
    rules = [
        [*on_entrance, *tcp, *taken, _verdict(_ACCEPT)],
        [*on_link, *tcp, *new, _verdict(_DROP)],
        *(
            [*on_link, *tcp, *_family(family), *_source(offset, guest), _verdict(_ACCEPT)]
            for family, offset, guest in _GUESTS
        ),
    ]
    # Before connections are tracked, so that only those that may be are.
    priority = _RAW if steering == REDIRECT else _MANGLE
    steps = [(_NEW_TABLE, text(1, _TABLE)), *_chain(_CHAIN, "filter", priority, _DROP, rules)]
    if steering == REDIRECT:
        changes = [
            [*on_entrance, *tcp, *_family(family), *_to_address(family, gateway, port)]
            for family, gateway in _GATEWAYS
            if ip6 or family == _IPV4
        ]
        steps += _chain(_CHANGES, "nat", _DESTINATION, _ACCEPT, changes)
    _commit(steps, what=f"the packet filter (nf_tables with {steering})")
    if steering == REDIRECT:
        _track_less()


def _chain(
    name: str, kind: str, priority: int, policy: int, rules: list[list[bytes]]
) -> list[_Step]:
    hook = attribute(1, _big(_PREROUTING)) + attribute(2, struct.pack(">i", priority))
    chain = (
        text(1, _TABLE) + text(3, name) + attribute(4 | NESTED, hook)
        + attribute(5, _big(policy)) + text(7, kind)
    )  # fmt: skip
    of_chain = text(1, _TABLE) + text(2, name)
    made = [
        (_NEW_RULE, of_chain + attribute(4 | NESTED, b"".join(expressions)))
        for expressions in rules
    ]
    return [(_NEW_CHAIN, chain), *made]


def _commit(steps: list[_Step], *, what: str) -> None:
    """All of it or nothing."""
    batch = [_batch(_BATCH_BEGIN)]
    for index, (kind, body) in enumerate(steps, 1):
        flags = netlink.REQUEST | netlink.ACK | netlink.CREATE
        flags |= _APPEND if kind == _NEW_RULE else 0
        head = struct.pack(">BBH", _INET, 0, 0)
        batch.append(netlink.message(_SUBSYSTEM << 8 | kind, flags, index, head + body))
    batch.append(_batch(_BATCH_END))
    channel = Netlink(netlink.NETFILTER)
    try:
        channel.send(b"".join(batch))
        channel.await_acks(len(steps), what=what)
    finally:
        channel.close()


def _track_less() -> None:
    """Segments of no connection begin none, and a window that looks odd cuts none.

    Where this may not be said, a guest can fill the table of connections of its own namespace.
    """
    for name, value in (("nf_conntrack_tcp_loose", "0"), ("nf_conntrack_tcp_be_liberal", "1")):
        try:
            (_TRACKING / name).write_text(value)
        except OSError:
            continue


def _batch(kind: int) -> bytes:
    head = struct.pack(">BBH", _UNSPECIFIED, 0, _SUBSYSTEM)
    return netlink.message(kind, netlink.REQUEST, 0, head)


def _interface(name: str) -> list[bytes]:
    return _meta(_META_IIFNAME, name.encode().ljust(_NAME_BYTES, b"\0"))


def _family(number: int) -> list[bytes]:
    return _meta(_META_FAMILY, bytes((number,)))


def _meta(key: int, value: bytes) -> list[bytes]:
    load = _expression("meta", attribute(1, _big(_REGISTER)) + attribute(2, _big(key)))
    return [load, _equals(value)]


def _source(offset: int, address: bytes) -> list[bytes]:
    return [_payload(_NETWORK, offset, len(address)), _equals(address)]


def _payload(base: int, offset: int, length: int) -> bytes:
    content = (_REGISTER, base, offset, length)
    return _expression("payload", b"".join(attribute(k, _big(v)) for k, v in enumerate(content, 1)))


def _bitwise(mask: int) -> bytes:
    content = b"".join(attribute(k, _big(v)) for k, v in enumerate((_REGISTER, _REGISTER, 1), 1))
    content += attribute(4 | NESTED, attribute(1, bytes((mask,))))
    return _expression("bitwise", content + attribute(5 | NESTED, attribute(1, b"\0")))


def _equals(value: bytes) -> bytes:
    content = attribute(1, _big(_REGISTER)) + attribute(2, _big(0))
    return _expression("cmp", content + attribute(3 | NESTED, attribute(1, value)))


def _to_listener(expression: str, port: int) -> list[bytes]:
    taken = attribute(1, _big(_UNSPECIFIED)) + attribute(3, _big(_REGISTER))
    return [_load(_REGISTER, struct.pack(">H", port)), _expression(expression, taken)]


def _to_address(family: int, address: bytes, port: int) -> list[bytes]:
    changed = (_CHANGE_DESTINATION, family, _REGISTER, None, _SECOND_REGISTER)
    content = b"".join(attribute(k, _big(v)) for k, v in enumerate(changed, 1) if v is not None)
    return [
        _load(_REGISTER, address),
        _load(_SECOND_REGISTER, struct.pack(">H", port)),
        _expression("nat", content),
    ]


def _load(register: int, value: bytes) -> bytes:
    data = attribute(2 | NESTED, attribute(1, value))
    return _expression("immediate", attribute(1, _big(register)) + data)


def _verdict(code: int) -> bytes:
    verdict = attribute(2 | NESTED, attribute(1, _big(code)))
    return _expression("immediate", attribute(1, _big(0)) + attribute(2 | NESTED, verdict))


def _expression(name: str, content: bytes) -> bytes:
    return attribute(1 | NESTED, text(1, name) + attribute(2 | NESTED, content))


def _big(value: int) -> bytes:
    return struct.pack(">I", value)
