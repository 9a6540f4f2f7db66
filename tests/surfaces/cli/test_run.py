"""`pyro run` with real guests: what goes in and out passes through untouched."""

import json
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from pyro_mcp.machines.spec import Images
from tests.support import until
from tests.support.processes import descendants
from tests.surfaces.cli.support import PYRO, on_terminal, read_line, run_pyro, started
from tests.surfaces.shapes import SHAPES

TYPES = {
    "string": (str,),
    "string|null": (str, type(None)),
    "integer": (int,),
    "vm_deleted": (dict,),
}

pytestmark = pytest.mark.usefixtures("images")


def test_the_output_is_the_commands_and_the_rest_is_on_stderr() -> None:
    finished = run_pyro("run", "debian:12", "--", "git", "--version")

    assert finished.stdout.startswith(b"git version ")
    assert finished.returncode == 0
    lines = finished.stderr.decode().splitlines()
    assert [line.split()[1] for line in lines[:-1]] == [
        "phase=create", "phase=start", "phase=execute"
    ]  # fmt: skip
    assert lines[-1].startswith(
        "[run] environment=debian:12 execution_mode=guest_vsock exit_code=0 duration_ms="
    )


def test_every_byte_passes_unchanged_on_both_streams() -> None:
    program = "import os; os.write(1, bytes(range(256)) * 999); os.write(2, b'\\xff\\x00\\x1b!')"

    finished = run_pyro("run", "debian:12", "--", "python3", "-c", program)

    assert finished.stdout == bytes(range(256)) * 999
    assert b"\xff\x00\x1b!" in finished.stderr


def test_words_reach_the_command_as_they_are() -> None:
    words = ["a b", "$HOME", "'", '"', "*", "", "--json", "--", "-h", "\n", "ü"]

    finished = run_pyro("run", "debian:12", "--", "printf", "%s\\0", *words)

    assert finished.stdout.decode().split("\0")[:-1] == words


def test_options_may_stand_before_and_after_the_environment() -> None:
    before = run_pyro("run", "--json", "--mem-mib", "512", "debian:12", "--", "true")
    after = run_pyro("run", "debian:12", "--mem-mib", "512", "--json", "--", "true")

    assert json.loads(before.stdout)["exit_code"] == 0
    assert json.loads(after.stdout)["exit_code"] == 0


@pytest.mark.parametrize(
    ("script", "status"), [("exit 3", 3), ("kill -9 $$", 137), ("no-such-program", 127)]
)
def test_the_status_is_the_commands(script: str, status: int) -> None:
    assert run_pyro("run", "debian:12", "--", "sh", "-c", script).returncode == status


def test_a_command_that_takes_too_long_ends_with_124_and_keeps_what_it_said() -> None:
    finished = run_pyro(
        "run", "debian:12", "--timeout-seconds", "1", "--", "sh", "-c", "echo so far; sleep 600"
    )

    assert finished.returncode == 124
    assert finished.stdout == b"so far\n"
    assert b"[run] the command was ended after its 1 s" in finished.stderr


def test_json_is_the_whole_answer_and_nothing_else() -> None:
    words = ["sh", "-c", "echo out; echo err >&2; exit 5"]

    finished = run_pyro("run", "debian:12", "--json", "--", *words)

    answer = json.loads(finished.stdout)
    assert finished.returncode == 5
    assert finished.stderr == b""
    assert finished.stdout == (json.dumps(answer, indent=2, sort_keys=True) + "\n").encode()
    for field, kind in SHAPES["vm_exec_result"].items():
        assert isinstance(answer[field], TYPES[kind]), field
    assert answer["command"] == shlex.join(words)
    assert (answer["stdout"], answer["stderr"]) == ("out\n", "err\n")
    assert answer["cleanup"]["deleted"] is True


def test_output_comes_as_it_is_made() -> None:
    script = "echo first; read answer; echo got $answer"
    with started("run", "debian:12", "--stdin", "--", "sh", "-c", script) as process:
        assert read_line(process) == b"first\n"

        assert process.stdin is not None
        process.stdin.write(b"word\n")
        process.stdin.flush()

        assert read_line(process) == b"got word\n"
        assert process.wait(60) == 0


def test_input_reaches_the_command_when_asked_for() -> None:
    data = bytes(range(256)) * 4096

    finished = run_pyro("run", "debian:12", "--stdin", "--", "sha256sum", stdin=data)
    without = run_pyro("run", "debian:12", "--", "wc", "-c", stdin=data)

    from hashlib import sha256

    assert finished.stdout.decode().split()[0] == sha256(data).hexdigest()
    assert without.stdout.strip() == b"0"


