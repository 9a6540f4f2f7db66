"""The monitor as its owner sees it: a child process and the pipe it reports on."""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyro_mcp.machines.monitor.status import LENGTH_BYTES

if TYPE_CHECKING:
    from typing import Self

_END_SECONDS = 5.0

_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from pyro_mcp.machines.monitor.__main__ import main; main()"
)
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])


class MonitorProcess:
    """One monitor; it notices by itself when its owner is gone."""

    def __init__(self, pid: int, pidfd: int, events: int) -> None:
        self._pid = pid
        self._pidfd = pidfd
        self._events = events
        self._buffer = b""

    @classmethod
    def start(cls, launch: dict[str, Any], *, directory: Path, lock: int) -> Self:
        """Start a monitor for the machine described by `launch`.

        `lock` is the locked descriptor of the machine's directory; the monitor gets a share.
        """
        with contextlib.ExitStack() as owned:

            def own(descriptor: int) -> int:
                # Out of the way of 0 to 3, whatever of these the caller has closed.
                high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
                os.close(descriptor)
                owned.callback(os.close, high)
                return high

            description = own(os.memfd_create("launch", os.MFD_CLOEXEC))
            with open(description, "wb", closefd=False) as file:
                file.write(marshal.dumps(launch))
            os.lseek(description, 0, os.SEEK_SET)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            log = own(os.open(directory / "monitor.log", flags, 0o600))
            shared_lock = own(os.dup(lock))
            reader, writer = os.pipe2(os.O_CLOEXEC)
            writer = own(writer)
            keep = contextlib.ExitStack()
            owned.push(keep)
            keep.callback(os.close, reader)
            # Not subprocess: importing it costs more than this whole start.
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-c", _PROGRAM, _PACKAGE_PARENT, str(directory)],
                {"PATH": os.environ.get("PATH", "/usr/bin:/bin")},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, description, 0),
                    (os.POSIX_SPAWN_DUP2, writer, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                    (os.POSIX_SPAWN_DUP2, shared_lock, 3),
                ],
                setsid=True,
                # Held back until the monitor can deal with them.
                setsigmask=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
                setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE),
            )
            try:
                pidfd = os.pidfd_open(pid)
            except BaseException:
                os.kill(pid, signal.SIGKILL)
                raise
            keep.pop_all()
            return cls(pid, pidfd, reader)

    @property
    def running(self) -> bool:
        """Whether the monitor, and so the machine, is there."""
        return self._pidfd >= 0 and not _readable(self._pidfd, 0)

    def next_event(self, *, within_seconds: float) -> dict[str, Any] | None:
        """The monitor's next report; None when it ended, or said nothing in that time."""
        deadline = time.monotonic() + within_seconds
        if not self._gather(LENGTH_BYTES, deadline):
            return None
        end = LENGTH_BYTES + int.from_bytes(self._buffer[:LENGTH_BYTES], "little")
        if not self._gather(end, deadline):
            return None
        content, self._buffer = self._buffer[LENGTH_BYTES:end], self._buffer[end:]
        event: dict[str, Any] = marshal.loads(content)
        return event

    def _gather(self, size: int, deadline: float) -> bool:
        while len(self._buffer) < size:
            left = deadline - time.monotonic()
            if self._events < 0 or left <= 0 or not _readable(self._events, left):
                return False
            data = os.read(self._events, 65536)
            if not data:
                return False
            self._buffer += data
        return True

    def wait(self, seconds: float) -> bool:
        """Wait until the monitor has ended; False if it still runs after that time."""
        return self._pidfd < 0 or _readable(self._pidfd, seconds)

    def end(self) -> None:
        """End the monitor and its machine, and reap it; may be called twice."""
        if self._pidfd < 0:
            return
        # By pidfd: whoever embeds us may have reaped the number already.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
        if not self.wait(_END_SECONDS):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self.wait(_END_SECONDS)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        os.close(self._pidfd)
        os.close(self._events)
        self._pidfd = self._events = -1


def _readable(descriptor: int, seconds: float) -> bool:
    # Not select.select: it refuses descriptors above 1023.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
