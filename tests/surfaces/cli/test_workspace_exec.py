"""`pyro workspace exec`: as `pyro run`, in a computer that stays."""

import json
import signal
import subprocess
import time

import pytest

from pyro_mcp import Pyro
from tests.support import until
from tests.surfaces.cli.support import PYRO, read_line, run_pyro, started
from tests.surfaces.shapes import check


def test_the_output_is_the_commands_and_the_rest_is_on_stderr(workspace_id: str) -> None:
    script = "printf out; printf err >&2; exit 5"
    finished = run_pyro("workspace", "exec", workspace_id, "--", "sh", "-c", script)

    assert finished.returncode == 5
    assert finished.stdout == b"out"
    assert finished.stderr.startswith(
        f"err[workspace-exec] workspace_id={workspace_id} sequence=1 cwd=/workspace "
        "execution_mode=guest_vsock exit_code=5 duration_ms=".encode()
    )


def test_options_may_stand_before_and_after_the_id(workspace_id: str) -> None:
    options = ("--json", "--cwd", "/etc", "--env", "A=b c")
    command = ("--", "sh", "-c", 'echo "$PWD $A"', "--json")

    for words in ((*options, workspace_id), (workspace_id, *options)):
        finished = run_pyro("workspace", "exec", *words, *command)

        answer = json.loads(finished.stdout)
        check(answer, "workspace_exec_result")
        assert answer["stdout"] == "/etc b c\n"
        assert finished.stderr == b""


def test_input_reaches_the_command_and_output_comes_as_it_is_made(workspace_id: str) -> None:
    script = "echo first; read answer; echo got $answer"
    with started("workspace", "exec", workspace_id, "--stdin", "--", "sh", "-c", script) as process:
        assert read_line(process) == b"first\n"
        assert process.stdin is not None
        process.stdin.write(b"word\n")
        process.stdin.flush()
        assert read_line(process) == b"got word\n"
        assert process.wait(60) == 0


def test_starting_a_stopped_workspace_is_said(kept: Pyro, workspace_id: str) -> None:
    kept.stop_workspace(workspace_id)

    first = run_pyro("workspace", "exec", workspace_id, "--", "true")
    second = run_pyro("workspace", "exec", workspace_id, "--", "true")

    assert b"[workspace-exec] the workspace was stopped, and was started" in first.stderr
    assert b"was started" not in second.stderr


def test_a_command_that_takes_too_long_ends_with_124(workspace_id: str) -> None:
    words = ("--timeout-seconds", "1", "--", "sh", "-c", "echo so far; sleep 600")

    finished = run_pyro("workspace", "exec", workspace_id, *words)

    assert (finished.returncode, finished.stdout) == (124, b"so far\n")
    assert b"[workspace-exec] the command was ended after its 1 s" in finished.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_guests_process_tree_and_not_the_workspace(
    kept: Pyro, workspace_id: str, number: signal.Signals
) -> None:
    def lock_is_held() -> bool:
        # By anything of the command: each of its processes has the open file.
        tried = kept.exec_workspace(workspace_id, command="flock --nonblock lock true")
        return int(tried["exit_code"]) == 1

    script = "exec 9>lock; flock 9; (sleep 6543 &); echo ready; sleep 6543"
    words = ("workspace", "exec", workspace_id, "--timeout-seconds", "600", "--")
    with started(*words, "sh", "-c", script) as process:
        assert read_line(process) == b"ready\n"
        assert lock_is_held()

        process.send_signal(number)

        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert len(errors.splitlines()) == 1
    until(lambda: not lock_is_held())


def test_ten_at_once_lose_no_row_of_the_history(kept: Pyro, workspace_id: str) -> None:
    kept.stop_workspace(workspace_id)
    running = [
        subprocess.Popen(
            [*PYRO, "workspace", "exec", "--json", workspace_id, "--", "echo", str(number)],
            stdout=subprocess.PIPE,
        )
        for number in range(10)
    ]
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in running]

    assert sorted(one["sequence"] for one in answers) == list(range(1, 11))
    history = kept.logs_workspace(workspace_id)["entries"]
    assert {(one["sequence"], one["stdout"]) for one in history} == {
        (one["sequence"], one["stdout"]) for one in answers
    }
    assert {one["stdout"] for one in answers} == {f"{number}\n" for number in range(10)}


@pytest.mark.alone
def test_the_whole_process_takes_little_time(workspace_id: str) -> None:
    """Far from the benchmark's 0.25 s, so that a busy machine does not fail it."""
    run_pyro("workspace", "exec", workspace_id, "--", "true")
    begun = time.monotonic()

    run_pyro("workspace", "exec", workspace_id, "--", "true")

    assert time.monotonic() - begun < 2
