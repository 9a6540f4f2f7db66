"""What the monitor tells the process that started it: values on a pipe.

    {"event": "ready", "report": {...}}            the agent answers
    {"event": "failed", "reason", "console"}       it never did; the machine is gone
    {"event": "ended", "reason", "console"}        the machine is gone

Each is its length, four bytes with the lowest first, and as many of `marshal`, which is fine
between two processes of one interpreter. The reader may be gone; nothing here waits for it.
"""

from __future__ import annotations

import marshal
import os

LENGTH_BYTES = 4

NO_NETWORK = "network: "
"""How the reason begins when the host gives no network."""


class Status:
    """The writing end of the pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def ready(self, report: dict[str, object]) -> None:
        """The agent answers."""
        self._send({"event": "ready", "report": report})

    def failed(self, reason: str, console: str) -> None:
        """The machine ended before its agent answered."""
        self._send({"event": "failed", "reason": reason, "console": console})

    def ended(self, reason: str, console: str) -> None:
        """The machine ended."""
        self._send({"event": "ended", "reason": reason, "console": console})

    def _send(self, event: dict[str, object]) -> None:
        content = marshal.dumps(event)
        try:
            os.write(self._descriptor, len(content).to_bytes(LENGTH_BYTES, "little") + content)
        except (BrokenPipeError, BlockingIOError):
            return
