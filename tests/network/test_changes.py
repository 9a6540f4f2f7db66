"""A policy that changes while the guest runs, the record, and what ends with the machine."""

from __future__ import annotations

import os
import signal

import pytest

from pyro_mcp.errors import WorkspaceStateError
from tests.network.conftest import Guest, MakeGuest
from tests.network.test_reach import NO_NAME, REFUSED
from tests.support.internet import OTHER_WEB, PRIVATE, WEB
from tests.support.processes import descendants, is_running
from tests.support.waiting import until


@pytest.fixture
def changing(egress: Guest) -> Guest:
    """The guest that tests share, back to what it was before each."""
    if egress.tries(("tcp", WEB), ("tcp", OTHER_WEB)) != ["connected", "connected"]:
        egress.update(network_policy="egress", network_allow=[], network_private=[])
    return egress


def test_a_policy_changes_while_the_guest_runs(changing: Guest) -> None:
    updated = changing.update(network_allow=["a.test"])
    listed = changing.tries(("tcp", OTHER_WEB), ("web", "a.test"), ("names", "b.test"))
    changing.update(network_policy="off", network_allow=[])
    off = changing.tries(("tcp", WEB), ("names", "a.test"))
    changing.update(network_policy="egress", network_private=["10.77.0.0/16"])
    opened = changing.tries(("web", PRIVATE), ("web", OTHER_WEB), ("tcp", "192.168.7.7"))
    changing.update(network_private=[])

    assert updated["network_allow"] == ["a.test"]
    assert listed == [REFUSED, WEB, NO_NAME]
    assert off == [REFUSED, NO_NAME]
    assert opened == [PRIVATE, OTHER_WEB, REFUSED]
    assert changing.tries(("tcp", PRIVATE), ("web", OTHER_WEB)) == [REFUSED, OTHER_WEB]


def test_a_result_says_what_was_refused_and_what_it_would_need(changing: Guest) -> None:
    _, result = changing.told(("tcp", PRIVATE), ("tcp", PRIVATE), ("web", "a.test"))
    quiet = changing.run("true")

    assert result["network_denied"] == 2
    (denied,) = result["network_denied_to"]
    assert (denied["address"], denied["port"], denied["times"]) == (PRIVATE, 80, 2)
    assert f"network_private {PRIVATE}" in denied["message"]
    assert "a.test:80" in result["network_learned"]
    assert (quiet["network_denied"], quiet["network_learned"]) == (0, [])


def test_the_record_has_name_address_port_bytes_and_verdict(changing: Guest) -> None:
    changing.tries(("web", "a.test"), ("udp", WEB, 7, 100), ("tcp", PRIVATE, 4444))

    log = until(
        lambda: (
            (found := changing.log())["entries"][-1]["port"] == 4444
            and any(e["name"] == "a.test" for e in found["entries"])
            and found
        )
    )

    web = [e for e in log["entries"] if e["name"] == "a.test" and e["protocol"] == "tcp"][-1]
    assert (web["address"], web["port"], web["verdict"]) == (WEB, 80, "allowed")
    assert web["bytes_out"] > 40
    assert web["bytes_in"] > 40
    denied = changing.log(verdict="denied", limit=1)["entries"][0]
    assert (denied["address"], denied["port"]) == (PRIVATE, 4444)


def test_a_guest_without_an_interface_gets_none_while_it_runs(make_own_guest: MakeGuest) -> None:
    guest = make_own_guest(network_policy="off")

    with pytest.raises(WorkspaceStateError, match="stop"):
        guest.update(network_policy="egress")

    assert guest.run("cat /proc/net/dev | wc -l")["stdout"] == "3\n"


def test_all_of_a_network_ends_when_the_monitor_is_killed(make_own_guest: MakeGuest) -> None:
    before = {process.pid for process in descendants(os.getpid())}
    guest = make_own_guest(network_policy="egress")
    new = {p.pid for p in descendants(os.getpid())} - before
    (monitor,) = (p.pid for p in descendants(os.getpid()) if p.pid in new and p.parent not in new)

    os.kill(monitor, signal.SIGKILL)

    until(lambda: not any(is_running(pid) for pid in new))
    assert guest.run("true")["workspace_started"]
