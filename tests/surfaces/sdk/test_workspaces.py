"""The SDK's workspaces: kept across processes and stops, changed by nothing but the caller."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors import (
    HostMemoryError,
    InvalidInputError,
    UnknownEnvironmentError,
    UnknownSnapshotError,
    UnknownWorkspaceError,
)
from pyro_mcp.machines.spec import available_memory_mib
from tests.support import until
from tests.surfaces.shapes import check


def in_another_process(expression: str) -> Any:
    """What an expression over `pyro` gives in a Python of its own."""
    program = (
        f"import json; from pyro_mcp import Pyro; pyro = Pyro(); print(json.dumps({expression}))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return json.loads(ran.stdout)


def test_what_one_process_makes_another_uses(kept: Pyro) -> None:
    made = in_another_process(
        "pyro.create_workspace(environment='debian:12', name=' build ', labels={'k': 'v'})"
    )
    workspace_id = made["workspace_id"]
    in_another_process(f"pyro.exec_workspace('{workspace_id}', command='echo mine > file')")

    result = kept.exec_workspace(workspace_id, command="cat file")

    check(made, "workspace")
    check(result, "workspace_exec_result")
    assert (made["state"], made["name"], made["labels"]) == ("started", "build", {"k": "v"})
    assert (result["stdout"], result["sequence"]) == ("mine\n", 2)
    assert result["workspace_started"] is False
    status = kept.status_workspace(workspace_id)
    assert status["command_count"] == 2
    assert status["last_command"]["command"] == "cat file"


def test_closing_the_process_that_made_it_ends_nothing(kept: Pyro) -> None:
    with Pyro() as other:
        workspace_id = other.create_workspace(environment="debian:12")["workspace_id"]

    assert kept.status_workspace(workspace_id)["state"] == "started"


def test_stop_and_start_keep_disk_and_history(kept: Pyro, workspace_id: str) -> None:
    kept.exec_workspace(workspace_id, command="echo data > file; echo tool > /usr/bin/tool")

    for _ in range(2):
        assert kept.stop_workspace(workspace_id)["state"] == "stopped"
    assert kept.logs_workspace(workspace_id)["count"] == 1
    for _ in range(2):
        assert kept.start_workspace(workspace_id)["state"] == "started"

    result = kept.exec_workspace(workspace_id, command="cat file /usr/bin/tool")
    assert (result["stdout"], result["sequence"]) == ("data\ntool\n", 2)


def test_a_stopped_one_is_started_by_what_needs_it_and_the_result_says_so(
    kept: Pyro, workspace_id: str
) -> None:
    kept.stop_workspace(workspace_id)

    assert kept.exec_workspace(workspace_id, command="true")["workspace_started"] is True
    assert kept.exec_workspace(workspace_id, command="true")["workspace_started"] is False
    assert kept.status_workspace(workspace_id)["state"] == "started"


def test_time_stops_it_and_deletes_nothing(kept: Pyro, workspace_id: str) -> None:
    kept.exec_workspace(workspace_id, command="echo data > file")
    kept.create_snapshot(workspace_id, "before")
    kept.update_workspace(workspace_id, ttl_seconds=1)

    until(lambda: kept.status_workspace(workspace_id)["state"] == "stopped")

    result = kept.exec_workspace(workspace_id, command="cat file; sleep 3; echo slept")
    assert (result["stdout"], result["workspace_started"]) == ("data\nslept\n", True)
    assert result["sequence"] == 2
    assert kept.list_snapshots(workspace_id)["count"] == 2


def test_without_a_time_to_live_nothing_ends_it(kept: Pyro) -> None:
    made = kept.create_workspace(environment="debian:12", mem_mib=256, ttl_seconds=0)

    assert (made["ttl_seconds"], made["expires_at"]) == (0, None)
    later = kept.update_workspace(made["workspace_id"], ttl_seconds=10**9)
    assert later["expires_at"] == pytest.approx(later["last_activity_at"] + 10**9)


def test_history_has_every_command_of_many_at_once(kept: Pyro, workspace_id: str) -> None:
    kept.stop_workspace(workspace_id)
    with ThreadPoolExecutor(10) as pool:
        results = list(
            pool.map(
                lambda number: kept.exec_workspace(workspace_id, command=f"echo {number}"),
                range(10),
            )
        )

    history = kept.logs_workspace(workspace_id)

    check(history, "workspace_logs")
    assert sorted(one["sequence"] for one in results) == list(range(1, 11))
    assert [one["sequence"] for one in history["entries"]] == list(range(1, 11))
    for one in results:
        entry = history["entries"][one["sequence"] - 1]
        assert (entry["command"], entry["stdout"]) == (one["command"], one["stdout"])
    assert sum(one["workspace_started"] for one in results) == 1


def test_a_command_has_input_variables_and_a_directory(kept: Pyro, workspace_id: str) -> None:
    seen: list[tuple[str, bytes]] = []

    result = kept.exec_workspace(
        workspace_id,
        command="pwd; echo $WORD; cat; exit 3",
        cwd="/etc",
        env={"WORD": "ünder"},
        stdin=b"in",
        on_output=lambda stream, data: seen.append((stream, data)),
    )

    assert (result["exit_code"], result["cwd"]) == (3, "/etc")
    assert result["stdout"] == "/etc\nünder\nin"
    assert b"".join(data for _, data in seen) == result["stdout"].encode()


def test_a_command_may_name_what_is_no_text(kept: Pyro, workspace_id: str) -> None:
    """Names of files are bytes; so are the words that a command line is given."""
    word = os.fsdecode(b"a\xffb")

    result = kept.exec_workspace(
        workspace_id,
        command=f"mkdir {word}; cd {word}; pwd | od -An -c | tail -n1",
        env={"W": word},
    )
    below = kept.exec_workspace(workspace_id, command="printf %s $W", cwd=word, env={"W": word})

    assert r"a 377   b  \n" in result["stdout"]
    assert (below["stdout"], below["cwd"]) == ("a\ufffdb", "/workspace/a\ufffdb")
    assert kept.logs_workspace(workspace_id)["entries"][0]["command"].startswith("mkdir a\ufffdb;")


@pytest.mark.parametrize(
    "wrong",
    [
        {"cwd": ""},
        {"cwd": "a\0b"},
        {"cwd": "\ud800"},
        {"env": {"A=B": "v"}},
        {"env": {"": "v"}},
        {"env": {"A": "a\0b"}},
        {"env": {"A": 1}},
        {"command": "\ud800"},
        {"timeout_seconds": 0},
    ],
    ids=repr,
)
def test_what_no_command_can_be_given_is_refused(
    kept: Pyro, workspace_id: str, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        kept.exec_workspace(workspace_id, **{"command": "true", **wrong})


def test_labels_merge_key_by_key_and_come_sorted(kept: Pyro) -> None:
    workspace_id = kept.create_workspace(
        environment="debian:12", mem_mib=256, labels={"b": "1", "a": "1"}
    )["workspace_id"]

    updated = kept.update_workspace(
        workspace_id, name="new", labels={"a": " 2 ", "c": "3"}, clear_labels=["b"]
    )

    assert updated["name"] == "new"
    assert list(updated["labels"].items()) == [("a", "2"), ("c", "3")]
    assert kept.update_workspace(workspace_id, clear_name=True)["name"] is None


def test_an_update_that_changes_nothing_is_refused(kept: Pyro, workspace_id: str) -> None:
    kept.update_workspace(workspace_id, name="one", labels={"k": "v"})

    nothing: list[dict[str, Any]] = [
        {},
        {"name": "one"},
        {"labels": {"k": "v"}},
        {"clear_labels": ["absent"]},
        {"ttl_seconds": 600},
        {"name": "two", "clear_name": True},
    ]
    for change in nothing:
        with pytest.raises(InvalidInputError):
            kept.update_workspace(workspace_id, **change)
    assert kept.status_workspace(workspace_id)["name"] == "one"


def test_the_list_begins_with_the_one_last_used(kept: Pyro) -> None:
    first, second, third = (
        kept.create_workspace(environment="debian:12", mem_mib=256)["workspace_id"]
        for _ in range(3)
    )

    def order() -> list[str]:
        return [one["workspace_id"] for one in kept.list_workspaces()["workspaces"]]

    assert order() == [third, second, first]
    kept.exec_workspace(first, command="true")
    assert order() == [first, third, second]
    kept.update_workspace(second, name="touched")
    assert order() == [second, first, third]
    kept.status_workspace(third)
    kept.logs_workspace(third)
    assert order() == [second, first, third]
    check(kept.list_workspaces(), "workspace_list")


BY_ID: list[Callable[[Pyro, str], object]] = [
    lambda pyro, id_: pyro.status_workspace(id_),
    lambda pyro, id_: pyro.update_workspace(id_, name="n"),
    lambda pyro, id_: pyro.start_workspace(id_),
    lambda pyro, id_: pyro.stop_workspace(id_),
    lambda pyro, id_: pyro.delete_workspace(id_),
    lambda pyro, id_: pyro.exec_workspace(id_, command="true"),
    lambda pyro, id_: pyro.logs_workspace(id_),
    lambda pyro, id_: pyro.create_snapshot(id_, "s"),
    lambda pyro, id_: pyro.list_snapshots(id_),
    lambda pyro, id_: pyro.delete_snapshot(id_, "s"),
    lambda pyro, id_: pyro.reset_workspace(id_),
    lambda pyro, id_: pyro.fork_workspace(id_),
    lambda pyro, id_: pyro.list_workspace_files(id_),
    lambda pyro, id_: pyro.stat_workspace_file(id_, "f"),
    lambda pyro, id_: pyro.read_workspace_file(id_, "f"),
    lambda pyro, id_: pyro.read_workspace_file_bytes(id_, "f"),
    lambda pyro, id_: pyro.write_workspace_file(id_, "f", text="t"),
    lambda pyro, id_: pyro.write_workspace_file_bytes(id_, "f", content=b"t"),
    lambda pyro, id_: pyro.delete_workspace_file(id_, "f"),
    lambda pyro, id_: pyro.move_workspace_file(id_, "f", "g"),
    lambda pyro, id_: pyro.make_workspace_directory(id_, "f"),
    lambda pyro, id_: pyro.search_workspace_files(id_, "f"),
    lambda pyro, id_: pyro.push_workspace_sync(id_, "/etc"),
    lambda pyro, id_: pyro.export_workspace(id_, "f", output_path="/proc/never"),
    lambda pyro, id_: pyro.diff_workspace(id_),
    lambda pyro, id_: pyro.apply_workspace_patch(id_, patch="p"),
]


def test_a_wrong_id_is_answered_with_the_nearest(kept: Pyro, workspace_id: str) -> None:
    wrong = workspace_id[1:] + "x"

    for call in BY_ID:
        with pytest.raises(UnknownWorkspaceError, match=workspace_id):
            call(kept, wrong)


@pytest.mark.parametrize("bad", ["", "..", "../..", "/", "a\0b", "ü" * 300])
def test_what_is_no_id_at_all_names_no_workspace(bad: str, state_dir: Path) -> None:
    for call in BY_ID:
        with pytest.raises(UnknownWorkspaceError):
            call(Pyro(), bad)


def test_delete_works_in_any_state_and_once(kept: Pyro, state_dir: Path) -> None:
    running, stopped = (
        kept.create_workspace(environment="debian:12", mem_mib=256)["workspace_id"]
        for _ in range(2)
    )
    kept.stop_workspace(stopped)

    for workspace_id in (running, stopped):
        deleted = kept.delete_workspace(workspace_id)
        check(deleted, "workspace_deleted")
        assert deleted["reason"] == "explicit_delete"
        with pytest.raises(UnknownWorkspaceError):
            kept.delete_workspace(workspace_id)
    assert list((state_dir / "workspaces").iterdir()) == []


def test_prune_removes_what_is_stopped_and_old(kept: Pyro) -> None:
    running, old = (
        kept.create_workspace(environment="debian:12", mem_mib=256)["workspace_id"]
        for _ in range(2)
    )
    kept.stop_workspace(old)

    assert kept.prune_workspaces(older_than_seconds=3600)["count"] == 0
    assert kept.prune_workspaces(older_than_seconds=0) == {
        "deleted_workspace_ids": [old],
        "count": 1,
    }
    assert kept.list_workspaces()["workspaces"][0]["workspace_id"] == running


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"environment": "debain:12"}, UnknownEnvironmentError, "Nearest: debian:12"),
    ({"mem_mib": 0}, InvalidInputError, "mem_mib is 0"),
    ({"vcpu_count": 9}, InvalidInputError, "vcpu_count is 9"),
    ({"ttl_seconds": -1}, InvalidInputError, "ttl_seconds is -1"),
    ({"name": " "}, InvalidInputError, "name"),
    ({"name": "n" * 121}, InvalidInputError, "name"),
    ({"labels": {"a b": "v"}}, InvalidInputError, "label"),
    ({"labels": ["a=v"]}, InvalidInputError, "labels is no mapping"),
    ({"labels": {"k": "two\nlines"}}, InvalidInputError, "label"),
    ({"network_policy": "some"}, InvalidInputError, "network_policy"),
    ({"network_allow": ["a.test"]}, InvalidInputError, "network_policy"),
    ({"secrets": [{"name": "A", "value": "hus"}]}, InvalidInputError, "A has fewer than 4 bytes"),
]


@pytest.mark.parametrize(("wrong", "error", "said"), BAD, ids=[str(b[0]) for b in BAD])
def test_bad_input_is_refused_before_anything_is_made(
    kept: Pyro, state_dir: Path, wrong: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as refused:
        kept.create_workspace(**{"environment": "debian:12", **wrong})

    assert "hus" not in str(refused.value)
    assert not list(state_dir.glob("workspaces/*"))


def test_more_memory_than_the_host_has_is_refused(kept: Pyro, state_dir: Path) -> None:
    if available_memory_mib() < 32768:
        with pytest.raises(HostMemoryError, match="32768 MiB"):
            kept.create_workspace(environment="debian:12", mem_mib=32768)
        assert not list(state_dir.glob("workspaces/*"))


def test_all_that_is_kept_is_closed_to_other_users(
    kept: Pyro, workspace_id: str, state_dir: Path
) -> None:
    """What a workspace holds is its owner's: its disks, sockets, history and secrets."""
    kept.create_snapshot(workspace_id, "one")

    folders = [state_dir, *(path for path in state_dir.rglob("*") if path.is_dir())]

    assert {folder: oct(folder.stat().st_mode & 0o777) for folder in folders} == dict.fromkeys(
        folders, "0o700"
    )


