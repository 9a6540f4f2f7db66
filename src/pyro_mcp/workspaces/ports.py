"""Ports of this host that lead to a service: what may be asked for, and under which policy."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from pyro_mcp.errors import GuestLostError, GuestUnreachableError, InvalidInputError
from pyro_mcp.errors.services import NetworkPolicyError
from pyro_mcp.machines import channel
from pyro_mcp.results.services import PublishedPort

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

HOST = "127.0.0.1"
POLICIES = ("published-ports", "egress+published-ports")
"""Those under which ports can be published."""
_FIRST_HOST_PORT = 1025
_LAST_PORT = 65535
_MOST = 32


class PortPair(NamedTuple):
    """One port to publish; `host_port` None is the system's choice."""

    guest_port: int
    host_port: int | None


class PortTakenError(Exception):
    """One of the host ports cannot be had; the message says which and why."""


def clean_ports(given: Sequence[Mapping[str, Any]] | None) -> list[PortPair]:
    """Check a list of `{"guest_port", "host_port" (or null)}`.

    Raises:
        InvalidInputError: A port that is no number, out of range or named twice.
    """
    if given is None:
        return []
    if not isinstance(given, list | tuple) or not all(hasattr(one, "get") for one in given):
        raise InvalidInputError(
            "published_ports", "is not a list of objects",
            hint='Give for example [{"guest_port": 8000, "host_port": null}].',
        )  # fmt: skip
    if len(given) > _MOST:
        raise InvalidInputError(
            "published_ports", f"has {len(given)} entries", hint=f"Give at most {_MOST}."
        )
    pairs = [_pair(one) for one in given]
    for ports in ([pair.guest_port for pair in pairs], [pair.host_port for pair in pairs]):
        named = [port for port in ports if port is not None]
        if len(set(named)) < len(named):
            twice = next(port for port in named if named.count(port) > 1)
            raise InvalidInputError(
                "published_ports", f"names port {twice} twice", hint="Name each once."
            )
    return pairs


def allowed_by(policy: str) -> bool:
    """Whether a policy publishes ports."""
    return policy in POLICIES


def check_policy(policy: str, pairs: Sequence[PortPair]) -> None:
    """Refuse ports under a policy that publishes none."""
    if pairs and not allowed_by(policy):
        raise NetworkPolicyError("Publishing a port", policy=policy, needed=POLICIES)


def publish(home: Path, name: str, run: str, pairs: Sequence[PortPair]) -> list[int]:
    """Have the machine's monitor forward them as long as that service runs; all or none.

    Raises:
        PortTakenError: One cannot be had.
    """
    asked = [(pair.host_port or 0, pair.guest_port) for pair in pairs]
    answer = channel.publish(home, name, run, asked)
    if isinstance(answer, tuple):
        port, number = answer
        which = f"port {port} of this host" if port else "a free port of this host"
        raise PortTakenError(f"{which} cannot be had: {os.strerror(number)}")
    if len(answer) != len(asked):
        raise GuestLostError("its monitor published something else than was asked")
    return answer


def withdraw(home: Path) -> None:
    """Close those of a machine, if it runs, with the connections through them."""
    with contextlib.suppress(GuestUnreachableError):
        channel.unpublish(home)


def shown(pairs: Sequence[PortPair], host_ports: Sequence[int]) -> list[PublishedPort]:
    """As a result shows them."""
    return [
        PublishedPort(host=HOST, host_port=port, guest_port=pair.guest_port, protocol="tcp")
        for pair, port in zip(pairs, host_ports, strict=False)
    ]


def _pair(given: Mapping[str, Any]) -> PortPair:
    unknown = sorted(str(key) for key in given if key not in ("guest_port", "host_port"))
    if unknown:
        raise InvalidInputError(
            "published_ports", f"has an entry with {', '.join(unknown)}",
            hint="An entry has guest_port and host_port.",
        )  # fmt: skip
    guest = _number("guest_port", given.get("guest_port"), first=1)
    host = given.get("host_port")
    if host is None:
        return PortPair(guest, None)
    return PortPair(guest, _number("host_port", host, first=_FIRST_HOST_PORT))


def _number(which: str, value: object, *, first: int) -> int:
    free = ", or leave it out for a free one" if which == "host_port" else ""
    hint = f"Give a number from {first} to {_LAST_PORT}{free}."
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInputError(f"published_ports {which}", f"is {value!r}", hint=hint)
    if not first <= value <= _LAST_PORT:
        raise InvalidInputError(f"published_ports {which}", f"is {value}", hint=hint)
    return value
