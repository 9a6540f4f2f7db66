"""Shells through the SDK: what is promised of the answers, and of what they outlive."""

from __future__ import annotations

import select
import subprocess
import sys
from typing import Any

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors import WorkspaceStateError
from pyro_mcp.errors.shells import UnknownShellError
from tests.support import until
from tests.surfaces.shapes import check

VALUE = "tr0ub4dor&3-correct"


def output(pyro: Pyro, workspace_id: str, shell_id: str, text: str, **how: Any) -> dict[str, Any]:
    """A read that has this text."""

    def read() -> dict[str, Any] | None:
        found = pyro.read_shell(workspace_id, shell_id, **how)
        return found if text in found["output"] else None

    return until(read)


def test_every_answer_has_the_promised_fields(kept: Pyro, workspace_id: str) -> None:
    opened = kept.open_shell(workspace_id, cols=100)
    shell_id = opened["shell_id"]

    check(opened, "shell")
    check(kept.read_shell(workspace_id, shell_id, wait_for_idle_ms=300), "shell_read")
    wrote = kept.write_shell(workspace_id, shell_id, input="echo ü")
    check(wrote, "shell_write")
    assert (wrote["input_length"], wrote["append_newline"]) == (6, True)
    check(kept.signal_shell(workspace_id, shell_id), "shell_signal")
    for shell in kept.list_shells(workspace_id)["shells"]:
        check(shell, "shell")
    check(kept.close_shell(workspace_id, shell_id), "shell_close")


def test_a_shell_outlives_the_process_that_opened_it(kept: Pyro, workspace_id: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from pyro_mcp import Pyro\n"
            "pyro = Pyro()\n"
            f"shell = pyro.open_shell({workspace_id!r})['shell_id']\n"
            f"pyro.write_shell({workspace_id!r}, shell, input='word=kept; cd /tmp')\n"
            "print(shell)",
        ],
        check=True,
        capture_output=True,
    )
    shell_id = done.stdout.decode().strip()

    kept.write_shell(workspace_id, shell_id, input="echo it is $word in $PWD")

    output(kept, workspace_id, shell_id, "it is kept in /tmp")


def test_a_file_is_seen_as_a_person_sees_it(kept: Pyro, workspace_id: str) -> None:
    kept.write_workspace_file(workspace_id, "notes", text="one\nzwölf 🥊\n")
    shell_id = kept.open_shell(workspace_id)["shell_id"]
    output(kept, workspace_id, shell_id, "pyro$ ")

    kept.write_shell(workspace_id, shell_id, input="cat notes")
    output(kept, workspace_id, shell_id, "🥊\npyro$ ", plain=True)

    read = kept.read_shell(workspace_id, shell_id, plain=True, wait_for_idle_ms=500)
    assert read["output"] == "pyro$ cat notes\none\nzwölf 🥊\npyro$ "
    assert (read["plain"], read["truncated"]) == (True, False)
    assert kept.read_shell(workspace_id, shell_id, plain=True, max_chars=5)["truncated"] is True


def test_a_full_screen_program_shows_its_screen_until_it_ends(
    kept: Pyro, workspace_id: str
) -> None:
    kept.write_workspace_file(workspace_id, "many", text="".join(f"row {n}\n" for n in range(99)))
    shell_id = kept.open_shell(workspace_id, cols=40, rows=10)["shell_id"]
    kept.write_shell(workspace_id, shell_id, input="LESS= less many || more many")
    first = output(kept, workspace_id, shell_id, "row 8", plain=True)
    assert "row 10" not in first["output"]

    kept.write_shell(workspace_id, shell_id, input=" ", append_newline=False)
    second = output(kept, workspace_id, shell_id, "row 12", plain=True, cursor=first["next_cursor"])
    kept.write_shell(workspace_id, shell_id, input="q", append_newline=False)

    last = output(kept, workspace_id, shell_id, "pyro$ ", plain=True, cursor=second["next_cursor"])
    assert last["state"] == "running"


