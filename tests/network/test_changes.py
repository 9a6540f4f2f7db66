"""A policy that changes while the guest runs, the record, and what ends with the machine."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors import WorkspaceStateError
from tests.network.conftest import Guest, MakeGuest
from tests.network.test_reach import NO_NAME, REFUSED
from tests.support.internet import OTHER_WEB, PRIVATE, SILENT, WEB, WEB6
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


def test_a_connection_that_is_being_made_ends_with_the_policy_that_allowed_it(
    changing: Guest,
) -> None:
    """A server that answers late must not be reached by what was asked for before."""
    asked = "637100CB:0050 02"  # 203.0.113.99, port 80, SYN_SENT: as in /proc/net/tcp
    table = [*changing.world.enter, "cat", "/proc/net/tcp"]
    with ThreadPoolExecutor() as pool:
        attempt = pool.submit(changing.tries, ("tcp", SILENT))
        until(lambda: asked in subprocess.run(table, capture_output=True, text=True).stdout)
        changing.update(network_allow=["a.test"])

        assert attempt.result() == [REFUSED]
    changing.update(network_allow=[])


def test_a_name_in_another_script_is_allowed_while_the_guest_runs(changing: Guest) -> None:
    updated = changing.update(network_allow=["bücher.test", "a.test"])

    assert updated["network_allow"] == ["xn--bcher-kva.test", "a.test"]
    assert changing.tries(("web", "a.test"), ("tcp", OTHER_WEB)) == [WEB, REFUSED]
    changing.update(network_allow=[])


def test_a_result_says_what_was_refused_and_what_it_would_need(changing: Guest) -> None:
    _, result = changing.told(("tcp", PRIVATE), ("tcp", PRIVATE), ("web", "a.test"))
    quiet = changing.run("true")

    assert result["network_denied"] == 2
    (denied,) = result["network_denied_to"]
    assert (denied["address"], denied["port"], denied["times"]) == (PRIVATE, 80, 2)
    assert f"network_private {PRIVATE}" in denied["message"]
    assert "a.test:80" in result["network_learned"]
    assert (quiet["network_denied"], quiet["network_learned"]) == (0, [])


def test_a_workspace_that_learns_keeps_the_allow_list_for_all_that_it_asked_for(
    make_own_guest: MakeGuest,
) -> None:
    guest = make_own_guest(network_policy="egress", network_learn=True)

    _, first = guest.told(("web", "a.test"), ("tcp", PRIVATE))
    _, second = guest.told(("web", "b.test"), ("udp", "b.test"))
    with Pyro(base_dir=guest.state) as pyro:
        learned = pyro.status_workspace(guest.workspace_id)["network_learned"]
        pyro.stop_workspace(guest.workspace_id)
        kept = pyro.status_workspace(guest.workspace_id)

    assert first["network_learn"]
    assert first["network_learned"] == ["a.test:80"]
    assert learned == ["a.test:80", "b.test:7", "b.test:80"]
    assert (kept["network_learn"], kept["network_learned"]) == (True, learned)
    assert second["network_learned"] == ["b.test:7", "b.test:80"]


def test_the_record_has_name_address_port_bytes_and_verdict(changing: Guest) -> None:
    before = len(changing.log()["entries"])
    changing.tries(("web", "a.test"), ("udp", WEB, 7, 100), ("tcp", PRIVATE, 4444))

    def both() -> tuple[dict[str, Any], dict[str, Any]] | None:
        # A connection is written down when it has ended, which may be after what came later.
        new = changing.log()["entries"][before:]
        web = [e for e in new if e["name"] == "a.test" and e["protocol"] == "tcp"]
        refused = [e for e in new if e["port"] == 4444]
        return (web[-1], refused[-1]) if web and refused else None

    web, refused = until(both)

    assert (web["address"], web["port"], web["verdict"]) == (WEB, 80, "allowed")
    assert web["bytes_out"] > 40
    assert web["bytes_in"] > 40
    assert (refused["address"], refused["verdict"]) == (PRIVATE, "denied")
    denied = changing.log(verdict="denied", limit=1)["entries"][0]
    assert (denied["address"], denied["port"]) == (PRIVATE, 4444)


def test_a_guest_without_a_network_gets_one_while_it_runs(make_own_guest: MakeGuest) -> None:
    """Also what ran before sees it: nothing has to be started again."""
    guest = make_own_guest(network_policy="off")
    with Pyro(base_dir=guest.state) as pyro:
        shell = pyro.open_shell(guest.workspace_id)["shell_id"]
        before = guest.tries(("tcp", WEB), ("names", "a.test"), ("frame", "00" * 60))
        interfaces = guest.run("ls /sys/class/net; tail -n +3 /proc/net/dev | wc -l")["stdout"]

        guest.update_in_world(network_policy="egress", network_allow=["a.test"])

        pyro.write_shell(guest.workspace_id, shell, input="getent hosts a.test > /tmp/told; exit\n")
        told = until(lambda: guest.run("cat /tmp/told")["stdout"])
    after = guest.tries(("web", "a.test"), ("tcp", OTHER_WEB), ("tcp", PRIVATE), ("web", WEB6))
    guest.update(network_policy="off", network_allow=[])

    assert before == ["error: ENETUNREACH", NO_NAME, "error: ENODEV"]
    assert interfaces == "lo\n1\n"
    assert WEB6 in told
    assert after == [WEB, REFUSED, REFUSED, WEB6]
    assert guest.tries(("tcp", WEB), ("names", "a.test")) == [REFUSED, NO_NAME]
    guest.update(network_policy="egress")
    assert guest.tries(("web", "a.test"), ("web", OTHER_WEB)) == [WEB, OTHER_WEB]


def test_a_machine_whose_gateway_has_ended_says_so_and_reaches_nothing(
    make_own_guest: MakeGuest,
) -> None:
    before = {process.pid for process in descendants(os.getpid())}
    guest = make_own_guest(network_policy="egress")
    new = descendants(os.getpid(), without=before)
    (monitor,) = (p.pid for p in new if p.parent == os.getpid())
    (gateway,) = (
        p.pid
        for p in new
        if p.parent == monitor and "python" in Path(f"/proc/{p.pid}/exe").readlink().name
    )

    os.kill(gateway, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{gateway}/exe").exists())

    with pytest.raises(WorkspaceStateError, match=r"its gateway has ended.*pyro workspace stop"):
        guest.update(network_allow=["a.test"])
    with pytest.raises(WorkspaceStateError, match=r"its gateway has ended.*pyro workspace stop"):
        guest.run("true")
    assert guest.update(network_policy="off")["network_policy"] == "off"
    assert guest.run("cat /proc/uptime")["exit_code"] == 0


def test_without_a_network_no_namespace_of_a_guest_has_more_than_loopback(
    make_own_guest: MakeGuest,
) -> None:
    """Its interface for later is in none that its root can reach, and would lead nowhere."""
    guest = make_own_guest(network_policy="off")
    look = "for p in /proc/[0-9]*; do tail -n +3 $p/net/dev; done | sort -u | cut -d: -f1"

    seen = guest.run(f"{look}; unshare -n sh -c '{look}'; ls /sys/class/net")["stdout"].split()

    assert set(seen) == {"lo"}


def test_all_of_a_network_ends_when_the_monitor_is_killed(make_own_guest: MakeGuest) -> None:
    before = {process.pid for process in descendants(os.getpid())}
    guest = make_own_guest(network_policy="egress")
    new = descendants(os.getpid(), without=before)
    (monitor,) = (p.pid for p in new if p.parent == os.getpid())

    os.kill(monitor, signal.SIGKILL)

    until(lambda: not any(is_running(p.pid) for p in new))
    assert guest.run("true")["workspace_started"]