def test_reset_puts_everything_back(kept: Pyro, workspace_id: str) -> None:
    kept.update_workspace(workspace_id, name="kept", labels={"k": "v"})
    kept.exec_workspace(workspace_id, command="echo 1 > file; echo 1 > /opt/tool")
    check(kept.create_snapshot(workspace_id, "one"), "snapshot_create_result")
    kept.exec_workspace(workspace_id, command="echo 2 > file; rm /opt/tool; touch more")

    restored = kept.reset_workspace(workspace_id, snapshot="one")

    check(restored, "workspace_reset_result")
    check(kept.list_snapshots(workspace_id), "snapshot_list")
    assert restored["workspace_reset"]["snapshot_name"] == "one"
    assert (restored["state"], restored["reset_count"]) == ("started", 1)
    assert (restored["name"], restored["labels"]) == ("kept", {"k": "v"})
    assert kept.logs_workspace(workspace_id)["count"] == 0
    again = kept.exec_workspace(workspace_id, command="cat file /opt/tool; ls")
    assert (again["stdout"], again["sequence"]) == ("1\n1\nfile\n", 1)

    kept.reset_workspace(workspace_id)
    assert kept.exec_workspace(workspace_id, command="ls . /opt")["stdout"] == ".:\n\n/opt:\n"
    check(kept.delete_snapshot(workspace_id, "one"), "snapshot_deleted")
    with pytest.raises(UnknownSnapshotError, match="baseline"):
        kept.reset_workspace(workspace_id, snapshot="one")