@pytest.mark.parametrize("how", ["stop", "reset"])
def test_shells_end_with_the_machine(kept: Pyro, workspace_id: str, how: str) -> None:
    shell_id = kept.open_shell(workspace_id)["shell_id"]
    kept.write_shell(workspace_id, shell_id, input="trap '' HUP TERM INT; sleep 600")

    if how == "stop":
        kept.stop_workspace(workspace_id)
        assert kept.list_shells(workspace_id)["count"] == 0
        for call in (kept.read_shell, kept.signal_shell, kept.close_shell):
            with pytest.raises(WorkspaceStateError, match="stopped"):
                call(workspace_id, shell_id)
        assert kept.status_workspace(workspace_id)["state"] == "stopped"
        assert kept.open_shell(workspace_id)["workspace_started"] is True
    else:
        kept.reset_workspace(workspace_id)
        with pytest.raises(UnknownShellError):
            kept.read_shell(workspace_id, shell_id)
        assert kept.list_shells(workspace_id)["count"] == 0


def test_what_counts_as_activity(kept: Pyro, workspace_id: str) -> None:
    def last() -> float:
        return float(kept.status_workspace(workspace_id)["last_activity_at"])

    before = last()
    shell_id = kept.open_shell(workspace_id)["shell_id"]
    opened = last()
    kept.read_shell(workspace_id, shell_id)
    kept.list_shells(workspace_id)
    read = last()
    kept.write_shell(workspace_id, shell_id, input="true")
    wrote = last()
    kept.close_shell(workspace_id, shell_id)

    assert before < opened == read < wrote < last()


def test_a_secret_is_in_its_shell_and_not_in_what_is_read(kept: Pyro) -> None:
    workspace_id = kept.create_workspace(
        environment="debian:12", mem_mib=256, secrets=[{"name": "TOKEN", "value": VALUE}]
    )["workspace_id"]
    shell_id = kept.open_shell(workspace_id, secret_env={"TOKEN": "KEY"}, cols=300)["shell_id"]
    kept.write_shell(
        workspace_id,
        shell_id,
        input="echo ${#KEY}; for n in 1 2 3; do printf %s ${KEY:0:9}; sleep 0.3; echo ${KEY:9}; "
        "done; echo do''ne",
    )
    whole = output(kept, workspace_id, shell_id, "done\r\n")
    assert f"\r{len(VALUE)}\r\n" in whole["output"]
    assert whole["redacted"] is True

    texts = [whole["output"]]
    for size in (1, 7, 11):
        cursor, truncated, text = 0, True, ""
        while truncated:
            read = kept.read_shell(workspace_id, shell_id, cursor=cursor, max_chars=size)
            cursor, truncated = read["next_cursor"], read["truncated"]
            text += read["output"]
        texts.append(text)
    plain = kept.read_shell(workspace_id, shell_id, plain=True)
    texts.append(plain["output"])

    for text in texts:
        assert VALUE not in text
    assert plain["output"].count("[REDACTED]") == 3
    assert kept.read_shell(workspace_id, shell_id, cursor=whole["next_cursor"])["redacted"] is False


def test_a_secret_is_not_seen_live_either(kept: Pyro) -> None:
    workspace_id = kept.create_workspace(
        environment="debian:12", mem_mib=256, secrets=[{"name": "TOKEN", "value": VALUE}]
    )["workspace_id"]
    shell_id = kept.open_shell(workspace_id, secret_env={"TOKEN": "TOKEN"})["shell_id"]

    with kept.attach_shell(workspace_id, shell_id) as attached:
        keys = b"printf %s ${TOKEN:0:9}; sleep 0.5; echo ${TOKEN:9}; exit 3\n"
        while keys:
            keys = keys[attached.send(keys) :]
        seen = b""
        while attached.ended is None:
            select.select([attached], [], [], attached.patience_seconds)
            seen += attached.receive()

        assert VALUE.encode() not in seen
        assert b"[REDACTED]" in seen
        assert attached.redacted
        assert attached.ended["exit_code"] == 3


def test_one_who_is_attached_keeps_the_workspace_awake(kept: Pyro) -> None:
    workspace_id = kept.create_workspace(environment="debian:12", mem_mib=256, ttl_seconds=5)[
        "workspace_id"
    ]
    shell_id = kept.open_shell(workspace_id)["shell_id"]

    with kept.attach_shell(workspace_id, shell_id) as attached:
        keys = b"sleep 14; exit 4\n"
        assert attached.send(keys) == len(keys)
        while attached.ended is None:
            select.select([attached], [], [], attached.patience_seconds)
            attached.receive()

        assert attached.ended["exit_code"] == 4
