"""Answers about networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyro_mcp.results.base import Result


@dataclass(frozen=True, kw_only=True)
class NetworkOff(Result):
    """A machine without a network."""

    vm_id: str
    reason: str
    network_enabled: bool = False
    outbound_connectivity_expected: bool = False


@dataclass(frozen=True, kw_only=True)
class NetworkOn(Result):
    """A machine with a network, whose far end is a namespace of its own."""

    vm_id: str
    tap_name: str
    """The link's end in that namespace; the host has no such interface."""
    guest_ip: str
    gateway_ip: str
    subnet_cidr: str
    mac_address: str
    dns_servers: list[str]
    outbound_connectivity_expected: bool
    network_enabled: bool = True
    guest_ip6: str | None = None
    """Extra."""
    network_allow: list[str] = field(default_factory=list)
    """Extra: all that it reaches, if not empty."""
    network_private: list[str] = field(default_factory=list)
    """Extra: closed ranges that are open to it."""


@dataclass(frozen=True, kw_only=True)
class NetworkLog(Result):
    """What a workspace reached and tried to reach, oldest first."""

    workspace_id: str
    count: int
    denied_count: int
    entries: list[dict[str, Any]]
    """See `network.record`; a denied one has a `message` as well."""
    network_learned: list[str]
    """The smallest allow list that covers all entries."""
