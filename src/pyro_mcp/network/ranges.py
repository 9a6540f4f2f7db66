"""Addresses that are not of the public network: IANA's special-purpose registries, sorted by what
a guest could do with them.
"""

from __future__ import annotations

import ipaddress

from pyro_mcp import protocol

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _table(*lines: tuple[str, str]) -> tuple[tuple[Network, str], ...]:
    return tuple((ipaddress.ip_network(network), what) for network, what in lines)


NEVER = _table(
    ("0.0.0.0/8", "unspecified addresses"),
    ("127.0.0.0/8", "loopback addresses"),
    ("224.0.0.0/4", "multicast addresses"),
    ("240.0.0.0/4", "reserved and broadcast addresses"),
    (protocol.LINK_NETWORK, "the guest's own link"),
    ("::/96", "unspecified, loopback and IPv4-compatible addresses"),
    # The same host as an IPv4 address, in other clothes: what is closed there would be open here.
    ("::ffff:0:0/96", "IPv4-mapped addresses"),
    ("64:ff9b::/96", "addresses translated to IPv4"),
    ("64:ff9b:1::/48", "addresses translated to IPv4"),
    ("2001::/32", "tunnels to IPv4 (Teredo)"),
    ("2002::/16", "tunnels to IPv4 (6to4)"),
    ("ff00::/8", "multicast addresses"),
    (protocol.LINK_NETWORK6, "the guest's own link"),
)
"""What no flag opens."""

CLOSED = _table(
    ("10.0.0.0/8", "private addresses"),
    ("100.64.0.0/10", "addresses shared by carriers"),
    ("169.254.0.0/16", "link-local addresses and metadata services"),
    ("172.16.0.0/12", "private addresses"),
    ("192.0.0.0/24", "protocol assignments"),
    ("192.168.0.0/16", "private addresses"),
    ("198.18.0.0/15", "benchmarking addresses"),
    ("100::/64", "discarded addresses"),
    ("fc00::/7", "private addresses and metadata services"),
    ("fe80::/10", "link-local addresses"),
    ("fec0::/10", "site-local addresses"),
)
"""What is reached only where a policy names it."""
