"""Bad input: an answer that says what is wrong, or nothing; the server goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.surfaces.mcp.support import raw_client

_INVALID_PARAMS = -32602
_NO_SUCH_METHOD = -32601


def _error(result: dict[str, Any]) -> dict[str, str]:
    """Of a result that is one; both of its halves say the same."""
    assert result["isError"] is True
    error: dict[str, str] = result["structuredContent"]["error"]
    assert set(error) == {"code", "message", "hint"}
    (content,) = result["content"]
    assert content["text"] == f"[{error['code']}] {error['message']} {error['hint']}"
    return error


def test_what_is_no_message_is_passed_over(tmp_path: Path) -> None:
    with raw_client("--profile", "workspace-core", log=tmp_path / "log") as client:
        for line in (
            b"this is no JSON\n",
            b"\n",
            b"{}\n",
            b"[]\n",
            b'{"jsonrpc": "2.0"}\n',
            b"\xff\xfe\x00\n",
            b'{"jsonrpc": "2.0", "id": 7, "method": 5}\n',
            b"[" * 10_000 + b"\n",
            b'{"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {"x": "'
            + b"x" * 9 * 1024 * 1024
            + b'"}}\n',
        ):
            client.send(line)

        assert client.answer(client.ask("ping"))["result"] == {}
        assert len(client.answer(client.ask("tools/list"))["result"]["tools"]) == 18


def test_a_server_that_is_only_shouted_at_ends_with_its_client() -> None:
    with raw_client(shake_hands=False) as client:
        client.send(b"no\n" * 100)
        assert client.process.stdin is not None
        client.process.stdin.close()

        assert client.process.wait(timeout=60) == 0


def test_mistakes_in_calls_are_answered() -> None:
    with raw_client() as client:
        unknown = client.answer(client.ask("tools/fly"))["error"]
        no_name = client.answer(client.ask("tools/call", {"arguments": {}}))["error"]
        no_object = client.answer(
            client.ask("tools/call", {"name": "vm_run", "arguments": ["debian:12"]})
        )["error"]
        assert unknown["code"] == _NO_SUCH_METHOD
        assert no_name["code"] == no_object["code"] == _INVALID_PARAMS

        debian = {"environment": "debian:12", "command": "true"}
        said = {
            name: _error(client.call(tool, arguments))
            for name, tool, arguments in (
                ("tool", "vm_fly", {}),
                ("missing", "vm_run", {"command": "true"}),
                ("type", "vm_run", {**debian, "timeout_seconds": "5"}),
                ("extra", "vm_run", {**debian, "timeout": 5}),
                ("range", "vm_run", {**debian, "mem_mib": 1}),
                ("environment", "vm_run", {**debian, "environment": "debain:12"}),
                ("vm", "vm_start", {"vm_id": "0" * 12}),
                ("workspace", "workspace_exec", {"workspace_id": "../..", "command": "id"}),
            )
        }

        assert said["tool"]["code"] == "unknown_tool"
        assert said["missing"]["message"] == "environment is missing."
        assert said["type"]["message"] == "timeout_seconds is a string, not integer."
        assert said["extra"]["hint"].startswith("Did you mean timeout_seconds?")
        assert "mem_mib" in said["range"]["message"]
        assert said["environment"]["code"] == "unknown_environment"
        assert "debian:12" in said["environment"]["hint"]
        assert said["vm"]["code"] == "unknown_machine"
        assert said["workspace"]["code"] == "unknown_workspace"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--profile", "all"], "vm-run"),
        (["--mode", "all"], "repro-fix"),
        (["--mode", "inspect", "--profile", "vm-run"], "exclude each other"),
        (["--workspace", "0" * 12, "--project-path", "."], "leaves none to be made"),
        (["--project-gitignore"], "--project-path, which is missing"),
        (["--port", "80"], "--port is for --transport http"),
        (["--project-path", "/no/such"], "is no directory"),
    ],
)
def test_options_that_make_no_sense_are_refused(words: list[str], said: str) -> None:
    from tests.surfaces.cli.support import run_pyro

    finished = run_pyro("mcp", "serve", *words)

    assert finished.returncode in (1, 2)
    assert said in finished.stderr.decode()
    assert finished.stdout == b""
