"""Calls that wait for another one's change of the same workspace, and what they find then."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp import Pyro
from pyro_mcp.state import workspaces as rows
from tests.support import until


@pytest.mark.parametrize(
    "save",
    [
        lambda pyro, workspace_id: pyro.create_snapshot(workspace_id, "saved"),
        lambda pyro, workspace_id: pyro.fork_workspace(workspace_id),
    ],
    ids=["snapshot", "fork"],
)
def test_what_waited_for_a_reset_saves_the_disk_that_it_made(
    pyro: Pyro, save: Callable[[Pyro, str], dict[str, Any]]
) -> None:
    made = pyro.create_workspace(environment="debian:12", mem_mib=256)
    workspace_id = str(made["workspace_id"])
    pyro.stop_workspace(workspace_id)
    store = pyro.manager.workspaces
    place = store.place(workspace_id)

    with ThreadPoolExecutor(1) as threads:
        with place.changing():
            saving = threads.submit(save, pyro, workspace_id)
            until(lambda: _is_waited_for(place.home / "change"))
            # All that a reset does to the index and to the files.
            place.disk(0).rename(place.disk(1))
            with store.database.changing() as connection:
                rows.switch_generation(connection, workspace_id, generation=1, now=time.time())
        saved = saving.result(60)

    assert saved["workspace_id"]
    assert pyro.exec_workspace(workspace_id, command="echo here")["stdout"] == "here\n"


def _is_waited_for(file: Path) -> bool:
    """Whether somebody wants to lock a file that is locked."""
    inode = f":{file.stat().st_ino} "
    locks = Path("/proc/locks").read_text().splitlines()
    return any("->" in lock and inode in lock for lock in locks)
