"""What is remembered of the names that a guest was given addresses for."""

from __future__ import annotations

import ipaddress
from contextlib import closing

from pyro_mcp.network.hosts import Hosts
from pyro_mcp.network.judge import Judge
from pyro_mcp.network.policy import EGRESS, parse

WEB = ipaddress.ip_address("203.0.113.10")


def test_the_latest_names_of_an_address_are_kept_and_not_all() -> None:
    """Whoever owns a domain can have a guest ask for as many names of it as there are."""
    with closing(Hosts()) as hosts:
        judge = Judge(parse(EGRESS, ["*.example.org"]), hosts)
        for number in range(1000):
            assert judge.give(f"{number}.example.org", WEB, 60)

        names = judge.names(WEB)
        verdict, attempt = judge.destination("tcp", WEB, 443)

    assert names[:2] == ["999.example.org", "998.example.org"]
    assert len(names) < 100
    assert (verdict.allowed, attempt.name) == (True, "999.example.org")
