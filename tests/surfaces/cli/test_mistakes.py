"""A mistake is answered with one line that says what to do: never with a traceback."""

import json
import os
import signal
import subprocess
from pathlib import Path

import click
import pytest

from pyro_mcp.cli.main import root
from pyro_mcp.config import CACHE_VARIABLE
from pyro_mcp.errors import PyroError
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


UNKNOWN = {"workspace_id": "0123456789ab", "environment": "debain:12", "host": "codeks"}
REST = {
    "run": ("--", "true"),
    "workspace exec": ("--", "true"),
    "workspace service start": ("--", "true"),
    "workspace update": ("--name", "n"),
    "workspace shell resize": ("--cols", "80", "--rows", "24"),
    "workspace shell write": ("--input", "x"),
    "workspace file write": ("--text", "x"),
    "workspace patch apply": ("--patch", "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"),
    "workspace export": ("--output", "/proc/never"),
    "workspace disk export": ("--output", "/proc/never"),
    "workspace secret set": ("--file", "/proc/sys/kernel/ostype"),
}
"""What a command needs besides its arguments."""


def _naming_something() -> list[tuple[str, ...]]:
    """Every command that is given a name of something, each with one that names nothing."""
    found = []

    def walk(command: click.Command, words: tuple[str, ...]) -> None:
        context = click.Context(command)
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                walk(below, (*words, name))
            return
        arguments = [one for one in command.params if isinstance(one, click.Argument)]
        if arguments and arguments[0].name in UNKNOWN:
            given = [
                UNKNOWN.get(str(one.name), "/etc" if one.name == "source_path" else "x")
                for one in arguments
                if one.required
            ]
            found.append((*words, *given, *REST.get(" ".join(words), ())))

    walk(root, ())
    return found


def test_what_is_not_there_is_an_error_of_every_command(state_dir: Path) -> None:
    """One with its own words and the next step, which `main` prints as a line: no traceback."""
    commands = _naming_something()

    for words in commands:
        with pytest.raises(PyroError) as refused:
            root.main(words, prog_name="pyro", standalone_mode=False)

        assert refused.value.hint
        # Of those that need a terminal that is the first mistake.
        known = ("unknown_workspace", "unknown_environment", "unknown_host", "invalid_input")
        assert refused.value.code in known, words
    assert len(commands) > 50
