"""When a kept machine has been idle for long enough to be stopped.

The file of a workspace's activity says it all, so that any process can take part without asking
the monitor: its content is the time to live in seconds (0: none), its modification time the last
activity, and whoever uses the machine holds a shared lock on it meanwhile. The monitor that stops
it has the lock alone until it has ended: who comes just then waits, and finds it stopped.
"""

from __future__ import annotations

import fcntl
import os
import time

_LOOK_SECONDS = 5.0
"""How long a change of the time to live, or the end of a use, may stay unnoticed."""


class Idleness:
    """Watches one activity file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.look_again_at = 0.0
        """Monotonic time before which nothing can have come to its end."""
        self._lock = -1
        self._set_next_look(self._left())

    def is_over(self) -> bool:
        """Whether the time is over now; also sets when to look again.

        Once it is, nobody else comes to use the machine, until this process ends or `begin_again`.
        """
        left = self._left()
        self._set_next_look(left)
        return left <= 0 and self._keep_users_out()

    def begin_again(self) -> None:
        """Count from now: it is used in a way that the file does not show."""
        try:
            os.utime(self._path)
        except FileNotFoundError:
            return
        finally:
            self._let_users_in()

    def _set_next_look(self, left: float) -> None:
        self.look_again_at = time.monotonic() + min(max(left, 0.05), _LOOK_SECONDS)

    def _left(self) -> float:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return _LOOK_SECONDS
        try:
            seconds = int(os.read(descriptor, 32) or b"0")
            last = os.fstat(descriptor).st_mtime
        except ValueError:
            return _LOOK_SECONDS
        finally:
            os.close(descriptor)
        return last + seconds - time.time() if seconds else _LOOK_SECONDS

    def _keep_users_out(self) -> bool:
        """Take the lock that all users hold; False if there are any, or were just now."""
        if self._lock >= 0:
            return True
        try:
            self._lock = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except BlockingIOError:
            self._let_users_in()
            return False
        if self._left() > 0:
            self._let_users_in()
            return False
        return True

    def _let_users_in(self) -> None:
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)
