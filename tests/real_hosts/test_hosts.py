"""The real command lines read what `pyro host connect` wrote, and call our tools in a guest."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.config import CACHE_VARIABLE, STATE_VARIABLE, Settings
from tests.real_hosts.stub_model import SAID, StubModel, stub_model
from tests.support.needs import CHECKOUT

pytestmark = [pytest.mark.usefixtures("images"), pytest.mark.timeout(600)]

PYRO = str(Path(sys.executable).with_name("pyro"))
PROGRAMS = CHECKOUT / ".hosts/node_modules/.bin"
TASK = "Run the command."

_GUEST = re.compile(r"42 in (\d[^\\\"\s]*)")


class Person:
    """A user who has just installed the hosts: a home, a project, and no variable of ours."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.home = folder / "home"
        self.project = folder / "project"
        self._settings = settings
        for place in (self.home, self.project):
            place.mkdir()

    def run(self, *words: str, **variables: str) -> str:
        """What a program prints, both streams; it must end well."""
        env = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "HOME": str(self.home), **variables}
        done = subprocess.run(
            words, env=env, cwd=self.project, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300,
        )  # fmt: skip
        print(done.stdout)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def connect(self, host: str, *words: str) -> None:
        """`pyro host connect`, the guests' images and state being where the tests have them."""
        self.run(
            PYRO, "host", "connect", host, *words,
            "--env", f"{CACHE_VARIABLE}={self._settings.cache_dir}",
            "--env", f"{STATE_VARIABLE}={self._settings.state_dir}",
        )  # fmt: skip


@pytest.fixture
def person(tmp_path: Path, settings: Settings) -> Person:
    return Person(tmp_path, settings)


@pytest.fixture
def model() -> Iterator[StubModel]:
    with stub_model() as stub:
        yield stub


def _assert_a_guest_answered(model: StubModel, said: str) -> None:
    assert model.asked, "the host did not ask the model"
    assert model.results, f"no tool was called; offered: {_offered(model)}"
    kernel = _GUEST.search(model.results[0])
    assert kernel, model.results
    assert kernel[1] != platform.release()
    assert SAID in said


def _offered(model: StubModel) -> list[str]:
    return [str(tool.get("name") or tool) for one in model.asked for tool in one.get("tools", ())]


def test_codex_lists_the_server_and_runs_a_command_in_a_guest(
    person: Person, model: StubModel
) -> None:
    config = person.home / ".codex/config.toml"
    config.parent.mkdir()
    config.write_text(
        'model = "stub"\nmodel_provider = "stub"\napproval_policy = "never"\n\n'
        '[model_providers.stub] # ours\nname = "stub"\nwire_api = "responses"\n'
        f'base_url = "{model.url}/v1"\nenv_key = "STUB_KEY"\nrequires_openai_auth = false\n\n'
        '[mcp_servers.pyro]\nrequired = true\ndefault_tools_approval_mode = "approve"\n'
    )
    person.connect("codex")

    listed = person.run("codex", "mcp", "list")
    said = person.run("codex", "exec", "--skip-git-repo-check", TASK, STUB_KEY="x")

    assert re.search(r"pyro .*mcp serve --profile workspace-core", listed)
    assert "# ours" in config.read_text()
    _assert_a_guest_answered(model, said)


def test_claude_code_connects_and_runs_a_command_in_a_guest(
    person: Person, model: StubModel
) -> None:
    person.connect("claude-code")
    quiet = {
        "ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "stub",
        "ENABLE_TOOL_SEARCH": "false", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }  # fmt: skip

    listed = person.run("claude", "mcp", "list", **quiet)
    said = person.run("claude", "-p", TASK, "--allowedTools", "mcp__pyro__vm_run", **quiet)

    assert re.search(r"pyro: .* - .*Connected", listed)
    _assert_a_guest_answered(model, said)


def test_opencode_connects_and_runs_a_command_in_a_guest(person: Person, model: StubModel) -> None:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{model.url}/v1", "apiKey": "x"},
        "models": {"stub": {"name": "stub"}},
    }
    config = person.project / "opencode.json"
    config.write_text(json.dumps({"model": "stub/stub", "provider": {"stub": provider}}))
    person.connect("opencode", "--scope", "project")

    listed = person.run("opencode", "mcp", "list")
    said = person.run("opencode", "run", TASK)

    assert re.search(r"pyro\W+.*connected", listed)
    _assert_a_guest_answered(model, said)


def test_gemini_cli_connects(person: Person) -> None:
    settings = person.home / ".gemini/settings.json"
    settings.parent.mkdir()
    # Without it this one command waits no longer than five seconds, also on a busy computer.
    settings.write_text('{"mcpServers": {"pyro": {"timeout": 120000}}}')
    person.connect("gemini-cli")

    listed = person.run("gemini", "mcp", "list", GEMINI_CLI_TRUST_WORKSPACE="true")

    assert re.search(r"pyro: .* - Connected", listed)


@pytest.mark.parametrize("host", ["codex", "claude-code", "opencode", "gemini-cli"])
def test_the_host_itself_sees_it_go(host: str, person: Person) -> None:
    program = {"claude-code": "claude", "gemini-cli": "gemini"}.get(host, host)
    person.connect(host)

    person.run(PYRO, "host", "disconnect", host)

    listed = person.run(program, "mcp", "list", GEMINI_CLI_TRUST_WORKSPACE="true")
    assert "pyro" not in listed.replace(str(person.home), "")
