"""Which addresses are the host's own: its routing table knows, whatever its interfaces are."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from pyro_mcp.network import netlink
from pyro_mcp.network.netlink import Netlink, attribute

if TYPE_CHECKING:
    from pyro_mcp.network.ranges import Address

_GET_ROUTE, _ROUTE = 26, 24
_TYPE = 7
_OURS = frozenset((2, 3, 4, 5))  # RTN_LOCAL, BROADCAST, ANYCAST, MULTICAST


class Hosts:
    """Asks the routing table of the network namespace it was made in."""

    def __init__(self) -> None:
        self._netlink = Netlink(netlink.ROUTE)

    def is_host(self, address: Address) -> bool:
        """Whether a packet to that address would stay on this host, or go to all on its network."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        body = struct.pack("=BBBBBBBBI", family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
        try:
            kind, answer = self._netlink.ask(_GET_ROUTE, body + attribute(1, address.packed))
        except OSError:
            return False  # no way there: connecting says so
        return kind == _ROUTE and len(answer) > _TYPE and answer[_TYPE] in _OURS

    def close(self) -> None:
        """Give the socket back."""
        self._netlink.close()