def test_a_reader_that_has_enough_ends_the_run_quietly(tmp_path: Path) -> None:
    errors = tmp_path / "stderr"
    words = shlex.join([*PYRO, "run", "debian:12", "--timeout-seconds", "600", "--", "yes"])

    finished = subprocess.run(
        ["sh", "-c", f"{words} 2>{errors} | head -1"], capture_output=True, timeout=120, check=False
    )

    assert finished.stdout == b"y\n"
    assert [line for line in errors.read_text().splitlines() if "[run] phase" not in line] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_guest_and_the_run_with_one_line(number: signal.Signals) -> None:
    command = ("sh", "-c", "echo ready; sleep 600")
    with started("run", "debian:12", "--timeout-seconds", "600", "--", *command) as process:
        assert read_line(process) == b"ready\n"
        guests = descendants(process.pid)

        process.send_signal(number)

        _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + number
        told = [line for line in errors.splitlines() if not line.startswith(b"[run] phase")]
        assert len(told) == 1
        assert told[0].startswith(b"[error] ")
    assert guests
    until(lambda: not descendants(process.pid))


def test_a_run_with_nowhere_to_write_is_an_error_and_leaves_nothing() -> None:
    with Path("/dev/full").open("wb") as full:
        finished = subprocess.run(
            [*PYRO, "run", "debian:12", "--", "echo", "word"],
            stdout=full, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip

    assert finished.returncode == 1
    assert b"[error] Writing to standard output failed" in finished.stderr


def test_host_compat_warns_and_is_not_used_where_guests_run() -> None:
    finished = run_pyro("run", "debian:12", "--allow-host-compat", "--json", "--", "true")

    assert json.loads(finished.stdout)["execution_mode"] == "guest_vsock"
    assert finished.stderr.startswith(b"[warning] --allow-host-compat: ")


def test_host_compat_runs_here_where_nothing_can_run_a_guest(tmp_path: Path) -> None:
    (tmp_path / "bash").symlink_to("/bin/bash")
    alone = {"PATH": str(tmp_path)}

    refused = run_pyro("run", "debian:12", "--", "echo", "here", variables=alone)
    allowed = run_pyro(
        "run", "debian:12", "--allow-host-compat", "--", "echo", "here", variables=alone
    )

    assert refused.returncode == 1
    assert b"bwrap" in refused.stderr
    assert allowed.stdout == b"here\n"
    assert b"[warning] the command ran on this host" in allowed.stderr
    assert b"execution_mode=host_compat" in allowed.stderr


def test_a_missing_image_is_built_first_under_a_bar(images: Images, tmp_path: Path) -> None:
    """On a terminal; without one there is a line for each step."""
    cache = _cache_without_agent(images, tmp_path)
    words = ("run", "debian:12", "--", "echo", "done")

    status, screen = on_terminal(*words, variables={"PYRO_ENVIRONMENT_CACHE_DIR": str(cache)})

    assert status == 0
    assert "━".encode() in screen
    assert screen.rstrip().endswith(b"duration_ms=" + screen.rstrip().rpartition(b"=")[2])
    assert b"done\r\n" in screen
    assert b"phase=install" not in screen


def test_without_a_terminal_each_step_of_a_build_is_a_line(images: Images, tmp_path: Path) -> None:
    cache = _cache_without_agent(images, tmp_path)

    finished = run_pyro(
        "env", "pull", "debian:12", variables={"PYRO_ENVIRONMENT_CACHE_DIR": str(cache)}
    )

    lines = finished.stderr.decode().splitlines()
    assert lines[0] == "[pull] phase=install environment=debian:12"
    assert lines[-1] == "[pull] phase=ready environment=debian:12"
    assert len(lines) > 2
    assert all(line.startswith("[pull] phase=install step=") for line in lines[1:-1])
    assert "\x1b" not in finished.stderr.decode()


def _cache_without_agent(images: Images, place: Path) -> Path:
    """A cache with the environment and the runtime of the real one, but no agent image."""
    runtime = images.agent_image.parent
    real = runtime.parents[1]
    ours = place / "cache" / "runtime" / runtime.name
    ours.mkdir(parents=True)
    for part in ("tree", "jail", "runtime.json"):
        (ours / part).symlink_to(runtime / part)
    platform = images.environment_image.parents[1]
    assert platform.parent == real
    (place / "cache" / platform.name).symlink_to(platform)
    return place / "cache"
