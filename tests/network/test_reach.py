"""What a guest reaches under each policy, in a small internet of its own."""

from __future__ import annotations

import pytest

from pyro_mcp import protocol
from tests.network.conftest import Guest
from tests.support.internet import (
    CARRIER,
    HOST,
    HOST6,
    HOST_PRIVATE,
    METADATA,
    METADATA6,
    OTHER_DNS,
    OTHER_PRIVATE,
    OTHER_WEB,
    OTHER_WEB6,
    PRIVATE,
    PRIVATE6,
    WEB,
    WEB6,
)

REFUSED = "error: ECONNREFUSED"
NO_NAME = "error: no such name"

CLOSED = [
    HOST, HOST_PRIVATE, HOST6, METADATA, METADATA6, PRIVATE, OTHER_PRIVATE, CARRIER, PRIVATE6,
    protocol.GATEWAY_IP, protocol.GATEWAY_IP6, "10.9.0.255",
    "64:ff9b::cb00:710a", "2002:cb00:710a::1",
]  # fmt: skip


def test_what_is_public_is_reached_by_name_and_by_address(egress: Guest) -> None:
    assert egress.tries(
        ("web", "a.test"), ("web", OTHER_WEB), ("web", WEB6), ("web", "only6.test"),
        ("web", "alias.test"), ("udp", WEB), ("udp", WEB6), ("udp", WEB, 7, 30000),
    ) == [WEB, OTHER_WEB, WEB6, WEB6, WEB, 4, 4, 30000]  # fmt: skip


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_host_metadata_and_private_ranges_are_refused_at_once(egress: Guest, kind: str) -> None:
    answers = egress.tries(*((kind, address) for address in CLOSED))

    prohibited = {REFUSED} if kind == "tcp" else {"error: EHOSTUNREACH", "error: EACCES"}
    assert set(answers) <= prohibited, dict(zip(CLOSED, answers, strict=True))
    assert {seen["asked"] for seen in egress.world.seen("web")}.isdisjoint(CLOSED)


def test_an_own_loopback_is_the_guests(egress: Guest) -> None:
    assert egress.tries(("tcp", "127.0.0.1"), ("tcp", "::1")) == [REFUSED, REFUSED]
    assert "127.0.0.1" not in {seen["asked"] for seen in egress.world.seen("web")}


def test_an_ipv4_address_in_ipv6_clothes_is_no_way_round(egress: Guest) -> None:
    answers = egress.tries(("tcp", f"::ffff:{PRIVATE}"), ("tcp", f"::{PRIVATE}"))

    assert all(answer.startswith("error") for answer in answers), answers


def test_a_port_where_nobody_listens_is_refused_as_on_the_host(egress: Guest) -> None:
    attempts = [(kind, address, 81) for kind in ("tcp", "udp") for address in (WEB, WEB6)]

    assert egress.tries(*attempts) == [REFUSED] * 4


def test_only_the_guests_own_resolver_is_asked(egress: Guest) -> None:
    before = len(egress.world.seen("dns"))

    answers = egress.tries(
        ("ask", OTHER_DNS, "leak.test"), ("ask", OTHER_DNS, "leak.test", 1, "", True),
        ("tcp", OTHER_DNS, 853),
    )  # fmt: skip

    assert all(answer.startswith("error") for answer in answers), answers
    assert not [seen for seen in egress.world.seen("dns")[before:] if seen["name"] == "leak.test"]


def test_names_of_closed_addresses_open_nothing(egress: Guest) -> None:
    assert egress.tries(
        ("names", "inside.test"), ("names", "metadata.test"), ("names", "loop.test"),
        ("names", "host.test"), ("names", "mixed.test"), ("tcp", PRIVATE),
    ) == [NO_NAME, NO_NAME, NO_NAME, NO_NAME, [WEB], REFUSED]  # fmt: skip


def test_an_answer_that_fits_no_datagram_comes_over_tcp(egress: Guest) -> None:
    (found,) = egress.tries(("names", "long.test"))

    assert len(found) == 150


def test_a_list_allows_names_and_what_they_resolve_to(listed: Guest) -> None:
    assert listed.tries(
        ("tcp", OTHER_WEB), ("web", "a.test"), ("web", WEB), ("names", "b.test"),
        ("web", "www.wild.test"), ("web", OTHER_WEB), ("web", "deep.www.wild.test"),
        ("names", "wild.test"), ("tcp", OTHER_WEB6),
    ) == [
        REFUSED, WEB, WEB, NO_NAME, OTHER_WEB, OTHER_WEB, OTHER_WEB, NO_NAME, REFUSED,
    ]  # fmt: skip


def test_a_listed_port_is_the_only_one(listed: Guest) -> None:
    assert listed.tries(
        ("names", "www.wild.test"), ("tcp", OTHER_WEB, 80), ("tcp", OTHER_WEB, 7),
        ("udp", OTHER_WEB, 7),
    )[1:] == ["connected", REFUSED, "error: EHOSTUNREACH"]  # fmt: skip


def test_a_listed_name_with_a_private_address_opens_nothing(listed: Guest) -> None:
    assert listed.tries(("names", "inside.test"), ("tcp", PRIVATE)) == [NO_NAME, REFUSED]


def test_names_carry_nothing_out(listed: Guest) -> None:
    """Neither a name that is not listed, nor what is hidden in a question about one that is."""
    option = "0000291000000000000014" + "fde9" + "0010" + b"secret-of-16-byt".hex()

    statuses = listed.tries(
        ("ask", protocol.GATEWAY_IP, "secret.evil.test"),
        ("ask", protocol.GATEWAY_IP, "secret.a.test"),
        ("ask", protocol.GATEWAY_IP, "a.test", 16),
        ("ask", protocol.GATEWAY_IP, "A.TeSt", 1, option),
        ("ask", protocol.GATEWAY_IP, "secret.evil.test", 1, "", True),
    )  # fmt: skip

    assert statuses == [3, 3, 0, 0, 3]
    seen = listed.world.seen("dns")
    assert not [one for one in seen if "secret" in one["name"]]
    assert {one["name"] for one in seen if one["name"].lower() == "a.test"} == {"a.test"}
    assert not [one for one in seen if one["edns"]]
