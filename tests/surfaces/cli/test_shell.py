"""`pyro workspace shell` and `pyro shell`, as processes, scripted and on a real terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pyro_mcp import Pyro
from tests.support import until
from tests.surfaces.cli.support import PYRO, run_pyro

DETACH = b"\x1d"


class Person:
    """`pyro` on a terminal of its own, and who sits at it."""

    def __init__(self, *words: str, cols: int = 90, rows: int = 25) -> None:
        ready, say_ready = os.pipe()
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.read(ready, 1)
            os.execve(PYRO[0], [*PYRO, *words], {**os.environ, "TERM": "xterm-256color"})
        self.resize(cols, rows)
        self.first_modes = self.modes()
        os.write(say_ready, b"x")
        os.close(ready)
        os.close(say_ready)
        self.seen = b""
        self._status: int | None = None

    def resize(self, cols: int, rows: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, cols, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.terminal, keys)

    def wait_for(self, text: bytes) -> None:
        """Until that has come on the screen; what came before is forgotten."""
        deadline = time.monotonic() + 30
        while text not in self.seen:
            ready, _, _ = select.select([self.terminal], [], [], deadline - time.monotonic())
            assert ready, self.seen
            self._read()
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def status(self) -> int:
        """Read to the end, and say how it went."""
        if self._status is None:
            with contextlib.suppress(OSError):
                while True:
                    self._read()
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def modes(self) -> list[object]:
        return termios.tcgetattr(self.terminal)

    def _read(self) -> None:
        data = os.read(self.terminal, 65536)
        if not data:
            raise OSError
        self.seen += data


@contextmanager
def sitting_at(*words: str, cols: int = 90, rows: int = 25) -> Iterator[Person]:
    person = Person(*words, cols=cols, rows=rows)
    try:
        yield person
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(person.pid, signal.SIGKILL)
        person.status()
        os.close(person.terminal)


def shell_ids(pyro: Pyro, workspace_id: str) -> list[str]:
    return [shell["shell_id"] for shell in pyro.list_shells(workspace_id)["shells"]]


def test_a_script_opens_writes_reads_signals_and_closes(kept: Pyro, workspace_id: str) -> None:
    def shown(text: str) -> bool:
        return text in kept.read_shell(workspace_id, shell_id, plain=True)["output"]

    opened = run_pyro("workspace", "shell", "open", workspace_id, "--cols", "100", "--id-only")
    shell_id = opened.stdout.decode().strip()
    assert len(shell_id) == 12
    at = (workspace_id, shell_id)

    listed = run_pyro("workspace", "shell", "list", workspace_id)
    until(lambda: shown("pyro$ "))
    wrote = run_pyro("workspace", "shell", "write", *at, "--input", "echo $((6 * 7))")
    until(lambda: shown("42\npyro$ "))
    read = run_pyro("workspace", "shell", "read", *at, "--plain", "--wait-for-idle-ms", "500")
    raw = run_pyro("workspace", "shell", "read", *at, "--cursor", "3", "--json")
    resized = run_pyro("workspace", "shell", "resize", *at, "--cols", "80", "--rows", "24")
    signalled = run_pyro("workspace", "shell", "signal", *at, "--signal", "KILL")
    closed = run_pyro("workspace", "shell", "close", *at)
    again = run_pyro("workspace", "shell", "close", *at, "--json")

    where = f"workspace_id={workspace_id} shell_id={shell_id}"
    assert f"[workspace-shell] shell_id={shell_id} state=running" in listed.stdout.decode()
    assert wrote.stdout == b""
    assert wrote.stderr.decode() == (
        f"[workspace-shell-write] {where} state=running input_length=15 append_newline=yes "
        "execution_mode=guest_vsock\n"
    )
    assert read.stdout == b"pyro$ echo $((6 * 7))\n42\npyro$ "
    assert read.stderr.decode().startswith(f"[workspace-shell-read] {where} state=running cursor=0")
    assert "truncated=no plain=yes wait_for_idle_ms=500" in read.stderr.decode()
    assert json.loads(raw.stdout)["cursor"] == 3
    assert b"cols=80 rows=24" in resized.stderr
    assert b"signal=KILL" in signalled.stderr
    assert b"exit_code=137 closed=yes" in closed.stderr
    assert again.returncode == 1
    assert json.loads(again.stdout)["code"] == "unknown_shell"


def test_opening_says_everything(workspace_id: str) -> None:
    opened = run_pyro("workspace", "shell", "open", workspace_id, "--cwd", "/workspace")

    assert opened.stdout == b""
    assert opened.stderr.decode().startswith(f"[workspace-shell-open] workspace_id={workspace_id} ")
    assert b" state=running cwd=/workspace cols=120 rows=30 execution_mode=" in opened.stderr


def test_a_person_works_in_a_shell_and_leaves_with_its_status(
    kept: Pyro, workspace_id: str
) -> None:
    with sitting_at("shell", workspace_id) as person:
        person.wait_for(b"pyro$ ")
        person.type(b"stty size; tty\r")
        person.wait_for(b"25 90")
        person.wait_for(b"/dev/pts/")
        person.type(b"exit 7\r")

        assert person.status() == 7

    assert shell_ids(kept, workspace_id) == []


def test_keys_and_sizes_go_there(workspace_id: str) -> None:
    with sitting_at("shell", workspace_id) as person:
        person.wait_for(b"pyro$ ")
        # The job says it itself: between two commands of its own, bash lets an interrupt pass.
        person.type(b"sh -c \"echo asl''eep; exec sleep 600\"\r")
        person.wait_for(b"asleep")

        person.type(b"\x03")
        person.wait_for(b"pyro$ ")
        person.resize(111, 44)
        person.type(b"until stty size | grep '44 1'11; do :; done; exit 5\r")
        person.wait_for(b"44 111")

        assert person.status() == 5


def test_one_who_leaves_comes_back_to_what_was_there(kept: Pyro, workspace_id: str) -> None:
    with sitting_at("shell", workspace_id) as person:
        person.wait_for(b"pyro$ ")
        before = termios.tcgetattr(person.terminal)
        person.type(b"word=pine''apple; echo $word\r")
        person.wait_for(b"pineapple\r\n")
        person.type(b"echo asl''eep; sleep 600\r")
        person.wait_for(b"asleep")
        person.type(DETACH)
        assert person.status() == 0
        assert before[3] & termios.ECHO == 0
        assert b"detached=yes" in person.seen
    (shell_id,) = shell_ids(kept, workspace_id)

    with sitting_at("workspace", "shell", "attach", workspace_id, shell_id) as person:
        person.wait_for(b"pineapple\r\n")
        person.wait_for(b"asleep")
        person.type(b"\x03")
        person.wait_for(b"pyro$ ")
        person.type(b"echo again $word; exit\r")
        person.wait_for(b"again pineapple")
        assert person.status() == 0

    assert kept.read_shell(workspace_id, shell_id)["state"] == "stopped"


def test_who_is_attached_when_the_workspace_is_stopped_is_told(
    kept: Pyro, workspace_id: str
) -> None:
    shell_id = kept.open_shell(workspace_id)["shell_id"]
    with sitting_at("workspace", "shell", "attach", workspace_id, shell_id) as person:
        person.wait_for(b"pyro$ ")
        kept.stop_workspace(workspace_id)

        # The end of the shell, killed with the others, may come through before the machine's.
        assert person.status() in (1, 137)
        told = (f"Workspace {workspace_id} is stopped", f"shell_id={shell_id} state=stopped")
        assert any(words.encode() in person.seen for words in told)
        assert b"lost" not in person.seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminal_is_given_back_when_the_attached_process_is_ended(
    kept: Pyro, workspace_id: str, number: int
) -> None:
    shell_id = kept.open_shell(workspace_id)["shell_id"]
    with sitting_at("workspace", "shell", "attach", workspace_id, shell_id) as person:
        person.wait_for(b"pyro$ ")
        assert person.modes() != person.first_modes
        person.type(b"printf '\\033[?1049h\\033[?25l\\033[?1000h'; echo dr''awn\r")
        person.wait_for(b"drawn")

        os.kill(person.pid, number)

        assert person.status() == 128 + number
        assert person.modes() == person.first_modes
        assert b"\x1b[?1000l\x1b[?1049l\x1b[?2004l\x1b[?25h" in person.seen or (
            b"\x1b[?1049l" in person.seen and b"\x1b[?25h" in person.seen
        )
    assert kept.read_shell(workspace_id, shell_id)["state"] == "running"


def test_a_killed_one_leaves_the_shell_to_the_next(kept: Pyro, workspace_id: str) -> None:
    shell_id = kept.open_shell(workspace_id)["shell_id"]
    attach = ("workspace", "shell", "attach", workspace_id, shell_id)
    with sitting_at(*attach) as person:
        person.wait_for(b"pyro$ ")
        os.kill(person.pid, signal.SIGKILL)
        person.status()

    with sitting_at(*attach) as person, sitting_at(*attach) as other:
        person.wait_for(b"pyro$ ")
        other.wait_for(b"pyro$ ")
        person.type(b"echo to b''oth\r")
        person.wait_for(b"to both")
        other.wait_for(b"to both")
        kept.close_shell(workspace_id, shell_id)
        assert person.status() == other.status() == 129


def test_a_full_screen_program_is_drawn_for_one_who_comes_later(
    kept: Pyro, workspace_id: str
) -> None:
    shell_id = kept.open_shell(workspace_id, cols=90, rows=25)["shell_id"]
    program = (
        "draw() { printf '\\033[?1049h\\033[2J\\033[3;5Hmid''dle'; }; "
        'bash -c "$(declare -f draw); trap draw WINCH; draw; while :; do sleep 0.05; done"'
    )
    kept.write_shell(workspace_id, shell_id, input=program)
    until(lambda: "middle" in kept.read_shell(workspace_id, shell_id, plain=True)["output"])

    with sitting_at("workspace", "shell", "attach", workspace_id, shell_id) as person:
        person.wait_for(b"\x1b[?1049h")
        person.wait_for(b"middle")
        person.type(DETACH)

        assert person.status() == 0
        assert b"\x1b[?1049l" in person.seen


def test_without_a_terminal_attaching_is_refused(kept: Pyro, workspace_id: str) -> None:
    shell_id = kept.open_shell(workspace_id)["shell_id"]

    refused = run_pyro("workspace", "shell", "attach", workspace_id, shell_id)
    top = run_pyro("shell", workspace_id)
    wrong_key = run_pyro("shell", workspace_id, "--detach-key", "F12")

    assert (refused.returncode, top.returncode, wrong_key.returncode) == (1, 1, 1)
    assert b"is no terminal" in refused.stderr
    assert b"--detach-key" in wrong_key.stderr
    assert shell_ids(kept, workspace_id) == [shell_id]


def test_leaving_can_close_the_shell(kept: Pyro, workspace_id: str) -> None:
    with sitting_at(
        "shell", workspace_id, "--on-detach", "close", "--detach-key", "ctrl-q"
    ) as person:
        person.wait_for(b"pyro$ ")
        person.type(b"\x11")

        assert person.status() == 0

    assert shell_ids(kept, workspace_id) == []
