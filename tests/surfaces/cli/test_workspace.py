"""`pyro workspace`: the life of a workspace from the command line."""

import json
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from pyro_mcp import Pyro
from pyro_mcp.config import STATE_VARIABLE
from tests.support import until
from tests.support.processes import descendants
from tests.surfaces.cli.support import PYRO, run_pyro
from tests.surfaces.shapes import check


def _pyro(*words: str) -> str:
    finished = run_pyro("workspace", *words)
    assert finished.returncode == 0, finished.stderr.decode()
    return finished.stdout.decode()


def test_a_life_from_create_to_delete(kept: Pyro) -> None:
    workspace_id = _pyro("create", "debian:12", "--id-only", "--name", "my work").rstrip("\n")
    assert len(workspace_id) == 12

    listed = _pyro("list")
    assert listed.startswith(
        f"[workspace] workspace_id={workspace_id} name='my work' state=started"
    )
    assert "environment=debian:12 labels=- " in listed
    assert listed.endswith(" commands=0 services=0/0\n")

    updated = _pyro("update", workspace_id, "--clear-name", "--label", "k=a=b", "--label", "b=1")
    assert updated.startswith(f"workspace_id: {workspace_id}\nname: -\nlabels:\n  b: 1\n  k: a=b\n")

    assert "\nstate: stopped\n" in _pyro("stop", workspace_id)
    assert "\nstate: stopped\n" in _pyro("status", workspace_id)
    assert "\nstate: started\n" in _pyro("start", workspace_id)

    assert _pyro("delete", workspace_id) == f"Deleted workspace: {workspace_id}\n"
    assert _pyro("list") == "No workspaces.\n"


def test_for_programs_each_answer_is_the_sdks(kept: Pyro) -> None:
    created = json.loads(_pyro("create", "debian:12", "--json", "--label", "k=v"))
    check(created, "workspace")
    workspace_id = created["workspace_id"]

    for command, shape in {
        "status": "workspace", "logs": "workspace_logs", "stop": "workspace", "start": "workspace",
        "reset": "workspace_reset_result", "delete": "workspace_deleted",
    }.items():  # fmt: skip
        finished = run_pyro("workspace", command, "--json", workspace_id)
        answer = json.loads(finished.stdout)
        check(answer, shape)
        assert finished.stderr == b""
        assert finished.stdout == (json.dumps(answer, indent=2, sort_keys=True) + "\n").encode()
        if command == "status":
            assert answer == kept.status_workspace(workspace_id)
    assert json.loads(_pyro("list", "--json")) == {"count": 0, "workspaces": []}


def test_the_history_shows_commands_and_both_streams(kept: Pyro, workspace_id: str) -> None:
    kept.exec_workspace(workspace_id, command="echo out; printf err >&2; exit 3")
    kept.exec_workspace(workspace_id, command="true", cwd="/etc")

    shown = run_pyro("workspace", "logs", workspace_id)

    lines = shown.stdout.decode().splitlines()
    assert lines[0].startswith("#1 exit_code=3 duration_ms=")
    assert lines[1:3] == ["$ echo out; printf err >&2; exit 3", "out"]
    assert lines[3].startswith("#2 exit_code=0 duration_ms=")
    assert lines[3].endswith(" cwd=/etc")
    assert shown.stderr == b"err\n"


def test_snapshots_reset_and_fork(kept: Pyro, workspace_id: str) -> None:
    kept.exec_workspace(workspace_id, command="echo 1 > file")

    created = _pyro("snapshot", "create", workspace_id, "one")
    listed = _pyro("snapshot", "list", workspace_id)
    assert created.startswith(
        f"[workspace-snapshot-create] workspace_id={workspace_id} snapshot_name=one kind=named "
    )
    assert [line.partition(" entry_count=")[0] for line in listed.splitlines()] == [
        "baseline [baseline]",
        "one [named]",
    ]

    kept.exec_workspace(workspace_id, command="echo 2 > file")
    other = _pyro("fork", workspace_id, "--snapshot", "one", "--id-only").strip()
    assert kept.exec_workspace(other, command="cat file")["stdout"] == "1\n"
    reset = _pyro("reset", workspace_id, "--snapshot", "one").splitlines()
    assert reset[0] == f"workspace_id: {workspace_id}"
    assert reset[-2] == "Reset source: one (named)"
    assert reset[-1].startswith("Reset restore: /workspace entry_count=")
    assert kept.exec_workspace(workspace_id, command="cat file")["stdout"] == "1\n"

    assert _pyro("snapshot", "delete", workspace_id, "one") == "Deleted snapshot: one\n"
    refused = run_pyro("workspace", "reset", workspace_id, "--snapshot", "one")
    assert refused.returncode == 1
    assert b"It has: baseline." in refused.stderr


def test_prune_takes_a_time_with_a_unit(kept: Pyro, workspace_id: str) -> None:
    kept.stop_workspace(workspace_id)

    assert _pyro("prune", "--older-than", "12h") == "Removed workspaces: 0\n"
    assert _pyro("prune", "--older-than", "0s") == f"Removed workspaces: 1\n- {workspace_id}\n"


