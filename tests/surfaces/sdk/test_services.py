"""Services through the SDK: they go on between calls, and what is said of them is so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors import (
    GuestRefusedError,
    InvalidInputError,
    UnknownWorkspaceError,
    WorkspaceStateError,
)
from pyro_mcp.errors.services import ServiceRunningError, UnknownServiceError
from tests.support import until
from tests.support.processes import monitor_of_workspace
from tests.surfaces.shapes import check

TICKER = "while :; do echo tick; sleep 0.05; done"


def test_a_service_outlives_the_process_that_started_it(kept: Pyro, workspace_id: str) -> None:
    subprocess.run(
        [
            sys.executable,
            "-c",
            "from pyro_mcp import Pyro\n"
            f"Pyro().start_service({workspace_id!r}, 'web', command='echo up; sleep 600')",
        ],
        check=True,
    )

    found = kept.list_services(workspace_id)

    check(found, "service_list")
    assert (found["count"], found["running_count"]) == (1, 1)
    (service,) = found["services"]
    assert service["ready_at"] >= service["started_at"]
    assert (service["cwd"], service["readiness"], service["exit_code"]) == (
        *("/workspace", None, None),
    )
    until(lambda: kept.logs_service(workspace_id, "web")["stdout"])
    logs = kept.logs_service(workspace_id, "web")
    check(logs, "service_logs")
    assert (logs["stdout"], logs["stderr"], logs["truncated"]) == ("up\n", "", False)


def test_the_list_is_sorted_and_the_workspace_counts_them(kept: Pyro, workspace_id: str) -> None:
    kept.start_service(workspace_id, "b", command="sleep 600")
    kept.start_service(workspace_id, "a", command="true")
    until(lambda: kept.status_service(workspace_id, "a")["state"] == "exited")

    names = [one["service_name"] for one in kept.list_services(workspace_id)["services"]]

    assert names == ["a", "b"]
    status = kept.status_workspace(workspace_id)
    assert (status["service_count"], status["running_service_count"]) == (2, 1)
    (listed,) = kept.list_workspaces()["workspaces"]
    assert (listed["service_count"], listed["running_service_count"]) == (2, 1)


def test_one_that_ends_by_itself_keeps_its_exit_code(kept: Pyro, workspace_id: str) -> None:
    kept.start_service(workspace_id, "s", command="echo out; echo err >&2; exit 3")
    service = until(lambda: _in_state(kept, workspace_id, "s", "exited"))

    check(service, "service")
    assert (service["exit_code"], service["stop_reason"], service["pid"]) == (3, None, None)
    assert service["ended_at"] >= service["started_at"]
    logs = kept.logs_service(workspace_id, "s")
    assert (logs["stdout"], logs["stderr"]) == ("out\n", "err\n")


def test_one_that_dies_before_it_is_ready_fails_with_its_last_lines(
    kept: Pyro, workspace_id: str
) -> None:
    """At once, not at the end of the time it was given."""
    service = kept.start_service(
        workspace_id,
        "s",
        command="echo starting; echo 'no such config' >&2; exit 4",
        readiness={"type": "tcp", "address": "localhost:8000"},
        ready_timeout_seconds=10**9,
    )

    assert (service["state"], service["stop_reason"]) == ("failed", "process_exited_before_ready")
    assert (service["exit_code"], service["ready_at"]) == (4, None)
    assert service["last_stdout"] == "starting\n"
    assert service["last_stderr"] == "no such config\n"


def test_one_that_is_never_ready_is_stopped_with_all_it_started(
    kept: Pyro, workspace_id: str
) -> None:
    service = kept.start_service(
        workspace_id,
        "s",
        command="trap 'echo bye; exit' TERM; sleep 600 & wait",
        readiness={"type": "file", "path": "never"},
        ready_timeout_seconds=1,
    )

    assert (service["state"], service["stop_reason"]) == ("failed", "readiness_timeout")
    assert (service["exit_code"], service["pid"]) == (None, None)
    assert "never" in service["problem"]
    assert kept.logs_service(workspace_id, "s")["stdout"] == "bye\n"


def test_starting_over_a_running_one_is_refused_and_over_an_ended_one_replaces_it(
    kept: Pyro, workspace_id: str
) -> None:
    first = kept.start_service(workspace_id, "s", command="echo first; sleep 600")
    with pytest.raises(ServiceRunningError, match="'s'"):
        kept.start_service(workspace_id, "s", command="echo second")
    assert kept.status_service(workspace_id, "s")["pid"] == first["pid"]
    kept.stop_service(workspace_id, "s")

    second = kept.start_service(workspace_id, "s", command="echo second; sleep 600")

    assert second["command"] == "echo second; sleep 600"
    assert until(lambda: kept.logs_service(workspace_id, "s")["stdout"]) == "second\n"


def test_stop_ends_the_tree_and_says_how(kept: Pyro, workspace_id: str) -> None:
    kept.start_service(workspace_id, "kind", command="sleep 600 & wait")
    kept.start_service(
        workspace_id,
        "stubborn",
        command="trap '' TERM; echo deaf; (sleep 601; :) & while :; do sleep 1; done",
    )
    until(lambda: kept.logs_service(workspace_id, "stubborn")["stdout"])

    kind = kept.stop_service(workspace_id, "kind")
    stubborn = kept.stop_service(workspace_id, "stubborn")

    assert (kind["state"], kind["stop_reason"], kind["exit_code"]) == ("stopped", "sigterm", None)
    assert (stubborn["state"], stubborn["stop_reason"]) == ("stopped", "sigkill")
    assert kept.stop_service(workspace_id, "kind") == kind


def test_a_restart_runs_what_was_started_last(kept: Pyro, workspace_id: str) -> None:
    kept.exec_workspace(workspace_id, command="mkdir app")
    first = kept.start_service(
        workspace_id,
        "s",
        command="echo $$ >> runs; touch ready; sleep 600",
        cwd="app",
        readiness={"type": "file", "path": "app/ready"},
    )

    again = kept.restart_service(workspace_id, "s")

    assert (again["state"], again["command"], again["cwd"]) == (
        *("running", first["command"], "/workspace/app"),
    )
    assert again["started_at"] > first["started_at"]
    # The file that says it is ready is there from the first time.
    count = "wc -l < app/runs"
    until(lambda: int(kept.exec_workspace(workspace_id, command=count)["stdout"]) == 2)


def test_stop_start_and_reset_of_the_workspace_drop_its_services(
    kept: Pyro, workspace_id: str
) -> None:
    kept.start_service(workspace_id, "s", command="sleep 600")
    kept.stop_workspace(workspace_id)
    with pytest.raises(WorkspaceStateError, match="stopped"):
        kept.list_services(workspace_id)
    assert kept.status_workspace(workspace_id)["service_count"] == 0

    kept.start_workspace(workspace_id)
    assert kept.list_services(workspace_id)["count"] == 0

    kept.start_service(workspace_id, "s", command="sleep 600")
    assert kept.reset_workspace(workspace_id)["service_count"] == 0
    with pytest.raises(UnknownServiceError):
        kept.status_service(workspace_id, "s")


def test_a_stopped_workspace_is_started_for_a_service(kept: Pyro, workspace_id: str) -> None:
    kept.stop_workspace(workspace_id)

    service = kept.start_service(workspace_id, "s", command="sleep 600")

    assert (service["state"], service["workspace_started"]) == ("running", True)


@pytest.mark.parametrize("how", ["delete", "stop", "kill"])
def test_who_waits_for_readiness_is_told_what_became_of_the_machine(
    kept: Pyro, workspace_id: str, how: str
) -> None:
    look = {"type": "tcp", "address": "localhost:1"}
    monitor = monitor_of_workspace(workspace_id)
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(
            kept.start_service, workspace_id, "s", command="sleep 600", readiness=look
        )
        until(lambda: any(one["problem"] for one in kept.list_services(workspace_id)["services"]))
        if how == "delete":
            kept.delete_workspace(workspace_id)
        elif how == "stop":
            kept.stop_workspace(workspace_id)
        else:
            os.kill(monitor, signal.SIGKILL)

        if how == "kill":
            ended = waiting.result(60)
            assert (ended["state"], ended["stop_reason"]) == ("stopped", "workspace_stopped")
        else:
            # Stopped with the others, it may be told before its machine has ended.
            error = waiting.exception(60)
            assert isinstance(error, UnknownWorkspaceError | WorkspaceStateError | None)


def test_what_a_machine_that_died_leaves_is_shown_as_it_is(kept: Pyro, workspace_id: str) -> None:
    kept.start_service(workspace_id, "done", command="exit 5")
    until(lambda: _in_state(kept, workspace_id, "done", "exited"))
    kept.start_service(workspace_id, "ran", command="sleep 600")
    os.kill(monitor_of_workspace(workspace_id), signal.SIGKILL)
    until(lambda: kept.status_workspace(workspace_id)["state"] == "stopped")

    done, ran = kept.list_services(workspace_id)["services"]

    assert (done["state"], done["exit_code"]) == ("exited", 5)
    assert (ran["state"], ran["stop_reason"], ran["pid"]) == ("stopped", "workspace_stopped", None)
    with pytest.raises(WorkspaceStateError):
        kept.logs_service(workspace_id, "ran")
    assert kept.stop_service(workspace_id, "ran")["state"] == "stopped"
    again = kept.restart_service(workspace_id, "ran")
    assert (again["state"], again["workspace_started"]) == ("running", True)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"service_name": "a/b"}, "service_name"),
        ({"service_name": ""}, "service_name"),
        ({"command": "  "}, "command"),
        ({"cwd": "/etc"}, "cwd"),
        ({"cwd": "../x"}, "cwd"),
        ({"readiness": {"type": "port", "port": 1}}, "readiness"),
        ({"readiness": {"path": "x"}}, "readiness"),
        ({"readiness": {"type": "file", "path": "x", "address": "a:1"}}, "readiness"),
        ({"readiness": {"type": "file", "path": "/etc/x"}}, "readiness path"),
        ({"readiness": {"type": "tcp", "address": "localhost"}}, "readiness address"),
        ({"readiness": {"type": "tcp", "address": "localhost:0"}}, "readiness address"),
        ({"readiness": {"type": "tcp", "address": "example.org:80"}}, "readiness address"),
        ({"readiness": {"type": "http", "url": "ftp://localhost/"}}, "readiness url"),
        ({"readiness": {"type": "http", "url": "https://localhost/"}}, "readiness url"),
        ({"readiness": {"type": "command", "command": " "}}, "readiness"),
        ({"ready_timeout_seconds": 0}, "ready_timeout_seconds"),
        ({"ready_interval_ms": -1}, "ready_interval_ms"),
        ({"published_ports": [{"guest_port": 0}]}, "guest_port"),
        ({"published_ports": [{"guest_port": "80"}]}, "guest_port"),
        ({"published_ports": [{"guest_port": 80, "host_port": 0}]}, "host_port"),
        ({"published_ports": [{"guest_port": 80, "host_port": 1024}]}, "host_port"),
        ({"published_ports": [{"guest_port": 80, "host_port": 65536}]}, "host_port"),
        ({"published_ports": [{"guest_port": 80}, {"guest_port": 80}]}, "port 80 twice"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_anything_is_done(
    fields: dict[str, object], said: str
) -> None:
    given: dict[str, object] = {"service_name": "s", "command": "true", **fields}
    name = str(given.pop("service_name"))

    with pytest.raises(InvalidInputError, match=said):
        Pyro().start_service("0123456789ab", name, **given)  # type: ignore[arg-type]


def test_names_that_are_not_there_are_value_errors(kept: Pyro, workspace_id: str) -> None:
    kept.start_service(workspace_id, "web", command="sleep 600")
    for call in (kept.status_service, kept.stop_service, kept.logs_service, kept.restart_service):
        with pytest.raises(UnknownServiceError, match="It has: web"):
            call(workspace_id, "wep")
        with pytest.raises(UnknownWorkspaceError):
            call("0123456789ab", "web")


def test_a_directory_that_is_not_there_leaves_the_former_record(
    kept: Pyro, workspace_id: str
) -> None:
    kept.start_service(workspace_id, "s", command="echo former; exit 2")
    until(lambda: _in_state(kept, workspace_id, "s", "exited"))

    with pytest.raises(GuestRefusedError, match="nowhere"):
        kept.start_service(workspace_id, "s", command="true", cwd="nowhere")

    assert kept.status_service(workspace_id, "s")["exit_code"] == 2
    assert kept.logs_service(workspace_id, "s")["stdout"] == "former\n"


def test_secrets_reach_the_service_and_nothing_else(kept: Pyro) -> None:
    made = kept.create_workspace(
        environment="debian:12", mem_mib=256, secrets=[{"name": "TOKEN", "value": "s3cr3t-value"}]
    )
    workspace_id = made["workspace_id"]

    service = kept.start_service(
        workspace_id,
        "s",
        command='printf s3cr; sleep 0.1; echo 3t-value; echo "${#T}"; sleep 600 # s3cr3t-value',
        secret_env={"TOKEN": "T"},
        readiness={"type": "command", "command": 'test "$T" = s3cr3t-value'},
    )

    assert service["state"] == "running"
    assert service["redacted"] is True
    assert "s3cr3t" not in str(service)
    until(lambda: kept.logs_service(workspace_id, "s")["stdout"] == "[REDACTED]\n12\n")
    assert "s3cr3t" not in str(kept.list_services(workspace_id))
    with pytest.raises(InvalidInputError, match="not kept"):
        kept.restart_service(workspace_id, "s")

    failed = kept.start_service(workspace_id, "f", command="echo $TOKEN; exit 1",
        secret_env={"TOKEN": "TOKEN"}, readiness={"type": "file", "path": "x"})  # fmt: skip
    assert (failed["last_stdout"], failed["redacted"]) == ("[REDACTED]\n", True)


def test_following_passes_on_what_comes_until_the_end(kept: Pyro) -> None:
    made = kept.create_workspace(
        environment="debian:12", mem_mib=256, secrets=[{"name": "TOKEN", "value": "s3cr3t-value"}]
    )
    workspace_id = made["workspace_id"]
    kept.start_service(
        workspace_id,
        "s",
        command="echo old; echo before; until test -e go; do sleep 0.01; done;"
        " printf s3cr; sleep 0.2; echo 3t-value; echo err >&2; exit 7",
    )
    until(lambda: "before" in kept.logs_service(workspace_id, "s")["stdout"])
    seen = {"stdout": b"", "stderr": b""}

    def take(stream: str, data: bytes) -> None:
        if not seen["stdout"]:
            kept.exec_workspace(workspace_id, command="touch go")
        seen[stream] += data

    ended = kept.follow_service(workspace_id, "s", on_output=take, tail_lines=1)

    assert seen == {"stdout": b"before\n[REDACTED]\n", "stderr": b"err\n"}
    assert (ended["state"], ended["exit_code"], ended["redacted"]) == ("exited", 7, True)


def _in_state(pyro: Pyro, workspace_id: str, name: str, state: str) -> dict[str, Any] | None:
    found = pyro.status_service(workspace_id, name)
    return found if found["state"] == state else None
