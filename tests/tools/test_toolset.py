"""Calls of tools, against a real guest: every one is answered, in two forms that say it all."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp import Cancel, Pyro
from pyro_mcp.errors import InvalidInputError
from pyro_mcp.tools import Context, Toolset, tools_of


def _exec(tools: Toolset, workspace_id: str, command: str, **more: Any) -> dict[str, Any]:
    answer = tools.call(
        "workspace_exec", {"workspace_id": workspace_id, "command": command, **more}
    )
    assert not answer.is_error, answer.text
    return answer.structured


def _error(tools: Toolset, name: str, arguments: dict[str, Any]) -> dict[str, str]:
    answer = tools.call(name, arguments)
    assert answer.is_error
    error: dict[str, str] = answer.structured["error"]
    assert answer.text == f"[{error['code']}] {error['message']} {error['hint']}"
    return error


def test_the_text_says_what_the_structure_says(tools: Toolset, workspace_id: str) -> None:
    answer = tools.call("workspace_exec", {"workspace_id": workspace_id, "command": "echo hi"})

    assert answer.structured["stdout"] == "hi\n"
    assert json.loads(answer.text) == answer.structured


def test_long_output_keeps_head_and_tail_and_the_rest_is_read_by_offset(
    tools: Toolset, workspace_id: str
) -> None:
    whole = "".join(f"{number}\n" for number in range(20000))

    answer = _exec(tools, workspace_id, "seq 0 19999")

    assert len(answer["stdout"]) < 20_000
    assert answer["stdout"].startswith("0\n1\n")
    assert answer["stdout"].endswith("19999\n")
    assert answer["stdout_truncated"] is True
    assert answer["stdout_bytes"] == len(whole)
    assert f"workspace_logs with sequence {answer['sequence']} and offset 8000" in answer["stdout"]

    read = whole[:8000]
    offset: int | None = 8000
    while offset is not None:
        logs = tools.call(
            "workspace_logs",
            {"workspace_id": workspace_id, "sequence": answer["sequence"], "offset": offset},
        )
        (entry,) = logs.structured["entries"]
        read += entry["stdout"]
        offset = entry["next_offset"]
    assert read == whole


def test_the_history_shows_excerpts(tools: Toolset, workspace_id: str) -> None:
    ran = _exec(tools, workspace_id, "seq 0 2000")

    logs = tools.call("workspace_logs", {"workspace_id": workspace_id}).structured

    entry = logs["entries"][-1]
    assert entry["sequence"] == ran["sequence"]
    assert f"give sequence {ran['sequence']} to read it" in entry["stdout"]
    assert len(entry["stdout"]) < 1200


def test_a_file_is_read_piece_by_piece(tools: Toolset, workspace_id: str) -> None:
    path = {"workspace_id": workspace_id, "path": "piece.txt"}
    tools.call("workspace_file_write", {**path, "text": "0123456789"})

    first = tools.call("workspace_file_read", {**path, "max_bytes": 6}).structured
    rest = tools.call("workspace_file_read", {**path, "offset": first["next_offset"]}).structured

    assert (first["content"], first["truncated"]) == ("012345", True)
    assert (rest["content"], rest["next_offset"]) == ("6789", None)


def test_a_file_read_in_parts_is_never_cut_within_a_character(
    tools: Toolset, workspace_id: str
) -> None:
    whole = "aä€😀" * 5
    path = {"workspace_id": workspace_id, "path": "characters"}
    tools.call("workspace_file_write", {**path, "text": whole})

    read = ""
    offset: int | None = 0
    while offset is not None:
        part = tools.call("workspace_file_read", {**path, "offset": offset, "max_bytes": 6})
        read += part.structured["content"]
        offset = part.structured["next_offset"]

    assert read == whole


def test_a_long_patch_is_read_piece_by_piece(tools: Toolset, workspace_id: str) -> None:
    _exec(tools, workspace_id, "seq 0 20000 > many.txt")

    pieces: list[str] = []
    offset: int | None = 0
    while offset is not None:
        arguments = {"workspace_id": workspace_id, "offset": offset}
        diff = tools.call("workspace_diff", arguments).structured
        assert diff["truncated"] is True
        pieces.append(diff["patch"])
        offset = diff["next_offset"]

    whole = "".join(pieces)
    assert len(whole) == diff["patch_chars"]
    assert "+20000\n" in whole
    _exec(tools, workspace_id, "rm many.txt")


def test_a_long_listing_comes_in_pages(tools: Toolset, workspace_id: str) -> None:
    _exec(tools, workspace_id, "mkdir pages; cd pages; seq 1000 1999 | xargs touch")

    found: list[str] = []
    offset: int | None = 0
    while offset is not None:
        arguments = {"workspace_id": workspace_id, "path": "pages", "offset": offset}
        page = tools.call("workspace_file_list", arguments).structured
        found += [entry["path"] for entry in page["entries"]]
        offset = page["next_offset"]

    assert found == [f"/workspace/pages/{number}" for number in range(1000, 2000)]
    _exec(tools, workspace_id, "rm -r pages")


def test_mistakes_are_answers_with_a_code_and_a_next_step(
    tools: Toolset, workspace_id: str
) -> None:
    assert _error(tools, "vm_runn", {})["hint"].startswith("Nearest: vm_run")
    assert _error(tools, "workspace_exec", {"workspace_id": workspace_id})["code"] == (
        "invalid_input"
    )
    unknown = _error(tools, "workspace_exec", {"workspace_id": "0" * 12, "command": "ls"})
    assert unknown["code"] == "unknown_workspace"
    missing = _error(
        tools, "workspace_file_read", {"workspace_id": workspace_id, "path": "no-such"}
    )
    assert missing["code"] == "workspace_file"
    ranged = _error(
        tools, "workspace_exec",
        {"workspace_id": workspace_id, "command": "ls", "timeout_seconds": 0},
    )  # fmt: skip
    assert "timeout_seconds" in ranged["message"]


def test_arguments_that_contradict_each_other_are_refused(
    tools: Toolset, workspace_id: str
) -> None:
    """None of them is silently the one that counts."""
    service = {"workspace_id": workspace_id, "service_name": "s", "command": "sleep 600"}

    refused = _error(tools, "service_start", {**service, "ready_file": "f", "ready_tcp": "h:1"})

    assert refused["message"] == "ready_file and ready_tcp exclude each other."
    listed = tools.call("service_list", {"workspace_id": workspace_id}).structured
    assert listed["count"] == 0


def test_a_fault_of_our_own_is_an_answer_too(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Pyro):
        def list_workspaces(self) -> dict[str, Any]:
            raise KeyError("lost")

    error = _error(Toolset(Broken()), "workspace_list", {})

    assert error["code"] == "internal"
    assert "KeyError" in error["message"]
    assert "The tool workspace_list failed" in caplog.text


def test_output_is_heard_as_it_comes(tools: Toolset, workspace_id: str) -> None:
    heard: list[tuple[str, bytes]] = []

    tools.call(
        "workspace_exec",
        {"workspace_id": workspace_id, "command": "echo out; echo err >&2"},
        Context(on_output=lambda stream, data: heard.append((stream, data))),
    )

    assert sorted(heard) == [("stderr", b"err\n"), ("stdout", b"out\n")]


def test_cancelling_ends_the_command_and_all_it_started(tools: Toolset, workspace_id: str) -> None:
    cancel = Cancel()
    started = threading.Event()
    command = "echo go; sleep 4321 & sleep 4321"

    def heard(_stream: str, _data: bytes) -> None:
        started.set()

    def trigger() -> None:
        started.wait()
        cancel.trigger()

    thread = threading.Thread(target=trigger)
    thread.start()
    answer = tools.call(
        "workspace_exec",
        {"workspace_id": workspace_id, "command": command, "timeout_seconds": 600},
        Context(cancel=cancel, on_output=heard),
    )
    thread.join()

    assert answer.structured["error"]["code"] == "cancelled"
    wait = "while pgrep -f 'sleep 432[1]' >/dev/null; do sleep 0.1; done"
    assert _exec(tools, workspace_id, wait)["exit_code"] == 0


def test_a_project_is_what_a_workspace_begins_with(tools: Toolset, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("kept")
    (tmp_path / "built.txt").write_text("built")
    (tmp_path / ".gitignore").write_text("built.txt\n")
    ours = Toolset(tools.pyro, "workspace-core", project_path=tmp_path, project_gitignore=True)

    made = ours.call("workspace_create", {"environment": "debian:12", "mem_mib": 256}).structured

    listed = ours.call("workspace_file_list", {"workspace_id": made["workspace_id"]}).structured
    ours.call("workspace_delete", {"workspace_id": made["workspace_id"]})
    assert [entry["path"] for entry in listed["entries"]] == [
        "/workspace/.gitignore", "/workspace/kept.txt",
    ]  # fmt: skip


def test_a_pinned_workspace_needs_no_id_and_is_the_only_one(
    tools: Toolset, workspace_id: str
) -> None:
    pinned = Toolset(tools.pyro, "workspace-core", workspace_id=workspace_id)

    assert pinned.call("workspace_exec", {"command": "true"}).structured["exit_code"] == 0
    assert (
        _error(pinned, "workspace_exec", {"workspace_id": "0" * 12, "command": "true"})["hint"]
        == f"Choose one of: {workspace_id}."
    )
    assert _error(pinned, "workspace_create", {"environment": "debian:12"})["code"] == (
        "unknown_tool"
    )
    assert _error(pinned, "workspace_list", {})["code"] == "unknown_tool"


def test_a_computer_for_one_command_may_be_given_part_of_the_network(tools: Toolset) -> None:
    """As from the command line and from Python, and checked as there."""
    some = {"environment": "debian:12", "network": True, "network_allow": ["a..b"]}

    for name, more in (("vm_run", {"command": "true"}), ("vm_create", {})):
        error = _error(tools, name, {**some, **more})
        assert error["message"].startswith("network_allow has the entry 'a..b'")


def test_a_mode_is_narrower_than_every_profile_with_workspaces() -> None:
    core = {tool.name for tool in tools_of("workspace-core")}

    for mode in ("repro-fix", "inspect"):
        assert {tool.name for tool in tools_of(mode=mode)} < core
    for mode in ("cold-start", "review"):
        assert len(tools_of(mode=mode)) < len(core)


@pytest.mark.parametrize("wrong", [{"profile": "all"}, {"mode": "all"}, {"project_path": "/none"}])
def test_what_does_not_exist_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        Toolset(Pyro(), **wrong)
