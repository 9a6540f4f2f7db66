"""`pyro` as a process of its own, as people and scripts start it."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PYRO = [sys.executable, "-m", "pyro_mcp"]
SCRIPT = Path(sys.executable).with_name("pyro")

Finished = subprocess.CompletedProcess[bytes]


def run_pyro(
    *words: str, stdin: bytes = b"", variables: Mapping[str, str] | None = None
) -> Finished:
    """Run it to its end; both streams as bytes."""
    return subprocess.run(
        [*PYRO, *words], input=stdin, capture_output=True, check=False,
        env={**os.environ, **(variables or {})},
    )  # fmt: skip


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """It, still running, with pipes; killed at the end if the test did not end it."""
    with subprocess.Popen(
        [*PYRO, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def on_terminal(*words: str, variables: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Run it with a terminal as stdin, stdout and stderr; its status and what the screen got."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(PYRO[0], [*PYRO, *words], {**os.environ, "TERM": "xterm", **(variables or {})})
    try:
        seen = b"".join(_read(terminal))
        _, status = os.waitpid(pid, 0)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(status), seen


def read_line(process: subprocess.Popen[bytes], stream: str = "stdout") -> bytes:
    """The next line of a running one, waiting for it at most a minute."""
    pipe = getattr(process, stream)
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([pipe], [], [], 60)
        assert ready, f"no line came; so far {line!r}"
        byte = os.read(pipe.fileno(), 1)
        assert byte, f"the stream ended after {line!r}"
        line += byte
    return line


def _read(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # EIO: the last process on the terminal has gone
            return
        if not data:
            return
        yield data
