"""`pyro workspace secret`: values come from files and standard input, and are never shown."""

from __future__ import annotations

import json
import os
import pty
import select
from pathlib import Path

from pyro_mcp import Pyro
from tests.support import until
from tests.surfaces.cli.support import PYRO, run_pyro

TOKEN = "hush-hush-token"


def value_in_guest(kept: Pyro, workspace_id: str, name: str) -> str:
    """Reversed, since as it is it would be redacted."""
    command = f"rev < /run/pyro-secrets/{name}"
    return str(kept.exec_workspace(workspace_id, command=command)["stdout"])[::-1]


def test_values_come_from_standard_input_and_files(
    kept: Pyro, workspace_id: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}-of-a-file")

    first = run_pyro("workspace", "secret", "set", workspace_id, "A", stdin=f"{TOKEN}\n".encode())
    second = run_pyro("workspace", "secret", "set", workspace_id, "B", "--file", str(file))
    third = run_pyro("workspace", "secret", "set", workspace_id, "C", "--file", "-", "--json",
                     stdin=f"{TOKEN}3\r\n".encode())  # fmt: skip

    assert first.stdout == (
        f"[workspace-secret-set] workspace_id={workspace_id} name=A source_kind=literal "
        "replaced=no in_guest=yes\n".encode()
    )
    assert (second.returncode, b"source_kind=file" in second.stdout) == (0, True)
    assert json.loads(third.stdout)["secret"] == {"name": "C", "source_kind": "literal"}
    listed = run_pyro("workspace", "secret", "list", workspace_id)
    assert listed.stdout == b"A [literal]\nB [file]\nC [literal]\n"
    assert value_in_guest(kept, workspace_id, "A") == TOKEN
    assert value_in_guest(kept, workspace_id, "B") == f"{TOKEN}-of-a-file"
    assert value_in_guest(kept, workspace_id, "C") == f"{TOKEN}3"

    removed = run_pyro("workspace", "secret", "rm", workspace_id, "A")
    again = run_pyro("workspace", "secret", "rm", workspace_id, "A", "--json")
    assert removed.stdout == b"Deleted secret: A\n"
    assert (again.returncode, json.loads(again.stdout)["code"]) == (1, "unknown_secret")


def test_on_a_terminal_a_value_is_asked_for_and_not_shown(kept: Pyro, workspace_id: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(PYRO[0], [*PYRO, "workspace", "secret", "set", workspace_id, "ASKED"])
    seen = b""
    try:
        while b"Value of ASKED" not in seen:
            assert select.select([terminal], [], [], 60)[0], seen
            seen += os.read(terminal, 4096)
        os.write(terminal, f"{TOKEN}\n".encode())
        while b"in_guest=yes" not in seen:
            assert select.select([terminal], [], [], 60)[0], seen
            seen += os.read(terminal, 4096)
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)

    assert os.waitstatus_to_exitcode(status) == 0
    assert TOKEN.encode() not in seen
    assert value_in_guest(kept, workspace_id, "ASKED") == TOKEN


def test_creating_takes_them_and_exec_maps_them(kept: Pyro, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    made = run_pyro(
        "workspace", "create", "debian:12", "--mem-mib", "256", "--json", "--secret",
        f"A={TOKEN}=more", "--secret-file", f"B={file}", "--secret-file", "C=-",
        stdin=f"{TOKEN}-c".encode(),
    )  # fmt: skip
    workspace_id = json.loads(made.stdout)["workspace_id"]

    ran = run_pyro(
        "workspace", "exec", workspace_id, "--secret-env", "A", "--secret-env", "B=OTHER", "--",
        "sh", "-c", 'echo "$A $OTHER ${#A} ${#OTHER} $C"',
    )  # fmt: skip

    assert [one["name"] for one in json.loads(made.stdout)["secrets"]] == ["A", "B", "C"]
    assert ran.stdout == b"[REDACTED] [REDACTED] 20 15 \n"
    assert b"[workspace-exec] values of secrets are shown as [REDACTED]\n" in ran.stderr


def test_whatever_left_a_value_out_says_so(kept: Pyro, workspace_id: str) -> None:
    kept.set_secret(workspace_id, "A", value=TOKEN)
    command = "cat /run/pyro-secrets/A"
    kept.exec_workspace(workspace_id, command=command)
    kept.start_service(workspace_id, "s", command=command)
    until(lambda: kept.logs_service(workspace_id, "s")["stdout"])
    shell_id = kept.open_shell(workspace_id)["shell_id"]
    kept.write_shell(workspace_id, shell_id, input=f"{command}; exit")
    until(lambda: kept.read_shell(workspace_id, shell_id)["state"] == "stopped")

    for words in (
        ("logs", workspace_id),
        ("service", "logs", workspace_id, "s"),
        ("service", "logs", workspace_id, "s", "--follow"),
        ("shell", "read", workspace_id, shell_id),
    ):
        shown = run_pyro("workspace", *words)
        assert (shown.returncode, b"[REDACTED]" in shown.stdout) == (0, True)
        assert b"values of secrets are shown as [REDACTED]\n" in shown.stderr


def test_mistakes_do_not_quote_a_value(kept: Pyro, workspace_id: str) -> None:
    mistakes = [
        (("secret", "set", workspace_id, "A", TOKEN), 2),
        (("secret", "set", workspace_id, TOKEN), 1),
        (("secret", "set", workspace_id, "A"), 1),
        (("create", "debian:12", "--secret", TOKEN), 1),
        (("create", "debian:12", "--secret", f"={TOKEN}"), 1),
        (("create", "debian:12", "--secret", f"1={TOKEN}"), 1),
        (("create", "debian:12", "--secret", f"A={TOKEN}", "--secret", f"A={TOKEN}"), 1),
        (("create", "debian:12", f"--secrets=A={TOKEN}"), 2),
        (("exec", workspace_id, "--secret-env", f"A={TOKEN}", "--", "true"), 1),
    ]
    for words, status in mistakes:
        at = 2 if words[0] == "secret" else 1
        for form in ((), ("--json",)):
            finished = run_pyro("workspace", *words[:at], *form, *words[at:])

            assert finished.returncode == status, (words, finished)
            assert TOKEN.encode() not in finished.stdout + finished.stderr, words
            assert b"Traceback" not in finished.stderr
    assert kept.list_workspaces()["count"] == 1
