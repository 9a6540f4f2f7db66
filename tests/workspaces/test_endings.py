"""How a workspace's machine ends from outside, and what is there when it starts again."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from pyro_mcp import Pyro
from tests.support import until
from tests.support.processes import descendants


def test_a_host_that_shuts_down_loses_nothing_of_a_workspace(pyro: Pyro) -> None:
    """TERM is what every process gets then; what the guest had only in memory is written."""
    before = {process.pid for process in descendants(os.getpid())}
    workspace_id = str(pyro.create_workspace(environment="debian:12", mem_mib=256)["workspace_id"])
    pyro.exec_workspace(workspace_id, command="echo kept > /etc/note; seq 10000 > numbers")

    # The innermost first, so that the monitor hears of it last.
    for process in reversed(descendants(os.getpid())):
        if process.pid not in before:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)

    until(lambda: pyro.status_workspace(workspace_id)["state"] == "stopped")
    again = pyro.exec_workspace(workspace_id, command="cat /etc/note; wc -l < numbers")
    assert again["stdout"] == "kept\n10000\n"
    assert again["workspace_started"] is True


def test_an_unused_workspace_is_stopped_with_its_work_and_started_by_its_next_use(
    pyro: Pyro,
) -> None:
    made = pyro.create_workspace(environment="debian:12", mem_mib=256, ttl_seconds=1)
    workspace_id = str(made["workspace_id"])
    pyro.exec_workspace(workspace_id, command="echo kept > note")

    until(lambda: pyro.status_workspace(workspace_id)["state"] == "stopped", timeout=40)

    again = pyro.exec_workspace(workspace_id, command="cat note")
    assert (again["stdout"], again["workspace_started"]) == ("kept\n", True)


def test_a_command_under_way_is_use(pyro: Pyro) -> None:
    made = pyro.create_workspace(environment="debian:12", mem_mib=256, ttl_seconds=1)
    workspace_id = str(made["workspace_id"])

    result = pyro.exec_workspace(workspace_id, command="sleep 8; echo done", timeout_seconds=60)

    assert result["stdout"] == "done\n"
