"""What a guest may reach: the policy as a value, and the one place where it is applied.

Two questions are answered here and nowhere else: may this name be asked for, and may this
connection be made. Both answers carry a rule and, when it is no, what would make it a yes.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pyro_mcp.errors import InvalidInputError
from pyro_mcp.network.ranges import CLOSED, NEVER, Address, Network

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OFF, EGRESS, EGRESS_AND_PORTS = "off", "egress", "egress+published-ports"

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_LONGEST_NAME = 253
_MOST_ENTRIES = 256
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_DNS_PORTS = frozenset((53, 853))
_ALLOW_HINT = (
    "Give a name (example.org, *.example.org), an address or range (203.0.113.0/24) or * for any, "
    "each with an optional port or ports (:443, :8000-8099; IPv6 in brackets: [2001:db8::]/32:443)."
)
_PRIVATE_HINT = "Give an address or range of a private network, such as 10.1.2.0/24."


class Allowed(NamedTuple):
    """One entry of an allow list."""

    text: str
    """As it is written; letters outside of ASCII in their IDNA form."""
    name: str | None
    """A domain; `*.` in front stands for every name below it, and not for itself."""
    network: Network | None
    """None together with no name: any destination."""
    ports: tuple[int, int] | None
    """First and last; None for all."""

    def has_port(self, port: int) -> bool:
        """Whether the entry is about that port."""
        return self.ports is None or self.ports[0] <= port <= self.ports[1]

    def matches_name(self, name: str) -> bool:
        """Whether the entry is about that name."""
        if self.name is None:
            return self.network is None
        if self.name.startswith("*."):
            return name.endswith(self.name[1:])
        return name == self.name


class Verdict(NamedTuple):
    """May it be, by which rule, and what would allow it."""

    allowed: bool
    rule: str
    remedy: str = ""


class Policy(NamedTuple):
    """What one guest may reach; made by `parse`."""

    mode: str
    allow: tuple[Allowed, ...] = ()
    """Empty: everything outside of the closed ranges."""
    private: tuple[Network, ...] = ()
    """Parts of the closed ranges that are open."""
    places: tuple[tuple[Address, int], ...] = ()
    """Addresses of the closed ranges, or of the host, that are open at one port."""

    @property
    def outbound(self) -> bool:
        """Whether anything at all can be reached."""
        return self.mode in (EGRESS, EGRESS_AND_PORTS)

    def to_wire(self) -> dict[str, Any]:
        """As plain data; `parse(**…)` reads it."""
        return {
            "mode": self.mode,
            "allow": [entry.text for entry in self.allow],
            "private": [str(network) for network in self.private],
            "places": [(str(address), port) for address, port in self.places],
        }

    def asks(self, name: str) -> Verdict:
        """May the guest ask for a name, which is given in lower case without a final dot."""
        if not self.outbound:
            return _no_network(self.mode)
        if not self.allow:
            return Verdict(True, "egress")
        for entry in self.allow:
            if entry.matches_name(name):
                return Verdict(True, f"network_allow {entry.text}")
        return Verdict(False, "the name is not in network_allow", f"network_allow {name}")

    def reaches(
        self, address: Address, port: int, *, names: Iterable[str], is_host: bool
    ) -> Verdict:
        """May the guest connect to an address and port.

        `names` are those that the guest was given this address for; `is_host` says that the
        address is one of the host's own.
        """
        if not self.outbound:
            return _no_network(self.mode)
        closed = self.closes(address, is_host=is_host, port=port)
        return closed or self._is_listed(address, port, tuple(names))

    def closes(self, address: Address, *, is_host: bool, port: int | None = None) -> Verdict | None:
        """The verdict about an address that nothing in `allow` opens; None if it is no such.

        Without a `port`, one that is open at any is no such.
        """
        for network, what in NEVER:
            if address in network:
                return Verdict(False, f"{what} ({network}) are never reached")
        if any(address == one and port in (None, open_port) for one, open_port in self.places):
            return None
        if is_host:
            # A range around it was not meant for this host: its address has to be named.
            if any(n.num_addresses == 1 and address in n for n in self.private):
                return None
            rule = "addresses of the host itself are closed"
            return Verdict(False, rule, f"network_private {address}")
        for network, what in CLOSED:
            if address in network and not any(address in n for n in self.private):
                return Verdict(
                    False, f"{what} ({network}) are closed", f"network_private {address}"
                )
        return None

    def _is_listed(self, address: Address, port: int, names: Sequence[str]) -> Verdict:
        if not self.allow and port not in _DNS_PORTS:
            return Verdict(True, "egress")
        for entry in self.allow:
            if not entry.has_port(port):
                continue
            if entry.network is not None:
                found = address in entry.network
            elif entry.name is None:
                found = port not in _DNS_PORTS or entry.ports is not None
            else:
                found = any(entry.matches_name(name) for name in names)
            if found:
                return Verdict(True, f"network_allow {entry.text}")
        if not self.allow:
            return Verdict(
                False, "names are asked for at the guest's own resolver (/etc/resolv.conf) only"
            )
        wanted = names[0] if names else f"[{address}]" if address.version == 6 else str(address)
        rule = "the destination is not in network_allow"
        return Verdict(False, rule, f"network_allow {wanted}:{port}")


def parse(
    mode: str,
    allow: Iterable[str] = (),
    private: Iterable[str] = (),
    places: Iterable[tuple[str, int]] = (),
) -> Policy:
    """Read a policy whole; `places` are no user's, but made by `inherit`.

    Raises:
        InvalidInputError: An entry that cannot be read, or that could never take effect.
    """
    for what, given in (("network_allow", allow), ("network_private", private)):
        if isinstance(given, str):
            raise InvalidInputError(what, "is one text", hint="Give a list of entries.")
    opened = tuple(_private(text) for text in private)
    at = tuple((ipaddress.ip_address(address), int(port)) for address, port in places)
    open_too = (*opened, *(ipaddress.ip_network(address) for address, _ in at))
    entries = tuple(_allowed(text, open_too) for text in allow)
    for what, count in (("network_allow", len(entries)), ("network_private", len(opened))):
        if count > _MOST_ENTRIES:
            raise InvalidInputError(
                what, f"has {count} entries", hint=f"Give at most {_MOST_ENTRIES}."
            )
    if (entries or opened) and mode not in (EGRESS, EGRESS_AND_PORTS):
        raise InvalidInputError(
            "network_allow" if entries else "network_private",
            f"was given, and network_policy is {mode!r}",
            hint=f"Give network_policy {EGRESS!r} with it.",
        )
    return Policy(mode, entries, opened, at)


def clean_name(text: str) -> str | None:
    """A host name in its one spelling; None if it is none."""
    name = text.rstrip(".").lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    labels = name.split(".")
    if len(name) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    return name


def _no_network(mode: str) -> Verdict:
    return Verdict(False, f"network_policy is {mode}", f"network_policy {EGRESS}")


def _allowed(text: object, opened: Sequence[Network]) -> Allowed:
    written = text.strip() if isinstance(text, str) else ""
    if not written:
        raise InvalidInputError("network_allow", f"has the entry {text!r}", hint=_ALLOW_HINT)
    target, ports = _split(written)
    if target in ("", "*"):
        if ports is None:
            raise InvalidInputError(
                "network_allow", f"has the entry {written!r}, which is everything",
                hint="Leave network_allow out to allow everything that egress does.",
            )  # fmt: skip
        return Allowed(written, None, None, ports)
    network = _network(target)
    if network is None:
        wild = target.startswith("*.")
        name = clean_name(target[2:] if wild else target)
        if name is None or name.rpartition(".")[2].isdecimal():
            raise InvalidInputError("network_allow", f"has the entry {written!r}", hint=_ALLOW_HINT)
        spelled = f"*.{name}" if wild else name
        if not written.isascii():
            # The gateway reads this, and has no codec for anything else.
            written = written.replace(target, spelled)
        return Allowed(written, spelled, None, ports)
    for never, what in NEVER:
        if _within(network, never):
            raise InvalidInputError(
                "network_allow", f"has {written!r}, and {what} are never reached",
                hint="Leave it out.",
            )  # fmt: skip
    for closed, what in CLOSED:
        if _within(network, closed) and not any(_within(network, one) for one in opened):
            raise InvalidInputError(
                "network_allow", f"has {written!r}, and {what} are closed",
                hint=f"Open it as well, with network_private {network}.",
            )  # fmt: skip
    return Allowed(written, None, network, ports)


def _private(text: object) -> Network:
    network = _network(text.strip()) if isinstance(text, str) else None
    if network is None:
        raise InvalidInputError("network_private", f"has the entry {text!r}", hint=_PRIVATE_HINT)
    for never, what in NEVER:
        if _within(network, never) or _within(never, network):
            raise InvalidInputError(
                "network_private", f"has {text!r}, and {what} ({never}) are never reached",
                hint=_PRIVATE_HINT,
            )  # fmt: skip
    return network


def _split(text: str) -> tuple[str, tuple[int, int] | None]:
    """Target and ports of an entry."""
    if text.startswith("["):
        inner, _, rest = text[1:].partition("]")
        prefix, colon, ports = rest.partition(":")
        return inner + prefix, _ports(text, ports) if colon else None
    if text.count(":") > 1:
        return text, None  # IPv6 without a port
    target, colon, ports = text.partition(":")
    return target, _ports(text, ports) if colon else None


def _ports(entry: str, text: str) -> tuple[int, int]:
    found = _PORTS.fullmatch(text)
    if found:
        first = int(found[1])
        last = int(found[2] or first)
        if 1 <= first <= last <= 65535:
            return first, last
    raise InvalidInputError("network_allow", f"has the entry {entry!r}", hint=_ALLOW_HINT)


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _within(inner: Network, outer: Network) -> bool:
    return (
        inner.version == outer.version
        and inner.network_address in outer
        and inner.prefixlen >= outer.prefixlen
    )
