"""Tools of the host: nothing of them outlives who ran them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyro_mcp.errors import ToolMissingError
from pyro_mcp.host.process import ProcessGroup, Tool, run_tool
from tests.support import is_running, until

# A tool whose descendant left the session, lost its parent and ignores what may be ignored.
_STUBBORN = (
    "trap '' TERM INT HUP; setsid sh -c \"trap '' TERM INT HUP; echo \\$\\$ >{0}; "
    'sleep 600 & wait" & while :; do sleep 600; done'
)


def _number(path: Path) -> int:
    return int(until(lambda: path.read_text().strip()))


def test_output_of_both_streams_and_the_status_are_given() -> None:
    finished = run_tool(["sh", "-c", "echo one; echo two >&2; exit 7"])

    assert finished.status == 7
    assert finished.lines == ["one", "two"]


def test_a_tool_ended_by_a_signal_has_the_shells_status() -> None:
    assert run_tool(["sh", "-c", "kill -TERM $$"]).status == 128 + signal.SIGTERM


def test_lines_are_seen_as_they_come(tmp_path: Path) -> None:
    """Progress is drawn from them while the tool works."""
    seen = tmp_path / "seen"

    finished = run_tool(
        ["sh", "-c", f"echo first; while [ ! -e {seen} ]; do sleep 0.01; done; echo last"],
        on_line=lambda line: seen.touch(),
    )

    assert finished.lines == ["first", "last"]


def test_only_the_end_of_much_output_is_kept() -> None:
    finished = run_tool(["sh", "-c", "seq 100000"])

    assert finished.lines[-1] == "100000"
    assert len(finished.lines) == 200


def test_descendants_that_left_the_session_end_with_the_block(tmp_path: Path) -> None:
    file = tmp_path / "pid"

    with ProcessGroup.start(["sh", "-c", _STUBBORN.format(file)]) as group:
        stubborn = _number(file)

    assert not is_running(group.pid)
    assert not is_running(stubborn)


def test_what_a_tool_leaves_running_ends_when_the_tool_does(tmp_path: Path) -> None:
    file = tmp_path / "pid"

    run_tool(["sh", "-c", f"setsid sleep 600 & echo $! >{file}"])

    assert not is_running(_number(file))


def test_nothing_is_left_when_watching_the_output_fails(tmp_path: Path) -> None:
    """Ctrl-C arrives as an exception at any point."""
    file = tmp_path / "pid"

    def interrupted(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tool(["sh", "-c", f"echo $$ >{file}; echo go; sleep 600"], on_line=interrupted)

    assert not is_running(_number(file))


def test_a_killed_owner_takes_its_tool_along(tmp_path: Path) -> None:
    """The owner cannot clean up after SIGKILL; the keeper does."""
    file = tmp_path / "pid"
    script = (
        "import sys; from pyro_mcp.host.process import run_tool; "
        "run_tool(['sh', '-c', sys.argv[1]])"
    )
    with subprocess.Popen([sys.executable, "-c", script, _STUBBORN.format(file)]) as owner:
        stubborn = _number(file)
        owner.kill()

    until(lambda: not is_running(stubborn))


def test_a_killed_keeper_takes_the_tool_along(tmp_path: Path) -> None:
    file = tmp_path / "pid"

    with ProcessGroup.start(["sh", "-c", f"echo $$ >{file}; exec sleep 600"]) as group:
        tool = _number(file)
        os.kill(group.pid, signal.SIGKILL)
        until(lambda: not is_running(tool))


def test_closing_twice_is_fine() -> None:
    group = ProcessGroup.start(["sleep", "600"])

    group.close()
    group.close()

    assert not is_running(group.pid)


def test_a_tools_own_children_are_no_reason_to_wait() -> None:
    """A daemon that keeps the tool's output open would otherwise hold us up for ever."""
    began = time.monotonic()

    run_tool(["sh", "-c", "sleep 600 & echo done"])

    assert time.monotonic() - began < 60


def test_a_missing_program_is_named_with_its_package() -> None:
    tool = Tool("no-such-tool-of-pyro", "some-package", "test this")

    with pytest.raises(ToolMissingError, match="apt-get install some-package"):
        tool.find()
