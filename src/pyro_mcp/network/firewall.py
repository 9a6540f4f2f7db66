"""The packet filter of a guest's namespace: a few rules that never change.

What a guest may reach is decided elsewhere, for each connection. These rules see to it that there
is no other way: a connection that the guest begins (SYN) goes no further than to the gateway's
eyes; one that the gateway lets in comes back through the second interface, and is given to the
gateway's listening socket whatever its destination; everything else but the packets of such
connections is dropped.

The rules are written in nf_tables' own messages (linux/netfilter/nf_tables.h): that needs no
program of the host.

    table inet pyro {
      chain in {
        type filter hook prerouting priority mangle; policy drop;
        iifname ENTRANCE meta l4proto tcp tproxy to :PORT accept
        iifname LINK meta l4proto tcp tcp flags & (fin|syn|rst|ack) == syn drop
        iifname LINK meta l4proto tcp accept
        iifname LINK meta l4proto icmpv6 icmpv6 type { 135, 136 } accept
      }
    }
"""

from __future__ import annotations

import struct

from pyro_mcp.network import netlink
from pyro_mcp.network.netlink import NESTED, Netlink, attribute, text

_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 3, 6
_UNSPECIFIED, _INET = 0, 1  # NFPROTO_…
_PREROUTING, _MANGLE = 0, -150
_DROP, _ACCEPT = 0, 1
_APPEND = 0x800

_TABLE, _CHAIN = "pyro", "in"
_REGISTER = 1
_META_IIFNAME, _META_L4PROTO = 6, 16
_TRANSPORT = 2
_TCP, _ICMPV6 = 6, 58
_FLAGS_OFFSET = 13
_NEW_CONNECTION_MASK, _NEW_CONNECTION = 0x17, 0x02
_NEIGHBOUR_TYPES = (135, 136)
_NAME_BYTES = 16


def install(*, link: str, entrance: str, port: int) -> None:
    """Set the rules up in the network namespace of this process.

    `link` is the interface towards the guest, `entrance` the one for connections that were let in,
    `port` where the gateway listens.
    """
    on_link, on_entrance = _interface(link), _interface(entrance)
    tcp = _meta(_META_L4PROTO, bytes((_TCP,)))
    new = [
        _payload(_FLAGS_OFFSET, 1),
        _bitwise(_NEW_CONNECTION_MASK),
        _equals(bytes((_NEW_CONNECTION,))),
    ]
    icmpv6 = _meta(_META_L4PROTO, bytes((_ICMPV6,)))
    rules = [
        [*on_entrance, *tcp, *_to_listener(port), _verdict(_ACCEPT)],
        [*on_link, *tcp, *new, _verdict(_DROP)],
        [*on_link, *tcp, _verdict(_ACCEPT)],
        *(
            [*on_link, *icmpv6, _payload(0, 1), _equals(bytes((kind,))), _verdict(_ACCEPT)]
            for kind in _NEIGHBOUR_TYPES
        ),
    ]
    hook = attribute(1, _big(_PREROUTING)) + attribute(2, struct.pack(">i", _MANGLE))
    chain = (
        text(1, _TABLE) + text(3, _CHAIN) + attribute(4 | NESTED, hook)
        + attribute(5, _big(_DROP)) + text(7, "filter")
    )  # fmt: skip
    steps = [(_NEW_TABLE, text(1, _TABLE)), (_NEW_CHAIN, chain)]
    for expressions in rules:
        body = text(1, _TABLE) + text(2, _CHAIN) + attribute(4 | NESTED, b"".join(expressions))
        steps.append((_NEW_RULE, body))
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
        channel.await_acks(len(steps), what="the packet filter (nf_tables with tproxy)")
    finally:
        channel.close()


def _batch(kind: int) -> bytes:
    head = struct.pack(">BBH", _UNSPECIFIED, 0, _SUBSYSTEM)
    return netlink.message(kind, netlink.REQUEST, 0, head)


def _interface(name: str) -> list[bytes]:
    return _meta(_META_IIFNAME, name.encode().ljust(_NAME_BYTES, b"\0"))


def _meta(key: int, value: bytes) -> list[bytes]:
    load = _expression("meta", attribute(1, _big(_REGISTER)) + attribute(2, _big(key)))
    return [load, _equals(value)]


def _payload(offset: int, length: int) -> bytes:
    content = (_REGISTER, _TRANSPORT, offset, length)
    return _expression("payload", b"".join(attribute(k, _big(v)) for k, v in enumerate(content, 1)))


def _bitwise(mask: int) -> bytes:
    content = b"".join(attribute(k, _big(v)) for k, v in enumerate((_REGISTER, _REGISTER, 1), 1))
    content += attribute(4 | NESTED, attribute(1, bytes((mask,))))
    return _expression("bitwise", content + attribute(5 | NESTED, attribute(1, b"\0")))


def _equals(value: bytes) -> bytes:
    content = attribute(1, _big(_REGISTER)) + attribute(2, _big(0))
    return _expression("cmp", content + attribute(3 | NESTED, attribute(1, value)))


def _to_listener(port: int) -> list[bytes]:
    value = attribute(2 | NESTED, attribute(1, struct.pack(">H", port)))
    load = _expression("immediate", attribute(1, _big(_REGISTER)) + value)
    return [
        load,
        _expression("tproxy", attribute(1, _big(_UNSPECIFIED)) + attribute(3, _big(_REGISTER))),
    ]


def _verdict(code: int) -> bytes:
    verdict = attribute(2 | NESTED, attribute(1, _big(code)))
    return _expression("immediate", attribute(1, _big(0)) + attribute(2 | NESTED, verdict))


def _expression(name: str, content: bytes) -> bytes:
    return attribute(1 | NESTED, text(1, name) + attribute(2 | NESTED, content))


def _big(value: int) -> bytes:
    return struct.pack(">I", value)
