"""What a guest tried, told to whoever ran a command: what was refused, and what it would need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp.network.record import TOO_MANY
from pyro_mcp.results.commands import Tried

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MOST_TOLD = 20


def of(attempts: Sequence[Mapping[str, Any]]) -> Tried:
    """How many attempts were denied, where and why; and what an allow list would have needed."""
    refused = [one for one in attempts if one["verdict"] == "denied"]
    told = [
        {
            key: one[key]
            for key in ("protocol", "name", "address", "port", "rule", "remedy", "times")
        }
        | {"message": message(one)}
        for one in refused[:_MOST_TOLD]
    ]
    return Tried(
        network_denied=sum(int(one["times"]) for one in refused),
        network_denied_to=told,
        network_learned=smallest_allow_list(attempts),
    )


def message(attempt: Mapping[str, Any]) -> str:
    """One sentence or two: what, the rule, what would allow it."""
    if attempt["protocol"] == "dns" and attempt["address"] is None:
        what = f"The name {attempt['name']} was not looked up"
    elif attempt["protocol"] == "dns":
        what = f"The address {attempt['address']} of {attempt['name']} was left out"
    else:
        where = attempt["address"] or ""
        if attempt["name"]:
            where = f"{attempt['name']} ({where})"
        port = f" port {attempt['port']}" if attempt["port"] is not None else ""
        what = f"{attempt['protocol']} to {where}{port} was refused"
    if attempt["rule"].startswith(TOO_MANY):
        return f"{what}: {attempt['rule']}. It helps to close others, and to try again later."
    remedy = (
        f" Whoever runs this workspace could allow it with {attempt['remedy']}."
        if attempt["remedy"]
        else " Nothing allows it."
    )
    return f"{what}: {attempt['rule']}.{remedy} Trying again does not help."


def smallest_allow_list(attempts: Iterable[Mapping[str, Any]]) -> list[str]:
    """The allow list that just covers what was tried, sorted."""
    by_name: dict[str, set[int]] = {}
    by_address: set[str] = set()
    for one in attempts:
        name, address, port = one["name"], one["address"], one["port"]
        if one["protocol"] in ("tcp", "udp") and port is not None:
            if name:
                by_name.setdefault(name, set()).add(int(port))
            elif address and not _never(one):
                host = f"[{address}]" if ":" in address else address
                by_address.add(f"{host}:{port}")
        elif one["protocol"] == "dns" and name and one["verdict"] == "denied" and address is None:
            by_name.setdefault(name, set())
    entries = {
        f"{name}:{port}" if port else name
        for name, ports in by_name.items()
        for port in (ports or {0})
    }
    return sorted(entries | by_address)


def merged(one: Iterable[str], other: Iterable[str]) -> list[str]:
    """The allow list for what two of these lists are for, sorted."""
    entries = {*one, *other}
    with_port = {entry.rpartition(":")[0] for entry in entries}
    return sorted(entry for entry in entries if entry not in with_port)


def _never(attempt: Mapping[str, Any]) -> bool:
    return attempt["verdict"] == "denied" and not str(attempt["remedy"]).startswith("network_allow")
