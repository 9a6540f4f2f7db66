"""The same promises where the host's kernel has no tproxy: connections are redirected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyro_mcp.config import STEERING_VARIABLE, Settings
from pyro_mcp.errors import InvalidInputError
from pyro_mcp.network import firewall, namespace, policy, way
from tests.network.test_attacks import (
    test_a_flood_of_connection_requests_leaves_the_gateway_answering,
    test_frames_of_any_kind_reach_nobody,
)
from tests.network.test_reach import (
    test_a_list_allows_names_and_what_they_resolve_to,
    test_a_port_where_nobody_listens_is_refused_as_on_the_host,
    test_an_answer_that_fits_no_datagram_comes_over_tcp,
    test_host_metadata_and_private_ranges_are_refused_at_once,
    test_what_is_public_is_reached_by_name_and_by_address,
)
from tests.support.internet import World

SAME = (
    test_a_flood_of_connection_requests_leaves_the_gateway_answering,
    test_a_list_allows_names_and_what_they_resolve_to,
    test_a_port_where_nobody_listens_is_refused_as_on_the_host,
    test_an_answer_that_fits_no_datagram_comes_over_tcp,
    test_frames_of_any_kind_reach_nobody,
    test_host_metadata_and_private_ranges_are_refused_at_once,
    test_what_is_public_is_reached_by_name_and_by_address,
)
"""Collected here as well, for guests of the fixture below."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The small internet, for guests whose connections are redirected."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(STEERING_VARIABLE, firewall.REDIRECT)
        with World(tmp_path_factory.mktemp("internet") / "log", as_user=True) as made:
            yield made


def test_the_first_way_that_the_kernel_can_is_taken() -> None:
    made = namespace.make(None, ("no_such_expression", firewall.REDIRECT))

    assert made.steering == firewall.REDIRECT
    made.close()


def test_a_host_that_can_neither_way_says_what_was_missing() -> None:
    with pytest.raises(OSError, match="No such file") as told:
        namespace.make(None, ("no_such_expression", "nor_this_one"))

    assert "nf_tables with nor_this_one" in told.value.filename


def test_the_variable_chooses_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(named: str) -> list[str]:
        monkeypatch.setenv(STEERING_VARIABLE, named)
        steering = Settings.from_environment().steering
        planned = way.plan(policy.parse(policy.EGRESS), resolvers=None, steering=steering)
        assert planned is not None
        return list(planned.launch["steerings"])

    assert tried("redirect") == ["redirect"]
    assert tried("") == ["tproxy", "redirect"]
    with pytest.raises(InvalidInputError, match="Known: tproxy, redirect"):
        tried("pigeons")
