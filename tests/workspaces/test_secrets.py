"""Secrets: where they are in a guest, when, and how they are changed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors import InvalidInputError, UnknownSecretError, UnknownWorkspaceError
from pyro_mcp.workspaces.secrets import LONGEST, MOST
from tests.support.sparse import holds

TOKEN = "hush-hush-token"
SHOW = "ls -n /run/pyro-secrets; stat -c %a /run/pyro-secrets; wc -c /run/pyro-secrets/*"


def make(pyro: Pyro, *secrets: dict[str, str]) -> str:
    made = pyro.create_workspace(environment="debian:12", mem_mib=256, secrets=list(secrets))
    return str(made["workspace_id"])


def ran(pyro: Pyro, workspace_id: str, command: str, **named: Any) -> str:
    result = pyro.exec_workspace(workspace_id, command=command, **named)
    assert result["exit_code"] == 0, result
    return str(result["stdout"])


def names(pyro: Pyro, workspace_id: str) -> list[str]:
    listed = pyro.list_secrets(workspace_id)["secrets"]
    assert listed == pyro.status_workspace(workspace_id)["secrets"]
    return [one["name"] for one in listed]


def length_in_guest(pyro: Pyro, workspace_id: str, name: str) -> int:
    return int(ran(pyro, workspace_id, f"stat -c %s /run/pyro-secrets/{name}"))


def test_a_secret_is_a_file_for_root_and_a_variable_of_the_call_that_asks(
    pyro: Pyro, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text("line one of it\nline two of it\n")

    workspace_id = make(
        pyro, {"name": "TOKEN", "value": TOKEN}, {"name": " KEY ", "file_path": str(file)}
    )

    assert pyro.list_secrets(workspace_id) == {
        "workspace_id": workspace_id,
        "count": 2,
        "secrets": [
            {"name": "KEY", "source_kind": "file"},
            {"name": "TOKEN", "source_kind": "literal"},
        ],
    }
    shown = ran(pyro, workspace_id, SHOW)
    assert shown.count("-r-------- 1 0 0 ") == 2
    assert "\n700\n" in shown
    assert f"{len(TOKEN)} /run/pyro-secrets/TOKEN" in shown
    assert ran(pyro, workspace_id, "env | grep -c hush; true") == "0\n"
    asked = {"TOKEN": "API_TOKEN", "KEY": "KEY"}
    assert (
        ran(
            pyro,
            workspace_id,
            'test "$API_TOKEN" = "$(cat /run/pyro-secrets/TOKEN)" && echo "${#KEY}"',
            secret_env=asked,
        )
        == "30\n"
    )


def test_secrets_outlive_stop_and_reset_and_go_with_a_fork(pyro: Pyro) -> None:
    workspace_id = make(pyro, {"name": "TOKEN", "value": TOKEN})

    pyro.stop_workspace(workspace_id)
    assert length_in_guest(pyro, workspace_id, "TOKEN") == len(TOKEN)
    pyro.reset_workspace(workspace_id)
    assert length_in_guest(pyro, workspace_id, "TOKEN") == len(TOKEN)
    fork = pyro.fork_workspace(workspace_id)["workspace_id"]
    pyro.delete_secret(workspace_id, "TOKEN")

    assert names(pyro, fork) == ["TOKEN"]
    assert length_in_guest(pyro, fork, "TOKEN") == len(TOKEN)


def test_a_running_guest_has_a_new_value_at_once_and_a_stopped_one_at_its_start(
    pyro: Pyro,
) -> None:
    workspace_id = make(pyro)

    added = pyro.set_secret(workspace_id, "TOKEN", value=TOKEN)
    assert (added["replaced"], added["in_guest"]) == (False, True)
    assert length_in_guest(pyro, workspace_id, "TOKEN") == len(TOKEN)

    pyro.stop_workspace(workspace_id)
    changed = pyro.set_secret(workspace_id, "TOKEN", value=2 * TOKEN)
    assert (changed["replaced"], changed["in_guest"]) == (True, False)
    assert pyro.status_workspace(workspace_id)["state"] == "stopped"
    assert length_in_guest(pyro, workspace_id, "TOKEN") == 2 * len(TOKEN)

    pyro.set_secret(workspace_id, "OTHER", value="another token")
    pyro.delete_secret(workspace_id, "TOKEN")
    assert names(pyro, workspace_id) == ["OTHER"]
    assert ran(pyro, workspace_id, "ls /run/pyro-secrets") == "OTHER\n"


def test_a_former_value_is_redacted_until_the_next_start(pyro: Pyro) -> None:
    """A program that was started before the change may still print it."""
    workspace_id = make(pyro, {"name": "TOKEN", "value": TOKEN})
    pyro.exec_workspace(workspace_id, command=f"echo {TOKEN} > /workspace/file")

    pyro.set_secret(workspace_id, "TOKEN", value="something new")
    both = ran(pyro, workspace_id, "cat file /run/pyro-secrets/TOKEN")
    pyro.delete_secret(workspace_id, "TOKEN")
    after = ran(pyro, workspace_id, "cat file")
    pyro.stop_workspace(workspace_id)

    assert both == "[REDACTED]\n[REDACTED]"
    assert after == "[REDACTED]\n"
    assert ran(pyro, workspace_id, "cat file") == f"{TOKEN}\n"


def test_a_command_that_prints_a_value_it_was_given_while_it_ran_is_redacted(
    pyro: Pyro,
) -> None:
    workspace_id = make(pyro)
    pieces: list[bytes] = []

    def on_output(_stream: str, data: bytes) -> None:
        if not pieces:
            pyro.set_secret(workspace_id, "LATE", value=TOKEN)
        pieces.append(data)

    result = pyro.exec_workspace(
        workspace_id,
        command="echo now; until cat /run/pyro-secrets/LATE; do sleep 0.05; done 2>/dev/null",
        on_output=on_output,
    )

    assert result["stdout"] == "now\n[REDACTED]"
    assert b"".join(pieces) == b"now\n[REDACTED]"
    assert result["redacted"] is True


def test_the_hosts_file_is_closed_to_others_and_goes_with_the_last_secret(
    pyro: Pyro, state_dir: Path
) -> None:
    workspace_id = make(pyro, {"name": "TOKEN", "value": TOKEN})
    home = state_dir / "workspaces" / workspace_id

    assert f"{(home / 'secrets.json').stat().st_mode:o}" == "100600"
    assert f"{home.stat().st_mode & 0o777:o}" == "700"
    pyro.delete_secret(workspace_id, "TOKEN")
    pyro.stop_workspace(workspace_id)
    pyro.start_workspace(workspace_id)

    assert not (home / "secrets.json").exists()
    assert not list(home.glob(".secrets*"))


def test_what_a_dead_process_left_of_a_file_is_tidied(pyro: Pyro, state_dir: Path) -> None:
    workspace_id = make(pyro, {"name": "TOKEN", "value": TOKEN})
    half = state_dir / "workspaces" / workspace_id / ".secrets.json.1.new"
    half.write_text(TOKEN)

    pyro.list_workspaces()

    assert not half.exists()


def test_a_damaged_file_shows_nothing_and_quotes_nothing(pyro: Pyro, state_dir: Path) -> None:
    """Without its values nothing can be redacted."""
    workspace_id = make(pyro, {"name": "TOKEN", "value": TOKEN})
    pyro.exec_workspace(workspace_id, command="echo shown > file")
    path = state_dir / "workspaces" / workspace_id / "secrets.json"
    whole = path.read_text()
    path.write_text(whole[:-5])
    os.utime(path, (1, 1))

    calls: list[Callable[[], object]] = [
        lambda: pyro.read_workspace_file(workspace_id, "file"),
        lambda: pyro.exec_workspace(workspace_id, command="cat file"),
        lambda: pyro.logs_workspace(workspace_id),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match=r"secrets\.json cannot be used") as refused:
            call()
        assert TOKEN not in repr(refused.getrepr(showlocals=False, chain=True))
    path.write_text(whole)


def test_secrets_do_not_follow_where_run_was_taken_away(pyro: Pyro, state_dir: Path) -> None:
    """Root in the guest can make /run a directory of the disk; values must not get there."""
    workspace_id = make(pyro, {"name": "TOKEN", "value": TOKEN})
    unmount = "import ctypes; ctypes.CDLL(None).umount2(b'/run', 2)"
    ran(pyro, workspace_id, f'python3 -c "{unmount}"; rmdir /run && mkdir /run && ls -a /run')

    with pytest.raises(RuntimeError, match="not in memory any more"):
        pyro.set_secret(workspace_id, "OTHER", value="another token")

    assert names(pyro, workspace_id) == ["TOKEN"]
    assert ran(pyro, workspace_id, "echo another token") == "[REDACTED]\n"
    pyro.stop_workspace(workspace_id)
    disks = list((state_dir / "workspaces" / workspace_id).glob("*.ext4"))
    assert [disk for disk in disks if holds(disk, b"another token")] == []
    assert ran(pyro, workspace_id, "ls /run/pyro-secrets") == "TOKEN\n"


def test_a_change_that_is_killed_leaves_the_old_value_or_the_new_one(pyro: Pyro) -> None:
    workspace_id = make(pyro, {"name": "TOKEN", "value": "a" * 5000})
    program = (
        "import sys; from pyro_mcp import Pyro; "
        "Pyro().set_secret(sys.argv[1], sys.argv[2], value=sys.argv[3])"
    )
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)

    for size in range(10000, 10008):
        words = [sys.executable, "-c", program, workspace_id, "TOKEN", "b" * size]
        with subprocess.Popen(words) as process:
            time.sleep(chance.uniform(0.05, 0.4))
            process.kill()
        in_guest = length_in_guest(pyro, workspace_id, "TOKEN")
        pyro.stop_workspace(workspace_id)
        on_host = length_in_guest(pyro, workspace_id, "TOKEN")

        assert in_guest in (5000, *range(10000, size + 1))
        assert on_host in (in_guest, size)


BAD = [
    ({"name": "A"}, "A has no value"),
    ({"name": "A", "value": "hushhush", "file_path": "/x"}, "A has both a value and a file"),
    ({"name": "A", "value": ""}, "A is empty"),
    ({"name": "A", "value": "hus"}, "fewer than 4 bytes"),
    ({"name": "A", "value": "hus\n\n"}, "fewer than 4 bytes"),
    ({"name": "A", "value": "hushhush\0"}, "NUL"),
    ({"name": "A", "value": "hush\udcff"}, "not UTF-8"),
    ({"name": "A", "value": "hush" * (LONGEST // 4) + "h"}, "more than 65536 bytes"),
    ({"name": "A", "value": "é" * LONGEST}, "more than 65536 bytes"),
    ({"name": "A", "value": "[REDACTED]"}, r"part of \[REDACTED\]"),
    ({"name": "A", "value": 12345678}, "is no text"),
    ({"name": "A", "file_path": "/nowhere/hush"}, "cannot be read from '/nowhere/hush'"),
    ({"name": "A", "file_path": "/"}, "cannot be read from '/'"),
    ({"name": "A", "file_path": ""}, "no path"),
    ({"name": "A", "file_path": "/dev/zero"}, "more than 65536 bytes"),
    ({"name": "A", "file_path": "/bin/true"}, "not UTF-8"),
    ({"name": "A", "value": "hushhush", "valu": "hushhush"}, "another form"),
    ({"name": "1A", "value": "hushhush"}, "name"),
    ({"name": "hush-hush", "value": "hushhush"}, "name"),
    ({"name": "A" * 65, "value": "hushhush"}, "name"),
    ({"value": "hushhush"}, "name"),
    ("hushhush", "another form"),
]


@pytest.mark.parametrize(("secret", "said"), BAD, ids=[said for _, said in BAD])
def test_a_secret_that_cannot_be_used_is_refused_and_nothing_is_made(
    pyro: Pyro, state_dir: Path, secret: Any, said: str
) -> None:
    """Five tries left five directories in the reference."""
    with pytest.raises(InvalidInputError, match=said) as refused:
        pyro.create_workspace(
            environment="debian:12", secrets=[{"name": "B", "value": "hushhush"}, secret]
        )

    assert "hushhush" not in str(refused.value)
    assert not list(state_dir.glob("workspaces/*"))


def test_names_are_given_once_and_not_without_end(pyro: Pyro, state_dir: Path) -> None:
    twice = [{"name": name, "value": TOKEN} for name in ("A", " A")]
    many = [{"name": f"N{n}", "value": TOKEN} for n in range(MOST + 1)]

    for secrets, said in ((twice, "twice"), (many, f"are {MOST + 1}")):
        with pytest.raises(InvalidInputError, match=said):
            pyro.create_workspace(environment="debian:12", secrets=secrets)
    with pytest.raises(InvalidInputError, match="no list"):
        pyro.create_workspace(environment="debian:12", secrets={"A": TOKEN})  # type: ignore[arg-type]
    assert not list(state_dir.glob("workspaces/*"))


def test_what_secret_env_cannot_give_is_refused_before_anything_runs(pyro: Pyro) -> None:
    long = "hush" * (LONGEST // 4)
    workspace_id = make(
        pyro,
        *({"name": name, "value": TOKEN} for name in ("A", "B", "PATH")),
        *({"name": f"LONG{n}", "value": long} for n in range(3)),
    )
    bad: list[tuple[Any, dict[str, str], type[Exception], str]] = [
        ({"NOBODY": "X"}, {}, UnknownSecretError, "no secret named 'NOBODY'"),
        ({"A": "not a name"}, {}, InvalidInputError, "another form"),
        ({"A": ""}, {}, InvalidInputError, "another form"),
        ({"A": "X", "B": "X"}, {}, InvalidInputError, "two secrets the variable X"),
        ({"A": "X", " A": "Y"}, {}, InvalidInputError, "A twice"),
        ({"PATH": "PATH"}, {}, InvalidInputError, "variable PATH"),
        ({"A": "LD_PRELOAD"}, {}, InvalidInputError, "variable LD_PRELOAD"),
        ({"A": "X"}, {"X": "plain"}, InvalidInputError, "both give the variable X"),
        ({f"LONG{n}": f"L{n}" for n in range(3)}, {}, InvalidInputError, "more than 131072"),
        (["A"], {}, InvalidInputError, "no mapping"),
    ]

    for secret_env, env, error, said in bad:
        with pytest.raises(error, match=said):
            pyro.exec_workspace(workspace_id, command="true", secret_env=secret_env, env=env)
    with pytest.raises(UnknownWorkspaceError):
        pyro.exec_workspace("0123456789ab", command="true", secret_env={"A": "A"})

    assert pyro.logs_workspace(workspace_id)["count"] == 0
    two = {"LONG0": "L0", "LONG1": "L1"}
    assert ran(pyro, workspace_id, "echo ${#L0} ${#L1}", secret_env=two) == "65536 65536\n"


def test_changing_secrets_refuses_what_creating_does(pyro: Pyro) -> None:
    workspace_id = make(pyro, {"name": "A", "value": TOKEN})

    with pytest.raises(InvalidInputError, match="fewer than 4 bytes"):
        pyro.set_secret(workspace_id, "A", value="hus")
    with pytest.raises(InvalidInputError, match="has no value"):
        pyro.set_secret(workspace_id, "A")
    with pytest.raises(InvalidInputError, match="name"):
        pyro.set_secret(workspace_id, "a/b", value=TOKEN)
    with pytest.raises(UnknownSecretError, match="It has: A"):
        pyro.delete_secret(workspace_id, "B")
    calls: list[Callable[[], object]] = [
        lambda: pyro.set_secret("0123456789ab", "A", value=TOKEN),
        lambda: pyro.list_secrets("0123456789ab"),
        lambda: pyro.delete_secret("../..", "A"),
    ]
    for call in calls:
        with pytest.raises(UnknownWorkspaceError):
            call()

    assert length_in_guest(pyro, workspace_id, "A") == len(TOKEN)
