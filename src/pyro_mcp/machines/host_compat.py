"""Commands on this host itself: only when nothing can run a guest, and only when allowed.

There is no isolation of any kind. Every result says so: `execution_mode` is `host_compat`.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, BinaryIO

from pyro_mcp import protocol
from pyro_mcp.machines.output import BoundedOutput
from pyro_mcp.machines.requests import CommandOutcome

if TYPE_CHECKING:
    from pyro_mcp.machines.cancel import Cancel
    from pyro_mcp.machines.requests import OnOutput


def execute(
    command: str,
    *,
    timeout_seconds: float,
    stdin: BinaryIO | bytes | None = None,
    on_output: OnOutput | None = None,
    output_limit: int,
    cancel: Cancel | None = None,
) -> CommandOutcome:
    """Run `command` with bash in an empty directory that is removed afterwards."""
    kept = {"stdout": BoundedOutput(output_limit), "stderr": BoundedOutput(output_limit)}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pyro-host-") as home, _input(stdin) as source:
        process = subprocess.Popen(
            ["bash", "-lc", command],
            cwd=home,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": home},
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            with nullcontext() if cancel is None else cancel.waking(lambda: _kill(process)):
                timed_out = _collect(process, kept, on_output, started + timeout_seconds)
            if cancel is not None:
                cancel.check()
        finally:
            _kill(process)
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
    ended_by = -process.returncode if process.returncode < 0 and not timed_out else None
    code = 124 if timed_out else 128 + ended_by if ended_by else process.returncode
    return CommandOutcome(
        exit_code=code,
        signal=ended_by,
        timed_out=timed_out,
        oom_killed=False,
        duration_ms=int((time.monotonic() - started) * 1000),
        stdout=kept["stdout"],
        stderr=kept["stderr"],
        stdout_bytes=kept["stdout"].total,
        stderr_bytes=kept["stderr"].total,
    )


def _kill(process: subprocess.Popen[bytes]) -> None:
    # The leader is not reaped yet: its group's number cannot be anyone else's.
    os.killpg(process.pid, signal.SIGKILL)


def _input(stdin: BinaryIO | bytes | None) -> BinaryIO:
    if stdin is None:
        return open(os.devnull, "rb")  # noqa: PTH123
    if isinstance(stdin, bytes):
        file = os.fdopen(os.memfd_create("stdin", os.MFD_CLOEXEC), "w+b")
        file.write(stdin)
        file.seek(0)
        return file
    return os.fdopen(os.dup(stdin.fileno()), "rb")


def _collect(
    process: subprocess.Popen[bytes],
    kept: dict[str, BoundedOutput],
    on_output: OnOutput | None,
    deadline: float,
) -> bool:
    """Read both streams until the command has ended; True if its time was over first."""
    streams = {}
    poll = select.poll()
    for name in kept:
        descriptor = getattr(process, name).fileno()
        os.set_blocking(descriptor, False)
        streams[descriptor] = name
        poll.register(descriptor, select.POLLIN)
    pidfd = os.pidfd_open(process.pid)
    try:
        poll.register(pidfd, select.POLLIN)
        ended = False
        while not ended:
            left = deadline - time.monotonic()
            if left <= 0:
                return True
            ready = [descriptor for descriptor, _ in poll.poll(left * 1000)]
            ended = pidfd in ready
            # After its end, what it left in the pipes still counts; what others write does not.
            for descriptor in list(streams) if ended else ready:
                if not _drain(descriptor, streams[descriptor], kept, on_output):
                    poll.unregister(descriptor)
                    del streams[descriptor]
        return False
    finally:
        os.close(pidfd)


def _drain(
    descriptor: int, name: str, kept: dict[str, BoundedOutput], on_output: OnOutput | None
) -> bool:
    while True:
        try:
            data = os.read(descriptor, protocol.DATA_CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return False
        kept[name].add(data)
        if on_output is not None:
            on_output(name, data)
