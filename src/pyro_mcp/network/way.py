"""A guest's way out, as the data from which the monitor makes it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pyro_mcp.config import DNS_VARIABLE, STEERING_VARIABLE
from pyro_mcp.errors import BrokenInstallError, InvalidInputError
from pyro_mcp.network import firewall

if TYPE_CHECKING:
    from pyro_mcp.network.inherit import Inherited
    from pyro_mcp.network.policy import Policy

_RESOLV_CONF = Path("/etc/resolv.conf")
_DNS_PORT = 53


class Way(NamedTuple):
    """What a guest with a network is started with."""

    launch: dict[str, Any]
    """For the gateway."""
    inherited: Inherited | None
    """For the guest."""


def plan(
    policy: Policy, *, resolvers: str | None, steering: str | None = None, inherit: bool = False
) -> Way | None:
    """What the gateway needs to know; None where there is nothing to reach.

    `inherit` takes over the host's proxies, package indexes and certificates. `resolvers` replaces
    what the host's /etc/resolv.conf names: addresses with spaces between them, each with an
    optional port (`127.0.0.1:5353`, `[::1]:53`). `steering` is one of `firewall.STEERINGS`, None:
    the best that this host's kernel can.

    Raises:
        InvalidInputError: `resolvers` names no address, or `steering` no way.
        BrokenInstallError: The DNS library is not there.
    """
    if not policy.outbound:
        return None
    found = importlib.util.find_spec("dns")
    if found is None or found.origin is None:
        raise BrokenInstallError(ModuleNotFoundError("No module named 'dns' (dnspython)"))
    inherited = None
    if inherit:
        from pyro_mcp.network import inherit as inheriting  # few guests do

        inherited = inheriting.from_host()
        policy = inheriting.widened(policy, inherited)
    launch = {
        "policy": policy.to_wire(),
        "resolvers": servers(resolvers),
        "packages": str(Path(found.origin).parents[1]),
        "steerings": steerings(steering),
    }
    return Way(launch, inherited)


def steerings(named: str | None) -> list[str]:
    """The ways to try, best first: the one that is named, or all."""
    if named and named not in firewall.STEERINGS:
        raise InvalidInputError(
            STEERING_VARIABLE, f"is {named!r}", hint=f"Known: {', '.join(firewall.STEERINGS)}."
        )
    return [named] if named else list(firewall.STEERINGS)


def servers(text: str | None) -> list[tuple[str, int]]:
    """Address and port of each resolver that is asked; those of the host if none is named."""
    return _named(text) if text else _of_the_host()


def _of_the_host() -> list[tuple[str, int]]:
    try:
        lines = _RESOLV_CONF.read_text(errors="replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return [(w[1].partition("%")[0], _DNS_PORT) for w in words if w[:1] == ["nameserver"] and w[1:]]


def _named(text: str) -> list[tuple[str, int]]:
    import ipaddress

    servers = []
    for word in text.split():
        host, port = word, str(_DNS_PORT)
        if word.startswith("["):
            host, _, rest = word[1:].partition("]")
            port = rest.removeprefix(":") or port
        elif word.count(":") == 1:
            host, _, port = word.partition(":")
        try:
            number = int(port)
            if not 1 <= number <= 65535:
                raise ValueError(port)
            servers.append((str(ipaddress.ip_address(host)), number))
        except ValueError:
            raise InvalidInputError(
                DNS_VARIABLE, f"has the entry {word!r}",
                hint="Give addresses of resolvers, such as '192.0.2.53 [2001:db8::53]:5353'.",
            ) from None  # fmt: skip
    return servers
