"""`pyro host`: what is shown, and what is written."""

import json
from pathlib import Path

import pytest

from pyro_mcp.config import CACHE_VARIABLE, STATE_VARIABLE, Settings
from tests.surfaces.cli.support import run_pyro


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Path:
    """The working directory, and a user who has nothing yet.

    `settings` comes before the home changes, so that they name the real cache.
    """
    for variable in ("XDG_CONFIG_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(variable, raising=False)
    home, project = tmp_path / "home", tmp_path / "project"
    (home / ".codex").mkdir(parents=True)
    project.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(project)
    return project


def test_connecting_shows_the_change_and_what_to_do_next(project: Path) -> None:
    connected = run_pyro("host", "connect", "claude-code", "--scope", "project")

    assert connected.returncode == 0
    assert connected.stdout.startswith(b"--- /dev/null\n+++ ")
    assert b'+  "mcpServers": {\n' in connected.stdout
    notes = connected.stderr.decode().splitlines()
    assert notes[0] == f"[host] connected: {project}/.mcp.json"
    assert notes[-1].startswith("[host] next: Start a new session")


def test_a_dry_run_writes_nothing(project: Path) -> None:
    shown = run_pyro("host", "connect", "claude-code", "--scope", "project", "--dry-run")

    assert shown.returncode == 0
    assert b'"command"' in shown.stdout
    assert b"nothing was written" in shown.stderr
    assert list(project.iterdir()) == []


def test_there_and_back_as_objects(project: Path) -> None:
    words = ["codex", "--scope", "user", "--json"]

    results = [json.loads(run_pyro("host", verb, *words).stdout)
               for verb in ("connect", "connect", "disconnect", "disconnect")]  # fmt: skip

    assert [one["changed"] for one in results] == [True, False, True, False]
    assert {one["path"] for one in results} == {str(project.parent / "home/.codex/config.toml")}
    assert results[2]["backup"] == results[2]["path"] + ".pyro-backup"


def test_the_same_goes_by_hand(project: Path) -> None:
    printed = run_pyro("host", "print-config", "cursor", "--scope", "project")
    run_pyro("host", "connect", "cursor", "--scope", "project")

    assert (project / ".cursor/mcp.json").read_bytes() == printed.stdout
    assert json.loads(printed.stdout)["mcpServers"]["pyro"]["args"] == [
        "mcp", "serve", "--profile", "workspace-core", "--project-path", "${workspaceFolder}"
    ]  # fmt: skip


@pytest.mark.parametrize("verb", ["connect", "disconnect", "print-config"])
def test_an_unknown_host_is_one_line_with_the_nearest(verb: str) -> None:
    finished = run_pyro("host", verb, "claudecode")

    assert finished.returncode == 1
    assert finished.stderr.startswith(b"[error] pyro knows no host named 'claudecode'. Nearest: ")
    assert len(finished.stderr.splitlines()) == 1


def test_the_doctor_starts_what_is_configured_and_runs_a_tool_in_a_guest(
    settings: Settings, images: object
) -> None:
    run_pyro(
        "host", "connect", "codex",
        "--env", f"{CACHE_VARIABLE}={settings.cache_dir}",
        "--env", f"{STATE_VARIABLE}={settings.state_dir}",
    )  # fmt: skip

    checked = run_pyro("host", "doctor", "codex", "--json")

    report = json.loads(checked.stdout)
    assert checked.returncode == 0, checked.stderr
    assert report["tool"] == "vm_run"
    assert report["answer"].startswith("Linux ")
    assert "workspace_exec" in report["tools"]
    assert "shell_open" not in report["tools"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/nonexistent/pyro", "does not work as a server (FileNotFoundError"),
        ("/bin/true", "does not work as a server"),
    ],
)
def test_the_doctor_says_what_does_not_start(command: str, said: str, project: Path) -> None:
    run_pyro("host", "connect", "claude-code", "--scope", "project", "--command", command)

    checked = run_pyro("host", "doctor", "claude-code", "--scope", "project")

    assert checked.returncode == 1
    assert said in checked.stderr.decode()
    assert f"{command} mcp serve --profile workspace-core" in checked.stderr.decode()


def test_the_doctor_of_a_host_that_is_not_connected_says_how_to_connect_it() -> None:
    checked = run_pyro("host", "doctor", "codex")

    assert checked.returncode == 1
    assert b"'pyro host connect codex --scope user' makes one." in checked.stderr


def test_a_mode_and_a_profile_exclude_each_other() -> None:
    both = run_pyro("host", "print-config", "zed", "--mode", "review", "--profile", "vm-run")

    assert both.returncode == 2
    assert b"--mode and --profile exclude each other" in both.stderr


def test_a_host_that_is_not_installed_is_an_error_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    finished = run_pyro("host", "connect", "zed", "--json")

    assert finished.returncode == 1
    assert json.loads(finished.stdout)["code"] == "host_missing"
    assert run_pyro("host", "connect", "zed", "--force").returncode == 0
