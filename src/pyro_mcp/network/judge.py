"""The policy in force, with all that it needs to know: names given out, addresses of the host."""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING

from pyro_mcp.network.packets import ICMP, ICMPV6, TCP, UDP, Packet
from pyro_mcp.network.record import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.network.hosts import Hosts
    from pyro_mcp.network.policy import Policy, Verdict
    from pyro_mcp.network.ranges import Address

_PROTOCOLS = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMPV6: "icmp"}
_SHORTEST_SECONDS = 600.0
"""An answer counts at least that long: programs keep addresses longer than they should."""
_MOST_ADDRESSES = 4096
_MOST_NAMES = 64
"""Of one address: whoever owns a domain can make as many names for it as the guest asks for."""


class Judge:
    """Says of each packet that begins something whether it may."""

    def __init__(self, policy: Policy, hosts: Hosts) -> None:
        self._policy = policy
        self._hosts = hosts
        self._given: dict[Address, dict[str, float]] = {}
        self._on_change: list[Callable[[], None]] = []

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    def on_change(self, call: Callable[[], None]) -> None:
        """Call it after each change of the policy."""
        self._on_change.append(call)

    def change(self, policy: Policy) -> None:
        """Another policy from now on; what is under way is judged again."""
        self._policy = policy
        for call in self._on_change:
            call()

    def packet(self, packet: Packet) -> tuple[Verdict, Attempt]:
        """May the guest reach the packet's destination, and how that is recorded."""
        address = ipaddress.ip_address(packet.destination)
        return self.destination(
            _PROTOCOLS.get(packet.protocol, "other"), address, packet.destination_port
        )

    def destination(self, protocol: str, address: Address, port: int) -> tuple[Verdict, Attempt]:
        """As `packet`, for a protocol, an address and a port."""
        names = self.names(address)
        is_host = self._policy.outbound and self._hosts.is_host(address)
        verdict = self._policy.reaches(address, port, names=names, is_host=is_host)
        attempt = Attempt(
            protocol,
            names[0] if names else None,
            str(address),
            port if protocol in ("tcp", "udp") else None,
            "allowed" if verdict.allowed else "denied",
            verdict.rule,
            verdict.remedy,
        )
        return verdict, attempt

    def closes(self, address: Address) -> Verdict | None:
        """The verdict about an address that no allow list opens; None if it is no such."""
        return self._policy.closes(address, is_host=self._hosts.is_host(address))

    def names(self, address: Address) -> list[str]:
        """The names for which the guest was given this address, the latest first."""
        now = time.monotonic()
        given = self._given.get(address, {})
        return [name for name, until in reversed(given.items()) if until > now]

    def give(self, name: str, address: Address, ttl_seconds: float) -> bool:
        """Note an address that the guest is told for a name; False if it may not be told."""
        if self.closes(address) is not None:
            return False
        if len(self._given) >= _MOST_ADDRESSES and address not in self._given:
            self._given.pop(next(iter(self._given)))
        names = self._given.setdefault(address, {})
        names.pop(name, None)
        if len(names) >= _MOST_NAMES:
            del names[next(iter(names))]
        names[name] = time.monotonic() + max(ttl_seconds, _SHORTEST_SECONDS)
        return True
