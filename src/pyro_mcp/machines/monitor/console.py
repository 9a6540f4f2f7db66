"""The guest's console: kept in a file of limited size, its end in memory."""

from __future__ import annotations

import os

FILE_LIMIT = 1024 * 1024
TAIL_LIMIT = 4096


class Console:
    """Reads what the kernel prints; a guest that prints for ever fills neither disk nor memory."""

    def __init__(self, path: str) -> None:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.reader, False)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._written = 0
        self._tail = b""

    def started(self) -> None:
        """The jail has its end now; ours goes, so that end of file means the jail is gone."""
        os.close(self.writer)
        self.writer = -1

    def read(self) -> bool:
        """Take what is there; False at end of file."""
        while True:
            try:
                data = os.read(self.reader, 65536)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._tail = (self._tail + data)[-TAIL_LIMIT:]
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        room = FILE_LIMIT - self._written
        if room > 0:
            try:
                self._written += os.write(self._file, data[:room])
            except OSError:
                return  # a host without room must not end the machine here

    def tail(self) -> str:
        """The last lines, readable."""
        text = self._tail.decode("utf-8", "replace")
        return "".join(c for c in text if c.isprintable() or c in "\n\t").strip()

    def close(self) -> None:
        """Release the descriptors; may be called twice."""
        for name in ("reader", "writer", "_file"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                setattr(self, name, -1)
                os.close(descriptor)
