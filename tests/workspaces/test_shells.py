"""Shells: terminals that go on by themselves."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pyro_mcp import protocol
from pyro_mcp.errors import (
    GuestRefusedError,
    InvalidInputError,
)
from pyro_mcp.errors.shells import (
    ShellEndedError,
    ShellInputError,
    ShellLimitError,
    UnknownShellError,
)
from pyro_mcp.workspaces import shells
from tests.support import until

if TYPE_CHECKING:
    from pyro_mcp.results.shells import ShellCloseResult, ShellReadResult
    from pyro_mcp.workspaces.store import Store
    from tests.workspaces.conftest import SharedWorkspace

PROMPT = "pyro$ "


class Terminal:
    """One open shell of the shared workspace."""

    def __init__(self, shared: SharedWorkspace, **options: int | str) -> None:
        self.store: Store = shared.store
        self.workspace_id = shared.workspace_id
        opened = shells.open_shell(self.store, self.workspace_id, **options)  # type: ignore[arg-type]  # a test's choice
        self.shell_id = opened.shell_id
        self.wait_for(PROMPT)

    def type(self, text: str, *, enter: bool = True) -> int:
        """Returns where the output was before it."""
        cursor = self.read().next_cursor
        shells.write_shell(
            self.store, self.workspace_id, self.shell_id, text=text, append_newline=enter
        )
        return cursor

    def read(
        self,
        cursor: int = 0,
        *,
        max_chars: int = 2_000_000,
        plain: bool = False,
        wait: int | None = None,
    ) -> ShellReadResult:
        return shells.read_shell(
            self.store,
            self.workspace_id,
            self.shell_id,
            cursor=cursor,
            max_chars=max_chars,
            plain=plain,
            wait_for_idle_ms=wait,
        )

    def wait_for(self, text: str, cursor: int = 0) -> str:
        """Output from the cursor on, once it has `text`."""

        def output() -> str | None:
            read = self.read(cursor).output
            return read if text in read else None

        return until(output)

    def run(self, command: str) -> str:
        """What a command writes, up to the next prompt."""
        cursor = self.type(command)
        return self.wait_for(PROMPT, self._after_echo(cursor))

    def close(self) -> ShellCloseResult:
        return shells.close_shell(self.store, self.workspace_id, self.shell_id)

    def _after_echo(self, cursor: int) -> int:
        echo = self.wait_for("\n", cursor)
        return cursor + len(echo[: echo.index("\n") + 1].encode())


@pytest.fixture
def terminal(shared_workspace: SharedWorkspace) -> Iterator[Terminal]:
    opened = Terminal(shared_workspace)
    yield opened
    with_it = shells.list_shells(opened.store, opened.workspace_id)
    for shell in with_it.shells:
        shells.close_shell(opened.store, opened.workspace_id, shell.shell_id)


def test_a_shell_is_a_real_terminal_with_job_control(terminal: Terminal) -> None:
    said = terminal.read().output
    assert "job control" not in said

    assert "/dev/pts/" in terminal.run("tty")
    assert "xterm-256color C.UTF-8 /workspace /root" in terminal.run("echo $TERM $LANG $PWD $HOME")
    assert "30 120" in terminal.run("stty size")
    assert "[1]+  Stopped" in terminal.run("(kill -STOP $BASHPID; true) & sleep 0.1; wait; jobs")


def test_no_descriptor_of_the_agents_is_in_a_shell(terminal: Terminal) -> None:
    said = terminal.run("ls /proc/self/fd | tr '\\n' ' '")

    assert "0 1 2 3 " in said  # 3 is ls looking


def test_a_write_is_what_is_typed(terminal: Terminal) -> None:
    terminal.type("echo un", enter=False)
    cursor = terminal.type("finished")

    assert "unfinished" in terminal.wait_for(PROMPT, cursor)


@pytest.mark.parametrize("signal_name", ["INT", "TERM", "KILL", "HUP"])
def test_a_signal_reaches_the_job_in_the_foreground_and_not_the_shell(
    terminal: Terminal, signal_name: str
) -> None:
    # The job says it itself: before it is one, the signal would be the shell's.
    cursor = terminal.type("sh -c \"echo re''ady; exec sleep 600\"; true")
    said = terminal.wait_for("ready\r\n", cursor)
    cursor += len(said.encode())

    result = shells.signal_shell(
        terminal.store, terminal.workspace_id, terminal.shell_id, signal_name=signal_name.lower()
    )

    assert result.signal == signal_name
    assert terminal.wait_for(PROMPT, cursor)
    assert "still 42" in terminal.run("echo still $((6 * 7))")


def test_a_killed_shell_stays_readable_until_it_is_closed(terminal: Terminal) -> None:
    terminal.run("echo last words")

    shells.signal_shell(
        terminal.store, terminal.workspace_id, terminal.shell_id, signal_name="KILL"
    )

    until(lambda: terminal.read().state == "stopped")
    read = terminal.read()
    assert (read.exit_code, read.state) == (137, "stopped")
    assert "last words" in read.output
    assert read.ended_at is not None
    assert read.ended_at >= read.started_at
    with pytest.raises(ShellEndedError):
        terminal.type("more")
    assert terminal.close().closed is True
    with pytest.raises(UnknownShellError):
        terminal.close()


def test_closing_ends_the_whole_tree(terminal: Terminal, shared_workspace: SharedWorkspace) -> None:
    terminal.run("(trap '' HUP TERM; exec flock lock sleep 7777) & disown")
    terminal.run("setsid flock other sleep 7777 &")
    terminal.run("until ! flock -n lock true && ! flock -n other true; do :; done")

    closed = terminal.close()

    assert (closed.closed, closed.state, closed.exit_code) == (True, "stopped", 129)
    assert shared_workspace.run("flock -n lock echo free; flock -n other echo free").stdout == (
        "free\nfree\n"
    )


def test_shells_stay_apart(terminal: Terminal, shared_workspace: SharedWorkspace) -> None:
    other = Terminal(shared_workspace)

    terminal.run("mine=1; cd /tmp")

    assert "mine= /workspace" in other.run("echo mine=$mine $PWD")
    listed = shells.list_shells(terminal.store, terminal.workspace_id).shells
    assert [shell.shell_id for shell in listed] == [terminal.shell_id, other.shell_id]


def test_a_resize_reaches_what_runs(terminal: Terminal) -> None:
    watch = "trap 'stty size' WINCH; echo wat\"\"ching; while :; do sleep 0.05; done"
    cursor = terminal.type(f'bash -c "{watch}"')
    terminal.wait_for("watching", cursor)

    shells.resize_shell(terminal.store, terminal.workspace_id, terminal.shell_id, cols=77, rows=33)

    assert terminal.wait_for("33 77", cursor)
    assert (terminal.read().cols, terminal.read().rows) == (77, 33)


def test_reading_takes_nothing_away_and_cursors_add_up(terminal: Terminal) -> None:
    terminal.run("echo zwölf Boxkämpfer 🥊; seq 100")
    whole = terminal.read()

    pieces, cursor = [], 0
    while True:
        read = terminal.read(cursor, max_chars=7)
        assert len(read.output) <= 7
        pieces.append(read.output)
        cursor = read.next_cursor
        if not read.truncated:
            break

    assert "".join(pieces) == whole.output
    assert cursor == whole.next_cursor
    assert terminal.read(cursor + 10**9).cursor == whole.next_cursor


def test_a_wait_gathers_until_output_comes_to_rest(terminal: Terminal) -> None:
    cursor = terminal.type("for i in 1 2 3 4; do echo part $i; sleep 0.1; done; echo do''ne")

    read = terminal.read(cursor, wait=3000)

    assert "done" in read.output
    assert (read.wait_for_idle_ms, read.wait_timed_out) == (3000, False)


def test_a_wait_ends_with_the_shell_or_enough_characters(terminal: Terminal) -> None:
    cursor = terminal.type("yes busy")
    began = time.monotonic()
    assert len(terminal.read(cursor, max_chars=50, wait=10_000).output) == 50
    shells.signal_shell(terminal.store, terminal.workspace_id, terminal.shell_id)
    terminal.type("exit 3")

    read = terminal.read(wait=10_000)

    assert (read.state, read.exit_code) == ("stopped", 3)
    assert time.monotonic() - began < 10  # neither waited its time out


def test_output_beyond_the_window_is_dropped_and_said_so(terminal: Terminal) -> None:
    terminal.run("yes 123456789 | head -c 3000000")

    first = terminal.read(5)
    size = protocol.SHELL_WINDOW

    assert first.dropped_bytes == first.cursor - 5 > 1_000_000
    assert first.next_cursor - first.cursor == size
    assert set(first.output.split()[1:-2]) == {"123456789"}


def test_ten_megabytes_in_one_write_arrive_whole(terminal: Terminal) -> None:
    cursor = terminal.type("stty raw -echo; echo go; head -c 10000000 | md5sum; stty sane")
    terminal.wait_for("go", cursor + 60)
    text = "0123456789" * 1_000_000

    terminal.type(text, enter=False)

    assert terminal.wait_for(hashlib.md5(text.encode()).hexdigest(), cursor)


def test_input_that_nobody_reads_ends_the_write_with_what_was_taken(terminal: Terminal) -> None:
    cursor = terminal.type("stty raw -echo; echo g''o; sleep 600")
    terminal.wait_for("go", cursor)

    with pytest.raises(ShellInputError) as caught:
        terminal.type("x" * 100_000)

    assert 0 < caught.value.taken < 100_000
    assert str(caught.value.taken) in str(caught.value)


def test_a_line_that_linux_would_cut_is_refused(terminal: Terminal) -> None:
    # Before a command runs, bash has the terminal as it edits lines: none is too long then.
    cursor = terminal.type("echo g''o; cat > /dev/null")
    terminal.wait_for("go", cursor)

    with pytest.raises(ShellInputError, match="4095"):
        terminal.type("x" * 5000)


def test_there_is_an_end_to_the_number_of_shells(
    terminal: Terminal, shared_workspace: SharedWorkspace
) -> None:
    for _ in range(protocol.MOST_SHELLS - 1):
        shells.open_shell(terminal.store, terminal.workspace_id)

    with pytest.raises(ShellLimitError, match=str(protocol.MOST_SHELLS)):
        shells.open_shell(terminal.store, terminal.workspace_id)

    terminal.close()
    Terminal(shared_workspace)


def test_wrong_input_is_refused_before_anything_is_asked(terminal: Terminal) -> None:
    store, workspace_id, shell_id = terminal.store, terminal.workspace_id, terminal.shell_id
    for size in (0, -1, 2001, True):
        with pytest.raises(InvalidInputError, match="cols"):
            shells.open_shell(store, workspace_id, cols=size)
    for cwd in ("/etc", "..", "", "a/../../b"):
        with pytest.raises(InvalidInputError, match="cwd"):
            shells.open_shell(store, workspace_id, cwd=cwd)
    with pytest.raises(GuestRefusedError, match="not-there"):
        shells.open_shell(store, workspace_id, cwd="not-there")
    for wrong in ("STOP", "9", "", "INT; true"):
        with pytest.raises(InvalidInputError, match="signal_name"):
            shells.signal_shell(store, workspace_id, shell_id, signal_name=wrong)
    for cursor in (-1, 1.5, "0"):
        with pytest.raises(InvalidInputError, match="cursor"):
            terminal.read(cursor)  # type: ignore[arg-type]  # that is the point
    for wait in (0, 10_001):
        with pytest.raises(InvalidInputError, match="wait_for_idle_ms"):
            terminal.read(wait=wait)
    with pytest.raises(InvalidInputError, match="max_chars"):
        terminal.read(max_chars=0)
    with pytest.raises(InvalidInputError, match="16777216"):
        terminal.type("x" * (shells.LARGEST_INPUT + 1))
    for unknown in ("", "0" * 12, "../../etc", "nonsense"):
        with pytest.raises(UnknownShellError, match=shell_id):
            shells.write_shell(store, workspace_id, unknown, text="x")
    assert len(shells.list_shells(store, workspace_id).shells) == 1
