"""Checkers that others wrote: the protocol's inspector, and its conformance suite."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.config import CACHE_VARIABLE, STATE_VARIABLE, Settings
from tests.support.needs import CHECKOUT, needs
from tests.surfaces.mcp.doorman import doorman
from tests.surfaces.mcp.support import SERVE, Address

_BIN = CHECKOUT / ".npm/node_modules/.bin"
_IS_AN_ERROR = 5

CONFORMANCE = {
    "2025-11-25": (
        "server-initialize", "server-session-lifecycle", "ping", "tools-list", "resources-list",
        "prompts-list", "server-sse-multiple-streams", "dns-rebinding-protection",
    ),
    "2026-07-28": (
        "tools-list", "resources-list", "prompts-list", "caching", "http-header-validation",
        "sep-2164-resource-not-found", "dns-rebinding-protection",
    ),
}  # fmt: skip
"""Protocol → its scenarios that need none of the suite's own tools."""


def _run(program: str, *words: str, scratch: Path) -> subprocess.CompletedProcess[str]:
    tool = _BIN / program
    if not tool.exists():
        needs("npm")
        pytest.fail(f"{tool} is missing; 'scripts/dev test' installs it", pytrace=False)
    return subprocess.run(
        [tool, *words], capture_output=True, text=True, check=False, cwd=scratch,
        env={**os.environ, "PATH": f"{_BIN}:{os.environ['PATH']}", "HOME": str(scratch)},
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


class Inspector:
    """The inspector's command line, about one server."""

    def __init__(self, where: list[str], scratch: Path) -> None:
        self._where = where
        self._scratch = scratch

    def __call__(self, method: str, *words: str, status: int = 0) -> dict[str, Any]:
        """The result of a request."""
        ran = _run(
            "mcp-inspector", "--cli", *self._where, "--method", method,
            "--format", "json", "--quiet", *words, scratch=self._scratch,
        )  # fmt: skip
        assert ran.returncode == status, ran.stdout + ran.stderr
        result: dict[str, Any] = json.loads(ran.stdout)["result"]
        return result


@pytest.fixture(params=["stdio", "http"])
def inspector(
    request: pytest.FixtureRequest, tmp_path: Path, address: Address, settings: Settings
) -> Inspector:
    """About the same tools over each transport."""
    if request.param == "stdio":
        # It passes on next to nothing of its own environment.
        variables = [
            f"{STATE_VARIABLE}={settings.state_dir}",
            f"{CACHE_VARIABLE}={settings.cache_dir}",
        ]
        return Inspector(["env", *variables, *SERVE], tmp_path)
    header = f"Authorization: {address.headers['Authorization']}"
    return Inspector(
        ["--server-url", address.url, "--transport", "http", "--header", header], tmp_path
    )


def test_the_inspector_finds_nothing_wrong(inspector: Inspector) -> None:
    for era in ("legacy", "modern"):
        listed = inspector("tools/list", "--strict", "--protocol-era", era)
        assert len(listed["tools"]) == 51
    inspector("resources/list")
    inspector("prompts/list")

    ran = inspector(
        "tools/call", "--tool-name", "vm_run", "--tool-args-json",
        json.dumps({"environment": "debian:12", "command": "echo inspected", "mem_mib": 256}),
    )  # fmt: skip
    assert ran["structuredContent"]["stdout"] == "inspected\n"
    wrong = inspector(
        "tools/call", "--tool-name", "vm_run", "--tool-args-json", "{}", status=_IS_AN_ERROR
    )
    assert wrong["structuredContent"]["error"]["code"] == "invalid_input"


@pytest.mark.parametrize("version", CONFORMANCE)
def test_the_server_conforms_to_the_protocol(
    version: str, address: Address, tmp_path: Path
) -> None:
    failed = {}
    with doorman(address) as url:
        for scenario in CONFORMANCE[version]:
            ran = _run(
                "conformance", "server", "--url", url, "--scenario", scenario,
                "--spec-version", version, scratch=tmp_path,
            )  # fmt: skip
            if ran.returncode != 0:
                failed[scenario] = ran.stdout + ran.stderr

    assert failed == {}
