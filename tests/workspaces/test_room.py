"""No room left, in the guest or on the host: what there was stays, and the error says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import WorkspaceFileError
from pyro_mcp.workspaces import files, patch, sync
from tests.environments.support import run_with_small_filesystem

if TYPE_CHECKING:
    from pyro_mcp.config import Settings
    from tests.workspaces.conftest import SharedWorkspace

_FILL = """
mkdir room; echo old > room/file
for size in 5G 4G 500M 200M 100M 50M 20M 10M 5M 2M 1M 500K 500K; do
    fallocate -l $size /room-$size 2> /dev/null || true
done
"""

_ON_A_FULL_HOST = """
import json, os, sys
from pyro_mcp import Pyro
from pyro_mcp.errors import PyroError

state = os.environ["PYRO_STATE_DIR"]
pyro = Pyro()
said = {}

def attempt(name, call):
    try:
        said[name] = call()["workspace_id"] and "done"
    except PyroError as error:
        said[name] = error.code
        assert error.hint.startswith("Free some room"), error

def free_mib():
    now = os.statvfs(state)
    return now.f_bavail * now.f_frsize >> 20

def listed():
    return sorted(name for _, _, names in os.walk(f"{state}/workspaces") for name in names)

made = pyro.create_workspace(environment="debian:12", mem_mib=256)["workspace_id"]
run = lambda command: pyro.exec_workspace(made, command=command, timeout_seconds=60)
run("echo kept > /etc/kept; echo kept > kept; head -c 30M /dev/urandom > large; sync")
pyro.create_snapshot(made, "one")
with open(f"{state}/filler", "wb") as filler:
    os.posix_fallocate(filler.fileno(), 0, (free_mib() - 75) << 20)
before = listed()
attempt("snapshot", lambda: pyro.create_snapshot(made, "two"))
attempt("reset", lambda: pyro.reset_workspace(made, snapshot="one"))
attempt("fork", lambda: pyro.fork_workspace(made))
said["left"] = sorted(set(listed()) - set(before))
said["alive"] = run("cat kept")["stdout"]
attempt("grow", lambda: run("head -c 200M /dev/urandom > too-much; sync; sleep 60"))
with open(f"{state}/last", "wb", buffering=0) as last:
    try:
        while True:
            last.write(bytes(4096))
    except OSError:
        pass
attempt("start", lambda: run("true"))
said["listed"] = [one["workspace_id"] == made for one in pyro.list_workspaces()["workspaces"]]
pyro.delete_snapshot(made, "one")
os.unlink(f"{state}/filler")
said["after"] = run("cat kept /etc/kept")["stdout"]
for one in pyro.list_workspaces()["workspaces"]:
    pyro.delete_workspace(one["workspace_id"])
print(json.dumps(said))
"""


def test_a_full_disk_of_the_guest_leaves_what_is_there(
    shared_workspace: SharedWorkspace, tmp_path: Path
) -> None:
    """Push, write and patch come whole or not at all; looking, saving and stopping still work."""
    store, workspace_id = shared_workspace
    (tmp_path / "room").mkdir()
    (tmp_path / "room/file").write_text("new\n")
    for number in range(20):
        (tmp_path / f"room/{number}").write_bytes(b"x" * 500_000)
    lines = f"+{'x' * 99}\n" * 80_000
    text = f"--- a/room/file\n+++ b/room/file\n@@ -1 +1,80000 @@\n-old\n{lines}"
    shared_workspace.run(_FILL)
    try:
        with pytest.raises(WorkspaceFileError, match="disk is full") as pushed:
            sync.push(store, workspace_id, tmp_path)
        with pytest.raises(WorkspaceFileError, match="disk is full"):
            files.write_bytes(store, workspace_id, "room/file", content=b"x" * 10_000_000)
        with pytest.raises(WorkspaceFileError, match="disk is full"):
            patch.apply(store, workspace_id, patch=text)

        assert pushed.value.reason == "no_space"
        assert shared_workspace.run("cat room/file; ls -A room").stdout == "old\nfile\n"
        assert files.read_text(store, workspace_id, "room/file").content == "old\n"
    finally:
        shared_workspace.run("rm -r /room-* room")


def test_a_full_host_leaves_what_is_there(settings: Settings, images: object) -> None:
    """A machine whose disk could not grow ends, and starts again as it was a moment before."""
    settings.state_dir.mkdir(exist_ok=True)

    ran = run_with_small_filesystem(
        settings, _ON_A_FULL_HOST, place=settings.state_dir, size_mib=250
    )

    assert ran.status == 0, ran.output
    assert json.loads(ran.output) == {
        "snapshot": "disk_space",
        "reset": "disk_space",
        "fork": "disk_space",
        "left": [],
        "alive": "kept\n",
        "grow": "guest_without_room",
        "start": "disk_space",
        "listed": [True],
        "after": "kept\nkept\n",
    }
