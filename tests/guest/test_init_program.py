"""PID 1 of a command's namespace, run for real: under bubblewrap, in a PID namespace of its own."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyro_mcp.guest import init_program
from tests.support.needs import needs
from tests.support.processes import descendants
from tests.support.waiting import until


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "init"
    path.write_bytes(init_program.executable())
    path.chmod(0o755)
    return path


@contextmanager
def namespace(program: Path, script: str) -> Iterator[subprocess.Popen[bytes]]:
    """A shell that becomes `program` after `script`: what the script left then has it as PID 1."""
    # fmt: off
    command = [
        needs("bwrap"), "--unshare-user", "--unshare-pid", "--as-pid-1", "--die-with-parent",
        "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
        "--", "/bin/sh", "-c", f"{script}\nexec {program}",
    ]
    # fmt: on
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with started:
        try:
            yield started
        finally:
            started.kill()


def below(started: subprocess.Popen[bytes]) -> list[str]:
    return [each.command for each in descendants(started.pid)]


def test_it_is_small_enough_to_start_fast() -> None:
    assert len(init_program.executable()) < 256


def test_outside_of_a_namespace_of_its_own_it_ends_at_once(program: Path) -> None:
    """It sends signals to everything it sees: on a host that would be everything."""
    finished = subprocess.run([program], stdin=subprocess.PIPE, timeout=20, check=False)

    assert finished.returncode == 0


def test_it_ends_with_its_input_and_its_namespace_with_it(program: Path) -> None:
    with namespace(program, "sleep 600 & echo up") as started:
        assert started.stdout is not None
        assert started.stdin is not None
        assert started.stdout.read(3) == b"up\n"
        until(lambda: str(program) in below(started))

        started.stdin.close()

        assert started.wait(20) == 0
    assert not below(started)


def test_a_byte_is_a_signal_to_all_others(program: Path) -> None:
    with namespace(program, "(trap 'echo got; exit' TERM; echo up; sleep 600 & wait) &") as started:
        assert started.stdout is not None
        assert started.stdin is not None
        assert started.stdout.read(3) == b"up\n"
        until(lambda: {str(program), "sleep 600"} <= set(below(started)))

        os.write(started.stdin.fileno(), b"\x0f")

        assert started.stdout.read(4) == b"got\n"
        until(lambda: below(started) == [str(program)])


def test_orphans_leave_no_zombies(program: Path) -> None:
    script = "(for n in 1 2 3 4 5; do (sleep 0.1 &); done; sleep 0.2; echo done) &"
    with namespace(program, script) as started:
        assert started.stdout is not None
        assert started.stdout.read(5) == b"done\n"

        until(lambda: len(descendants(started.pid, with_ended=True)) == 1)