def test_a_wrong_id_is_refused_with_the_nearest(workspace_id: str) -> None:
    wrong = workspace_id[1:] + "x"
    for words in (
        ("status",), ("update", "--name", "n"), ("logs",), ("start",), ("stop",), ("delete",),
        ("reset",), ("fork",), ("snapshot", "list"), ("export", "--output", "/nowhere/x", "."),
        ("diff",), ("exec",),
    ):  # fmt: skip
        words = (*words, "--json", wrong) if words[0] != "export" else (
            "export", wrong, ".", "--output", "/proc/x", "--json"
        )  # fmt: skip
        rest = ("--", "true") if words[0] == "exec" else ()

        finished = run_pyro("workspace", *words, *rest)

        answer = json.loads(finished.stdout)
        assert finished.returncode == 1
        assert answer["code"] == "unknown_workspace"
        assert workspace_id in answer["hint"]
        assert finished.stderr.startswith(b"[error] No workspace has the id ")
        assert len(finished.stderr.splitlines()) == 1


def test_a_create_that_is_killed_leaves_nothing(kept: Pyro, state_dir: Path) -> None:
    """Whenever it is killed: nothing is visible, and the next list removes what there is."""
    chance = random.Random(4)
    words = [*PYRO, "workspace", "create", "debian:12", "--mem-mib", "256", "--id-only"]
    finished = 0
    for _ in range(12):
        with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
            try:
                process.wait(chance.uniform(0.05, 1.0))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            told = process.communicate()[0].decode().strip()
        found = kept.list_workspaces()["workspaces"]
        if told:
            assert [one["workspace_id"] for one in found] == [told]
        for one in found:
            # Made whole, and killed before it could say so.
            assert kept.exec_workspace(one["workspace_id"], command="true")["exit_code"] == 0
            kept.delete_workspace(one["workspace_id"])
            finished += 1
        assert list((state_dir / "workspaces").glob("*")) == []
    assert finished < 12


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_create_that_is_told_to_end_removes_what_it_made(
    kept: Pyro, state_dir: Path, number: signal.Signals
) -> None:
    words = [*PYRO, "workspace", "create", "debian:12", "--mem-mib", "256"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not list((state_dir / "workspaces").glob("*/console.log")):
            assert process.poll() is None
        process.send_signal(number)
        told, errors = process.communicate(timeout=60)

    assert process.returncode == 128 + number
    assert told == b""
    assert errors.splitlines()[-1].startswith(b"[error] ")
    assert b"Traceback" not in errors
    assert list((state_dir / "workspaces").glob("*")) == []


def test_what_a_killed_create_started_is_ended_by_the_next_list(
    kept: Pyro, state_dir: Path
) -> None:
    words = [*PYRO, "workspace", "create", "debian:12", "--mem-mib", "256"]
    before = {process.pid for process in descendants(os.getpid())}
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        while not list((state_dir / "workspaces").glob("*/console.log")):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)

    assert kept.list_workspaces()["count"] == 0
    until(lambda: {p.pid for p in descendants(os.getpid()) if not p.ended} <= before)
    assert list((state_dir / "workspaces").glob("*")) == []


@pytest.mark.parametrize(
    "words",
    [
        ("create", "debian:12", "--label", "novalue"),
        ("create", "debian:12", "--secret", "hush"),
        ("create", "debian:12", "--secret", "NAME=hushhush", "--secret", "NAME=hushhush"),
        ("create", "debian:12", "--network-allow", "example.org"),
        ("create", "debian:12", "--network-policy", "egress", "--network-allow", "10.0.0.1"),
        ("create", "debian:12", "--ttl-seconds", "-1"),
        ("create", "debian:12", "--seed-path", "/nowhere"),
        ("prune", "--older-than", "7"),
        ("prune", "--older-than", "-7d"),
        ("exec", "0123456789ab"),
        ("exec", "0123456789ab", "--secret-env", "NAME", "--", "true"),
        ("patch", "apply", "0123456789ab", "--patch-file", "/nowhere"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_refused_in_one_line(words: tuple[str, ...], images: object) -> None:
    finished = run_pyro("workspace", *words)

    assert finished.returncode == 1
    assert finished.stdout == b""
    assert finished.stderr.startswith(b"[error] ")
    assert len(finished.stderr.splitlines()) == 1
    assert b"hush" not in finished.stderr


def test_a_state_directory_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    finished = run_pyro("workspace", "list", variables={STATE_VARIABLE: str(tmp_path / "file")})

    assert finished.returncode == 1
    assert finished.stderr.startswith(f"[error] {tmp_path}/file cannot be used: ".encode())
    assert len(finished.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("create", "debian:12", "--json", "--id-only"),
        ("fork", "0123456789ab", "--json", "--id-only"),
        ("create", "debian:12", "--network-policy", "all"),
        ("create",),
        ("prune",),
        ("export", "0123456789ab", "file"),
        ("diff", "0123456789ab", "--stat", "--name-only"),
        ("patch", "apply", "0123456789ab"),
        ("patch", "apply", "0123456789ab", "--patch", "", "--patch-file", "x"),
        ("exec", "0123456789ab", "true"),
        ("no-such-command",),
        ("snapshot",),
    ],
    ids=" ".join,
)
def test_words_that_are_not_understood_are_misuse(words: tuple[str, ...]) -> None:
    finished = run_pyro("workspace", *words)

    assert finished.returncode == 2
    assert b"Traceback" not in finished.stderr
    if "--json" in words:
        assert json.loads(finished.stdout)["code"] == "usage"
    else:
        assert finished.stdout == b""
