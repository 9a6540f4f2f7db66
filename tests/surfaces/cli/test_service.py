"""`pyro workspace service`: what it prints, and what its exit status says."""

from __future__ import annotations

import json
import signal
import socket

import pytest

from pyro_mcp import Pyro
from tests.support import until
from tests.surfaces.cli.support import read_line, run_pyro, started


def service(*words: str) -> tuple[int, str, str]:
    """Run one of its commands: status and both streams."""
    ran = run_pyro("workspace", "service", *words)
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


def test_start_list_status_logs_and_stop_as_a_person_sees_them(
    kept: Pyro, workspace_id: str
) -> None:
    facts = f"workspace_id={workspace_id} service_name=web"
    rest = "cwd=/workspace execution_mode=guest_vsock\n"

    assert service(
        *("start", workspace_id, "web", "--ready-file", "up"),
        *("--", "sh", "-c", "echo out; echo err >&2; touch up; sleep 600"),
    ) == (0, "", f"[workspace-service-start] {facts} state=running {rest}")
    assert service("list", workspace_id) == (0, "web [running] cwd=/workspace\n", "")
    status, out, err = service("logs", workspace_id, "web")
    assert (status, out) == (0, "out\n")
    assert err == f"err\n[workspace-service-logs] {facts} state=running {rest}"
    assert service("status", workspace_id, "web") == (
        *(0, "", f"[workspace-service-status] {facts} state=running {rest}"),
    )
    assert service("restart", workspace_id, "web")[0] == 0
    assert service("stop", workspace_id, "web") == (
        *(0, "", f"[workspace-service-stop] {facts} state=stopped {rest}"),
    )
    assert service("list", workspace_id)[1] == "web [stopped] cwd=/workspace\n"


def test_a_service_that_fails_ends_the_command_with_1_and_says_why(
    kept: Pyro, workspace_id: str
) -> None:
    words = ("--ready-tcp", "localhost:1", "--", "sh", "-c", "echo no config >&2; exit 3")

    status, out, err = service("start", workspace_id, "s", *words)
    assert (status, out) == (1, "")
    assert "state=failed" in err
    assert "it failed: process_exited_before_ready; exit code 3" in err
    assert err.endswith("no config\n")

    status, out, err = service("start", workspace_id, "s", "--json", *words)
    answer = json.loads(out)
    assert (status, err) == (1, "")
    assert (answer["state"], answer["exit_code"]) == ("failed", 3)
    assert answer["last_stderr"] == "no config\n"


def test_a_published_port_is_shown(kept: Pyro) -> None:
    made = kept.create_workspace(
        environment="debian:12", mem_mib=256, network_policy="published-ports"
    )
    workspace_id = made["workspace_id"]
    with socket.socket() as free:
        # Bound and not listening, it keeps the port for who asks for it by its number.
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

        status, _, err = service(
            "start", workspace_id, "s", "--publish", f"{port}:8000", "--", "sleep", "600"
        )

        shown = f"127.0.0.1:{port}->8000/tcp"
        assert status == 0, err
        assert err.endswith(f"published_ports={shown}\n")
        listed = service("list", workspace_id)[1]
    assert listed == f"s [running] cwd=/workspace published={shown}\n"


def test_following_a_log_goes_on_until_the_service_ends(kept: Pyro, workspace_id: str) -> None:
    kept.start_service(
        workspace_id,
        "s",
        command="echo first; until test -e go; do sleep 0.01; done; echo last; exit 4",
    )

    with started("workspace", "service", "logs", workspace_id, "s", "--follow") as following:
        assert read_line(following) == b"first\n"
        kept.exec_workspace(workspace_id, command="touch go")
        assert read_line(following) == b"last\n"
        assert following.wait(60) == 0
        assert following.stderr is not None
        assert b"state=exited" in following.stderr.read()


def test_interrupting_a_follow_leaves_the_service_alone(kept: Pyro, workspace_id: str) -> None:
    kept.start_service(workspace_id, "s", command="echo first; sleep 600")

    with started("workspace", "service", "logs", workspace_id, "s", "--follow") as following:
        assert read_line(following) == b"first\n"
        following.send_signal(signal.SIGINT)
        assert following.wait(60) == 130

    assert kept.status_service(workspace_id, "s")["state"] == "running"


def test_a_caller_that_is_killed_while_it_waits_leaves_a_recorded_service(
    kept: Pyro, workspace_id: str
) -> None:
    words = ("start", workspace_id, "s", "--ready-file", "up")
    with started("workspace", "service", *words, "--", "sleep", "600") as waiting:
        until(lambda: kept.list_services(workspace_id)["running_count"])
        waiting.kill()
        waiting.wait()

    assert kept.status_service(workspace_id, "s")["ready_at"] is None
    kept.exec_workspace(workspace_id, command="touch up")
    until(lambda: kept.status_service(workspace_id, "s")["ready_at"])
    assert kept.stop_service(workspace_id, "s")["state"] == "stopped"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("start", "w", "s"), 1, "pyro workspace service start w s --"),
        (("start", "w", "s", "--"), 1, "command is empty"),
        (
            ("start", "w", "s", "--ready-file", "f", "--ready-tcp", "h:1", "--", "true"),
            *(2, "--ready-file and --ready-tcp exclude each other"),
        ),
        (("start", "w", "a/b", "--", "true"), 1, "service_name"),
        (("start", "w", "s", "--publish", "x", "--", "true"), 1, "--publish"),
        (("start", "w", "s", "--publish", "0", "--", "true"), 1, "guest_port"),
        (("start", "w", "s", "--publish", "80:80", "--", "true"), 1, "host_port"),
        (("start", "w", "s", "--publish", "0:80", "--", "true"), 1, "host_port"),
        (("status", "w", "s"), 1, "No workspace has the id 'w'"),
        (("logs", "w", "s", "--tail-lines", "0"), 1, "tail_lines"),
        (("logs", "w", "s", "--follow", "--json"), 2, "exclude each other"),
    ],
    ids=str,
)
def test_mistakes_are_named(words: tuple[str, ...], status: int, said: str) -> None:
    got, _, err = service(*words)

    assert (got, said in err) == (status, True), err
