"""Which resolvers are asked on behalf of a guest."""

from __future__ import annotations

import pytest

from pyro_mcp.errors import InvalidInputError
from pyro_mcp.network import way


def test_resolvers_are_addresses_with_a_port_or_without() -> None:
    assert way.servers("192.0.2.53 192.0.2.54:5353 2001:db8::53 [2001:db8::54]:5353") == [
        ("192.0.2.53", 53), ("192.0.2.54", 5353), ("2001:db8::53", 53), ("2001:db8::54", 5353),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "entry", ["name", "192.0.2.53:", "192.0.2.53:x", "192.0.2.53:0", "192.0.2.53:99999", "[::1]:-1"]
)
def test_what_is_no_resolver_is_refused_before_a_guest_asks_it(entry: str) -> None:
    with pytest.raises(InvalidInputError, match="PYRO_DNS"):
        way.servers(entry)
