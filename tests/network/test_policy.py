"""The policy: which words it takes, and what it says about destinations."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import InvalidInputError
from pyro_mcp.network.packets import is_error, refusal
from pyro_mcp.network.packets import parse as parse_packet
from pyro_mcp.network.policy import EGRESS, OFF, Policy, parse
from pyro_mcp.network.record import TOO_MANY
from pyro_mcp.network.told import merged, message, smallest_allow_list

WEB = ipaddress.ip_address("203.0.113.10")


def reaches(policy: Policy, address: str, port: int = 443, *names: str) -> bool:
    """Whether the policy lets a guest connect, on a host that has none of these addresses."""
    found = ipaddress.ip_address(address)
    return policy.reaches(found, port, names=names, is_host=False).allowed


@pytest.mark.parametrize(
    "entry",
    ["example.org", "*.example.org", "example.org:443", "203.0.113.0/24", "203.0.113.1:80-90",
     "[2001:db8::]/32:443", "2001:db8::1", "*:443", ":443", "EXAMPLE.org.", "bücher.example"],
)  # fmt: skip
def test_names_addresses_ranges_and_ports_are_taken(entry: str) -> None:
    policy = parse(EGRESS, [entry])

    assert parse(**policy.to_wire()) == policy


def test_a_name_in_another_script_is_kept_as_it_is_asked_for() -> None:
    """So the gateway, which cannot load a codec any more, can read it; and a person sees which."""
    (entry,) = parse(EGRESS, ["*.bücher.example:443"]).allow

    assert entry.text == "*.xn--bcher-kva.example:443"
    assert entry.matches_name("www.xn--bcher-kva.example")


@pytest.mark.parametrize(
    "entry",
    ["", "*", "a b", "-x.org", "http://example.org", "example.org:0", "example.org:70000", "a..b",
     "example.org:90-80", "example.org:\uff18\uff10", "1.2.3", "*.", "*.*.org",
     "127.0.0.1", "10.0.0.1", "::1", "224.0.0.1"],
)  # fmt: skip
def test_what_cannot_take_effect_is_refused(entry: str) -> None:
    with pytest.raises(InvalidInputError, match="network_allow"):
        parse(EGRESS, [entry])


@pytest.mark.parametrize("entry", ["127.0.0.0/8", "0.0.0.0/0", "::/0", "fd70:7972:6f00::1", "name"])
def test_what_is_never_reached_cannot_be_opened(entry: str) -> None:
    with pytest.raises(InvalidInputError, match="network_private"):
        parse(EGRESS, [], [entry])


def test_lists_need_a_network() -> None:
    with pytest.raises(InvalidInputError, match="network_policy is 'off'"):
        parse(OFF, ["example.org"])


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "169.254.169.254", "127.0.0.1",
     "0.0.0.0", "224.0.0.251", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1",
     "fd00:ec2::254", "ff02::1", "::ffff:203.0.113.10", "64:ff9b::cb00:710a", "2002:cb00:710a::",
     "2001::1", "192.0.0.1", "192.0.0.2", "fd70:7972:6f00::1"],
)  # fmt: skip
def test_egress_reaches_nothing_that_is_not_public(address: str) -> None:
    assert not reaches(parse(EGRESS), address)


def test_egress_reaches_what_is_public() -> None:
    assert reaches(parse(EGRESS), str(WEB))
    assert reaches(parse(EGRESS), "2001:4860::1")


def test_an_opened_range_is_open_and_no_other() -> None:
    policy = parse(EGRESS, [], ["10.1.0.0/16"])

    assert reaches(policy, "10.1.2.3")
    assert not reaches(policy, "10.2.2.3")


def test_the_host_is_open_by_its_own_address_only() -> None:
    host = ipaddress.ip_address("10.1.2.3")

    def open_to(private: str) -> bool:
        policy = parse(EGRESS, [], [private])
        return policy.reaches(host, 80, names=(), is_host=True).allowed

    assert not open_to("10.0.0.0/8")
    assert open_to("10.1.2.3")


def test_a_place_is_open_at_its_port_and_its_address_may_be_told() -> None:
    """An inherited proxy of the host opens no other service of the host."""
    place = ipaddress.ip_address("10.1.2.3")
    policy = parse(EGRESS, [], [], [("10.1.2.3", 3128)])

    def open_at(port: int) -> bool:
        return policy.reaches(place, port, names=(), is_host=True).allowed

    assert parse(**policy.to_wire()) == policy
    assert open_at(3128)
    assert not open_at(22)
    assert policy.closes(place, is_host=True) is None
    assert not reaches(parse(EGRESS, [], [], [("127.0.0.1", 3128)]), "127.0.0.1", 3128)


def test_a_name_is_open_where_it_was_resolved_and_at_its_port() -> None:
    policy = parse(EGRESS, ["example.org:443", "*.example.net"])

    assert reaches(policy, str(WEB), 443, "example.org")
    assert not reaches(policy, str(WEB), 80, "example.org")
    assert not reaches(policy, str(WEB), 443)
    assert reaches(policy, str(WEB), 80, "a.b.example.net")
    assert not reaches(policy, str(WEB), 80, "example.net")
    assert not policy.asks("evil-example.net").allowed


def test_a_refusal_says_what_would_allow_it() -> None:
    verdict = parse(EGRESS, ["example.org"]).reaches(WEB, 443, names=["a.test"], is_host=False)

    assert verdict.remedy == "network_allow a.test:443"
    assert parse("egress", [verdict.remedy.removeprefix("network_allow ")])


def test_a_model_is_told_rule_destination_remedy_and_not_to_retry() -> None:
    said = message(
        {"protocol": "tcp", "name": "a.test", "address": str(WEB), "port": 443, "verdict": "denied",
         "rule": "the destination is not in network_allow", "remedy": "network_allow a.test:443"}
    )  # fmt: skip

    for part in ("a.test", str(WEB), "443", "not in network_allow", "network_allow a.test:443"):
        assert part in said
    assert said.endswith("Trying again does not help.")


def test_a_limit_is_told_as_one_that_may_pass() -> None:
    said = message(
        {"protocol": "tcp", "name": None, "address": str(WEB), "port": 443, "verdict": "denied",
         "rule": f"{TOO_MANY} 2048 connections at a time", "remedy": ""}
    )  # fmt: skip

    assert said.endswith("try again later.")


def test_the_smallest_list_names_names_where_there_are_some() -> None:
    tried = {"protocol": "tcp", "verdict": "allowed", "remedy": "", "port": 443}
    attempts = [
        {**tried, "name": "a.test", "address": "203.0.113.1"},
        {**tried, "name": "a.test", "address": "203.0.113.2"},
        {**tried, "name": None, "address": "2001:db8::1"},
        {**tried, "name": "b.test", "address": None, "protocol": "dns", "verdict": "denied"},
        {**tried, "name": None, "address": "10.0.0.1", "verdict": "denied"},
    ]

    assert smallest_allow_list(attempts) == ["[2001:db8::1]:443", "a.test:443", "b.test"]
    assert parse(EGRESS, smallest_allow_list(attempts))


def test_two_lists_become_the_smallest_for_both() -> None:
    assert merged(["a.test", "b.test:80"], ["a.test:443", "[2001:db8::1]:80"]) == [
        "[2001:db8::1]:80", "a.test:443", "b.test:80",
    ]  # fmt: skip


@given(st.binary(max_size=120), st.sampled_from([b"\x08\x00\x45", b"\x86\xdd\x60", b"\x08\x06"]))
def test_no_frame_whatever_breaks_the_parser(noise: bytes, kind: bytes) -> None:
    for frame in (noise, bytes(12) + kind + noise):
        packet = parse_packet(frame)
        if packet is not None:
            is_error(packet)
            refusal(packet, bytes(6))


def icmp(version: int, kind: int) -> bytes:
    """A frame with the first bytes of such a message."""
    message = bytes((kind, 0, 0, 0, 0, 0, 0, 0))
    if version == 4:
        return bytes(12) + b"\x08\0\x45\0\0\x1c" + bytes(5) + b"\x01" + bytes(10) + message
    return bytes(12) + b"\x86\xdd\x60\0\0\0\0\x08\x3a" + bytes(33) + message


@pytest.mark.parametrize(
    ("version", "kind", "expected"),
    [(4, 3, True), (4, 11, True), (4, 8, False), (6, 1, True), (6, 4, True), (6, 128, False)],
)
def test_an_icmp_error_is_told_from_what_a_program_sends(
    version: int, kind: int, expected: bool
) -> None:
    packet = parse_packet(icmp(version, kind))

    assert packet is not None
    assert is_error(packet) is expected
