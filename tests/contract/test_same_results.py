"""The same call has the same result through the SDK, the command line and a tool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pyro_mcp import Pyro
from pyro_mcp.tools import Toolset
from tests.surfaces.cli.support import run_pyro
from tests.surfaces.shapes import check_tool

# What only the moment decides.
_OF_THE_MOMENT = {"duration_ms", "sequence", "last_activity_at", "expires_at", "vm_id", "cleanup"}


class Same(NamedTuple):
    """One call, three ways."""

    method: str
    arguments: dict[str, Any]
    words: tuple[str, ...]
    tool: str


_STARTED = (
    Same("status_workspace", {}, ("status", "ID"), "workspace_status"),
    Same("exec_workspace", {"command": "echo hi; exit 3"},
         ("exec", "ID", "--", "sh", "-c", "echo hi; exit 3"), "workspace_exec"),
    Same("list_workspace_files", {"recursive": True}, ("file", "list", "ID", "--recursive"),
         "workspace_file_list"),
    Same("read_workspace_file", {"path": "seeded.txt"}, ("file", "read", "ID", "seeded.txt"),
         "workspace_file_read"),
    Same("search_workspace_files", {"pattern": "s.ed", "max_matches": 100},
         ("file", "search", "ID", "s.ed", "--max-matches", "100"), "workspace_file_search"),
    Same("diff_workspace", {}, ("diff", "ID"), "workspace_diff"),
    Same("logs_workspace", {}, ("logs", "ID"), "workspace_logs"),
    Same("list_snapshots", {}, ("snapshot", "list", "ID"), "snapshot_list"),
    Same("list_shells", {}, ("shell", "list", "ID"), "shell_list"),
    Same("list_services", {}, ("service", "list", "ID"), "service_list"),
    Same("list_secrets", {}, ("secret", "list", "ID"), "secret_list"),
)  # fmt: skip
_STOPPED = (
    Same("stop_workspace", {}, ("stop", "ID"), "workspace_stop"),
    Same("list_workspace_disk", {}, ("disk", "list", "ID"), "workspace_disk_list"),
    Same("read_workspace_disk", {"path": "/etc/hostname"}, ("disk", "read", "ID", "/etc/hostname"),
         "workspace_disk_read"),
)  # fmt: skip


def _lasting(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {key: _lasting(one) for key, one in answer.items() if key not in _OF_THE_MOMENT}
    return [_lasting(one) for one in answer] if isinstance(answer, list) else answer


def test_every_surface_says_the_same(pyro: Pyro, tmp_path: Path) -> None:
    (tmp_path / "seeded.txt").write_text("seeded\n")
    made = pyro.create_workspace(environment="debian:12", mem_mib=256, seed_path=tmp_path)
    here = {"workspace_id": made["workspace_id"]}
    tools = Toolset(pyro)
    pyro.exec_workspace(**here, command="echo more >> seeded.txt; echo new > new.txt")

    for call in (*_STARTED, *_STOPPED):
        by_sdk = _lasting(getattr(pyro, call.method)(**here, **call.arguments))
        words = [made["workspace_id"] if word == "ID" else word for word in call.words]
        cut = words.index("--") if "--" in words else len(words)
        printed = run_pyro("workspace", *words[:cut], "--json", *words[cut:]).stdout
        by_cli = _lasting(json.loads(printed))
        answer = tools.call(call.tool, {**here, **call.arguments})
        assert not answer.is_error, answer.text
        check_tool(call.tool, answer.structured)
        by_tool = _lasting(answer.structured)
        if call.method == "exec_workspace":
            # The words of a command line are joined into one command.
            by_cli["command"] = by_sdk["command"]
        if call.method == "logs_workspace":
            continue  # has only grown meanwhile
        assert by_cli == by_sdk, call.method
        assert {key: by_tool[key] for key in by_sdk} == by_sdk, call.method


def test_every_surface_refuses_with_the_same_words(pyro: Pyro) -> None:
    unknown = "0" * 12
    with pytest.raises(ValueError, match=unknown) as refused:
        pyro.status_workspace(unknown)

    printed = json.loads(run_pyro("workspace", "status", unknown, "--json").stdout)
    answer = Toolset(pyro).call("workspace_status", {"workspace_id": unknown})

    error = answer.structured["error"]
    assert f"{error['message']} {error['hint']}" == str(refused.value) == printed["error"]
    assert error["code"] == printed["code"]