def test_whatever_needs_it_running_starts_it_and_says_so(
    kept: Pyro, workspace_id: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("1\n")
    patch = "--- a/file\n+++ b/file\n@@ -1 +1 @@\n-1\n+2\n"
    calls: list[Callable[[], dict[str, Any]]] = [
        lambda: kept.push_workspace_sync(workspace_id, tmp_path),
        lambda: kept.make_workspace_directory(workspace_id, "d"),
        lambda: kept.write_workspace_file(workspace_id, "d/f", text="t"),
        lambda: kept.move_workspace_file(workspace_id, "d/f", "d/g"),
        lambda: kept.stat_workspace_file(workspace_id, "d/g"),
        lambda: kept.delete_workspace_file(workspace_id, "d", recursive=True),
        lambda: kept.list_workspace_files(workspace_id),
        lambda: kept.search_workspace_files(workspace_id, "1"),
        lambda: kept.apply_workspace_patch(workspace_id, patch=patch),
        lambda: kept.read_workspace_file(workspace_id, "file"),
        lambda: kept.diff_workspace(workspace_id),
        lambda: kept.export_workspace(workspace_id, "file", output_path=tmp_path / "out"),
    ]
    for call in calls:
        kept.stop_workspace(workspace_id)
        assert call()["workspace_started"] is True
    assert (tmp_path / "out").read_text() == "2\n"


def test_a_fork_goes_its_own_way(kept: Pyro, workspace_id: str) -> None:
    kept.exec_workspace(workspace_id, command="echo common > file")

    forked = kept.fork_workspace(workspace_id, name="second")

    check(forked, "workspace")
    other = forked["workspace_id"]
    assert (forked["forked_from"], forked["command_count"]) == (workspace_id, 0)
    kept.exec_workspace(other, command="echo changed >> file")
    assert kept.exec_workspace(workspace_id, command="cat file")["stdout"] == "common\n"
    assert kept.exec_workspace(other, command="cat file")["stdout"] == "common\nchanged\n"
