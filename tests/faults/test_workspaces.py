"""SIGKILL of the caller, the monitor and the kernel at random points of what changes a workspace.

Afterwards every workspace that is listed answers, with the work it had; what is not listed has
left nothing: no process, no socket, no disk.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from pyro_mcp import Pyro
from tests.support import until
from tests.support.processes import descendants, is_running

ROUNDS, PARTS = 50, 4

FILES = 30
"""So many are changed together, by a patch and by a push."""


def begin(*words: str) -> subprocess.Popen[bytes]:
    """`pyro workspace`, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "pyro_mcp", "workspace", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def patch_of(old: str, new: str) -> str:
    """Changes every file of `patched` from one content to another."""
    return "".join(
        f"--- a/patched/{n}\n+++ b/patched/{n}\n@@ -1 +1 @@\n-{old}\n+{new}\n" for n in range(FILES)
    )


def kill(victim: str, caller: subprocess.Popen[bytes], others: set[int]) -> None:
    """SIGKILL the caller, or the monitors or kernels there are but for `others`."""
    if victim == "caller":
        caller.kill()
        return
    marker = "pyro_mcp.machines.monitor" if victim == "monitor" else "/linux "
    for process in descendants(os.getpid(), without=others):
        if marker in process.command and is_running(process.pid):
            with suppress(ProcessLookupError):  # it was just ending by itself
                os.kill(process.pid, signal.SIGKILL)


def check(pyro: Pyro, keeper: str) -> str:
    """The one that is never deleted has its work, whole; the others answer or are gone.

    Gives what the files of `patched` hold.
    """
    listed = {w["workspace_id"] for w in pyro.list_workspaces()["workspaces"]}
    assert keeper in listed
    for workspace_id in listed:
        assert pyro.status_workspace(workspace_id)["workspace_id"] == workspace_id
    read = pyro.exec_workspace(
        keeper,
        command="cat /etc/kept; echo $(cat /run/pyro-secrets/TOKEN); "
        "for set in patched pushed; do cat $set/* | uniq -c; done",
        timeout_seconds=120,
    )
    assert read["exit_code"] == 0, read
    kept, secret, patched, pushed = read["stdout"].splitlines()
    assert (kept, secret) == ("kept", "[REDACTED]")
    assert [line.split()[0] for line in (patched, pushed)] == [str(FILES), str(FILES)], read
    changed = {entry["path"].split("/")[0] for entry in pyro.diff_workspace(keeper)["entries"]}
    assert {"patched", "pushed"} <= changed <= {"patched", "pushed", "f"}
    return str(patched.split()[1])


def fill(folder: Path, content: str) -> Path:
    """The directory that is pushed."""
    folder.mkdir(exist_ok=True)
    for n in range(FILES):
        (folder / str(n)).write_text(f"{content}\n")
    return folder


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_random_points_nothing_is_lost_and_nothing_is_left(
    pyro: Pyro, state_dir: Path, tmp_path: Path, part: int
) -> None:
    """In parts, each of which has its time; the seed is printed so that one can be repeated."""
    del part
    others_machines = {process.pid for process in descendants(os.getpid())}
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    keeper = str(
        pyro.create_workspace(
            environment="debian:12",
            mem_mib=256,
            ttl_seconds=0,
            secrets=[{"name": "TOKEN", "value": "hush-hush-token"}],
        )["workspace_id"]
    )
    token = tmp_path / "token"
    pyro.push_workspace_sync(keeper, fill(tmp_path / "patched", "0"), dest="/workspace/patched")
    pyro.push_workspace_sync(keeper, fill(tmp_path / "pushed", "0"), dest="/workspace/pushed")
    pyro.exec_workspace(keeper, command="echo kept > /etc/kept; sync", timeout_seconds=60)
    pyro.create_snapshot(keeper, "base")
    patched = check(pyro, keeper)

    for number in range(ROUNDS):
        others = [
            w["workspace_id"]
            for w in pyro.list_workspaces()["workspaces"]
            if w["workspace_id"] != keeper
        ]
        token.write_text(f"another-token-{number}")
        fill(tmp_path / "pushed", str(number))
        (tmp_path / "patch").write_text(patch_of(patched, str(number)))
        calls = [
            ["create", "debian:12", "--mem-mib", "256"],
            ["snapshot", "create", keeper, f"s{number}"],
            ["reset", keeper, "--snapshot", "base"],
            ["fork", keeper],
            ["stop", keeper],
            ["secret", "set", keeper, "TOKEN", "--file", str(token)],
            ["exec", keeper, "--", "sh", "-c", "date > f; sync"],
            ["export", keeper, "patched", "--output", str(tmp_path / f"out{number}")],
            *2 * [["patch", "apply", keeper, "--patch-file", str(tmp_path / "patch")]],
            *2 * [["sync", "push", keeper, str(tmp_path / "pushed"), "--dest", "pushed"]],
        ]
        if others:
            calls += 2 * [["delete", chance.choice(others)]]
        caller = begin(*chance.choice(calls))
        time.sleep(chance.uniform(0.05, 0.7))
        kill(chance.choice(["caller", "caller", "monitor", "kernel"]), caller, others_machines)
        caller.wait(120)

        patched = check(pyro, keeper)

    for workspace in pyro.list_workspaces()["workspaces"]:
        pyro.delete_workspace(workspace["workspace_id"])
    assert list((state_dir / "workspaces").iterdir()) == []
    for out in tmp_path.glob("out*"):
        assert len(list(out.iterdir())) == FILES
    until(lambda: not descendants(os.getpid(), without=others_machines))
