"""A mistake is answered with one line that says what to do: never with a traceback."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from pyro_mcp.config import CACHE_VARIABLE
from tests.surfaces.cli.support import PYRO, run_pyro

REFUSED = [
    ("run", "debain:12", "--", "true"),
    ("run", "debian:12"),
    ("run", "debian:12", "--"),
    ("run", "debian:12", "--mem-mib", "1", "--", "true"),
    ("run", "debian:12", "--mem-mib", "999999999", "--", "true"),
    ("run", "debian:12", "--vcpu-count", "0", "--", "true"),
    ("run", "debian:12", "--timeout-seconds", "-1", "--", "true"),
    ("run", "debian:12", "--ttl-seconds", "5", "--", "true"),
    ("env", "inspect", "debain:12"),
    ("env", "pull", "debain:12"),
    ("env", "pull", ""),
    ("doctor", "--platform", "linux-riscv64"),
]
MISUSED = [
    ("--no-such-option",),
    ("run",),
    ("run", "--", "true"),
    ("run", "debian:12", "true"),
    ("run", "debian:12", "--mem-mib", "much", "--", "true"),
    ("run", "debian:12", "--no-such-option", "--", "true"),
    ("env", "list", "superfluous"),
    ("env", "inspect"),
    ("demo", "olama"),
]


def _with_json(words: tuple[str, ...]) -> list[str]:
    cut = words.index("--") if "--" in words else len(words)
    return [*words[:cut], "--json", *words[cut:]]


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_what_is_refused_is_refused_in_one_line(words: tuple[str, ...]) -> None:
    finished = run_pyro(*words)

    assert finished.returncode == 1
    assert finished.stdout == b""
    errors = [line for line in finished.stderr.splitlines() if not line.startswith(b"[run] phase")]
    assert len(errors) == 1
    assert errors[0].startswith(b"[error] ")


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_for_programs_a_refusal_is_an_object(words: tuple[str, ...]) -> None:
    finished = run_pyro(*_with_json(words))

    answer = json.loads(finished.stdout)
    assert finished.returncode == 1
    assert answer["ok"] is False
    assert answer["code"]
    assert answer["error"].endswith(answer["hint"])
    assert finished.stdout == (json.dumps(answer, indent=2, sort_keys=True) + "\n").encode()


@pytest.mark.parametrize("words", MISUSED, ids=" ".join)
def test_words_that_are_not_understood_are_misuse(words: tuple[str, ...]) -> None:
    finished = run_pyro(*words)

    assert finished.returncode == 2
    assert finished.stdout == b""
    assert len(finished.stderr.splitlines()) == 1
    assert finished.stderr.startswith(b"[error] ")
    assert b"--help' shows what it takes." in finished.stderr


def test_misuse_is_an_object_for_programs_too() -> None:
    finished = run_pyro("run", "--json", "debian:12", "true")

    assert finished.returncode == 2
    assert json.loads(finished.stdout)["code"] == "usage"


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    finished = run_pyro("env", "inspect", "debain:12")

    assert b"Nearest: debian:12" in finished.stderr


def test_json_after_the_separator_is_the_guests() -> None:
    finished = run_pyro("run", "debain:12", "--", "true", "--json")

    assert finished.stdout == b""


def test_interrupted_before_its_modules_are_loaded_it_ends_without_a_word(tmp_path: Path) -> None:
    """As any program does that has begun nothing."""
    opened = tmp_path / "opened"
    os.mkfifo(opened)
    (tmp_path / "click.py").write_text(f"open({str(opened)!r}, 'w').close()\nopen({str(opened)!r})")
    with subprocess.Popen(
        [*PYRO, "--help"], stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    ) as process:
        opened.read_bytes()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()

    assert process.returncode == -signal.SIGINT
    assert errors == b""


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()

    finished = run_pyro("env", "pull", "debian:12", variables={CACHE_VARIABLE: str(blocker / "x")})

    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith(b"[error] ")
    assert CACHE_VARIABLE.encode() in finished.stderr
    assert b"Traceback" not in finished.stderr


def test_a_full_disk_behind_stdout_is_an_error() -> None:
    with Path("/dev/full").open("wb") as full:
        finished = subprocess.run(
            [*PYRO, "env", "list"], stdout=full, stderr=subprocess.PIPE, check=False
        )

    assert finished.returncode == 1
    assert finished.stderr.startswith(b"[error] Writing to standard output failed: No space left")


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(redirection: str) -> None:
    """A descriptor that is free would otherwise be taken by a lock or an image."""
    command = subprocess.list2cmdline([*PYRO, "env", "list"])
    finished = subprocess.run(
        ["sh", "-c", f"{command} {redirection}"], capture_output=True, check=False
    )

    assert finished.returncode == 0
    assert finished.stderr == b""
