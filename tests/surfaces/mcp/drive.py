"""A walk through every tool of a profile, as a client takes it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from mcp.types import CallToolResult, TextContent

from tests.surfaces.shapes import check_tool

Call = Callable[[str, dict[str, Any]], Awaitable[CallToolResult]]

DEBIAN = {"environment": "debian:12", "mem_mib": 256}
_SERVER = "while true; do echo tick; sleep 0.2; done"


class Walk:
    """Calls tools and checks each answer against the contract and against its own other half."""

    def __init__(self, call: Call, offered: set[str]) -> None:
        self._call = call
        self._offered = offered
        self.called: set[str] = set()

    async def __call__(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        """The structured answer; an empty one where the profile has no such tool."""
        if name not in self._offered:
            return {}
        self.called.add(name)
        result = await self._call(name, arguments)
        assert isinstance(result.content[0], TextContent)
        text = result.content[0].text
        assert not result.is_error, f"{name}: {text}"
        structured: dict[str, Any] = result.structured_content
        assert json.loads(text) == structured
        check_tool(name, structured)
        return structured


async def walk_through(call: Call, offered: set[str], scratch: Path) -> set[str]:
    """Call every tool that is offered, each at least once; gives the names of those called."""
    walk = Walk(call, offered)
    ran = await walk("vm_run", **DEBIAN, command="echo once; exit 3")
    assert (ran["stdout"], ran["exit_code"]) == ("once\n", 3)
    await _one_shot(walk)
    await _workspace(walk, scratch)
    return walk.called


async def _one_shot(walk: Walk) -> None:
    await walk("vm_list_environments")
    if "vm_create" not in walk._offered:
        return
    vm = {"vm_id": (await walk("vm_create", **DEBIAN))["vm_id"]}
    assert (await walk("vm_start", **vm))["state"] == "started"
    await walk("vm_status", **vm)
    await walk("vm_network_info", **vm)
    assert (await walk("vm_stop", **vm))["state"] == "stopped"
    await walk("vm_start", **vm)
    assert (await walk("vm_exec", **vm, command="echo hi"))["stdout"] == "hi\n"
    await walk("vm_reap_expired")
    await walk("vm_delete", vm_id=(await walk("vm_create", **DEBIAN))["vm_id"])


async def _workspace(walk: Walk, scratch: Path) -> None:
    seed, pushed, out = scratch / "seed", scratch / "pushed", scratch / "out"
    for directory in (seed, pushed, out):
        directory.mkdir()
    (seed / "seeded.txt").write_text("seeded\n")
    (pushed / "pushed.txt").write_text("pushed\n")
    made = await walk("workspace_create", **DEBIAN, seed_path=str(seed), name="walk")
    if not made:
        return
    here = {"workspace_id": made["workspace_id"]}
    await walk("workspace_list")
    await walk("workspace_update", **here, labels={"kind": "walk"})
    await walk("workspace_status", **here)
    ran = await walk("workspace_exec", **here, command="cat seeded.txt; printf '\\377'")
    assert ran["stdout"] == "seeded\n�"
    await walk("workspace_sync_push", **here, source_path=str(pushed), dest="in")
    await walk("workspace_file_write", **here, path="new.txt", text="one\ntwo\n")
    await walk("snapshot_create", **here, snapshot_name="before")
    await walk(
        "workspace_patch_apply", **here,
        patch="--- a/new.txt\n+++ b/new.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n",
    )  # fmt: skip
    read = await walk("workspace_file_read", **here, path="new.txt", offset=4)
    assert read["content"] == "three\n"
    found = await walk("workspace_file_search", **here, pattern="thr..", globs=["*.txt"])
    assert found["count"] == 1
    listed = await walk("workspace_file_list", **here, recursive=True)
    assert "/workspace/in/pushed.txt" in [entry["path"] for entry in listed["entries"]]
    assert (await walk("workspace_diff", **here))["changed"] is True
    await walk("workspace_logs", **here, sequence=1)
    await walk("workspace_export", **here, path="new.txt", output_path=str(out / "new.txt"))
    assert (out / "new.txt").read_text() == "one\nthree\n"
    fork = await walk("workspace_fork", **here, name="copy")
    await walk("workspace_delete", workspace_id=fork["workspace_id"])
    await walk("snapshot_list", **here)
    await walk("network_log", **here)
    await _secrets(walk, here)
    await _shells(walk, here)
    await _services(walk, here)
    await walk("workspace_stop", **here)
    await walk("workspace_disk_list", **here)
    await walk("workspace_disk_read", **here, path="new.txt")
    await walk("workspace_disk_export", **here, output_path=str(out / "disk.ext4"))
    await walk("workspace_start", **here)
    await walk("snapshot_delete", **here, snapshot_name="before")
    assert (await walk("workspace_reset", **here))["reset_count"] == 1
    assert (await walk("workspace_delete", **here))["deleted"] is True


async def _secrets(walk: Walk, here: dict[str, Any]) -> None:
    if "secret_set" not in walk._offered:
        return
    await walk("secret_set", **here, name="TOKEN", value="a-secret-value")
    ran = await walk("workspace_exec", **here, command='echo "$T"', secret_env={"TOKEN": "T"})
    assert ran["stdout"] == "[REDACTED]\n"
    await walk("secret_list", **here)
    await walk("secret_delete", **here, name="TOKEN")


async def _shells(walk: Walk, here: dict[str, Any]) -> None:
    if "shell_open" not in walk._offered:
        return
    opened = await walk("shell_open", **here)
    shell = {**here, "shell_id": opened["shell_id"]}
    await walk("shell_list", **here)
    await walk("shell_resize", **shell, cols=100, rows=40)
    await walk("shell_write", **shell, input="echo from-$((1 + 1))")
    seen, cursor = "", 0
    while "from-2" not in seen:
        read = await walk("shell_read", **shell, cursor=cursor, plain=True, wait_for_idle_ms=100)
        seen, cursor = seen + read["output"], read["next_cursor"]
    await walk("shell_signal", **shell)
    await walk("shell_close", **shell)


async def _services(walk: Walk, here: dict[str, Any]) -> None:
    if "service_start" not in walk._offered:
        return
    service = {**here, "service_name": "ticker"}
    started = await walk(
        "service_start", **service, command=f"touch up; {_SERVER}", ready_file="up"
    )
    assert started["state"] == "running"
    await walk("service_list", **here)
    await walk("service_status", **service)
    logs: dict[str, Any] = {"stdout": ""}
    while "tick" not in logs["stdout"]:
        logs = await walk("service_logs", **service)
    await walk("service_stop", **service)
