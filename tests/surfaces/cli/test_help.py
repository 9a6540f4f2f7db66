"""Help is everywhere, costs little, and is true."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module

import click
import pytest

import pyro_mcp
from pyro_mcp.cli.main import COMMANDS, root
from tests.surfaces.cli.support import SCRIPT, run_pyro

HEAVY = {
    "asyncio", "ctypes", "platformdirs", "rich", "sqlite3", "subprocess", "tempfile",
    "urllib.request", "pyro_mcp.config", "pyro_mcp.doctor", "pyro_mcp.engines",
    "pyro_mcp.environments", "pyro_mcp.machines", "pyro_mcp.sdk",
}  # fmt: skip


def _all(command: click.Command = root, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _all(below, (*words, name))


def _find(words: tuple[str, ...]) -> click.Command:
    command: click.Command = root
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    return command


@pytest.mark.parametrize("words", list(_all()), ids=" ".join)
def test_every_command_says_what_it_does_in_a_sentence(words: tuple[str, ...]) -> None:
    first = (_find(words).help or "").split("\n\n")[0]

    assert first.endswith(".")
    assert first[0].isupper()
    assert not first.startswith(("The ", "A ", "This "))


@pytest.mark.parametrize("words", list(_all()), ids=" ".join)
def test_every_option_is_explained(words: tuple[str, ...]) -> None:
    options = [one for one in _find(words).params if isinstance(one, click.Option)]

    assert [one.name for one in options if not one.help] == []


@pytest.mark.parametrize("words", list(_all()), ids=" ".join)
def test_both_spellings_of_help_work_everywhere(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(spelling: str) -> tuple[str, str]:
        assert root.main([*words, spelling], prog_name="pyro", standalone_mode=False) == 0
        return capsys.readouterr()

    out, err = shown("-h")

    assert shown("--help") == (out, err)
    assert out.startswith(f"Usage: {' '.join(('pyro', *words))}")
    assert err == ""


@pytest.mark.parametrize("words", [(), ("run",), ("workspace",), ("workspace", "exec")], ids=str)
def test_help_is_the_same_from_a_process(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    root.main([*words, "--help"], prog_name="pyro", standalone_mode=False)

    asked = run_pyro(*words, "-h")

    assert (asked.returncode, asked.stderr) == (0, b"")
    assert asked.stdout.decode() == capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    module, line = COMMANDS[name]
    module, _, attribute = module.partition(":")
    command = getattr(import_module(f"pyro_mcp.cli.{module}"), attribute or "command")

    assert command.name == name
    assert (command.help or "").split("\n\n")[0] == line


def test_help_loads_no_more_than_it_shows() -> None:
    """It must come within a tenth of a second."""
    program = (
        "import sys, atexit\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from pyro_mcp.cli.main import main\n"
        "sys.argv = ['pyro', '--help']\n"
        "main()\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert set(shown.stderr.split()) & HEAVY == set()


def test_a_misspelt_command_is_answered_with_those_there_are() -> None:
    finished = run_pyro("rnu")

    assert finished.returncode == 2
    assert b"run, workspace, shell, env, mcp, host, doctor, demo" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def test_the_version_is_the_packages() -> None:
    assert run_pyro("--version").stdout.decode() == f"pyro {pyro_mcp.__version__}\n"


def test_the_console_script_is_the_module() -> None:
    shown = subprocess.run([SCRIPT, "--help"], capture_output=True, check=True)

    assert shown.stdout == run_pyro("--help").stdout


def test_no_words_at_all_show_help_and_are_misuse() -> None:
    for words in ((), ("env",)):
        finished = run_pyro(*words)

        assert finished.returncode == 2
        assert finished.stderr.startswith(b"Usage: pyro")


def test_a_shell_can_complete_commands() -> None:
    asked = {"_PYRO_COMPLETE": "bash_complete", "COMP_WORDS": "pyro do", "COMP_CWORD": "1"}

    assert run_pyro(variables=asked).stdout == b"plain,doctor\n"


def test_help_into_a_closed_pipe_ends_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    finished = subprocess.run(
        [sys.executable, "-m", "pyro_mcp", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)

    assert finished.stderr == b""
    assert finished.returncode == 141
