"""What a guest reached and tried to reach: lines of JSON in a file of limited size.

One line is one connection that ended, or one attempt that was refused:

    time         Unix seconds, when it began
    protocol     tcp, udp, icmp, other, or dns for a name that was asked for
    name         what the guest had asked for, null if it used an address of its own
    address      null for dns
    port         null for dns
    verdict      allowed, denied, or failed: allowed, and the other side could not be reached
    rule         what decided
    remedy       what would allow it; empty if nothing does
    bytes_out    sent by the guest
    bytes_in     received by the guest
    duration_ms
    times        how often, where one line stands for the same refusal several times in a second
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from typing import Any, NamedTuple

FILE_NAME = "network.jsonl"
FILE_LIMIT = 2 << 20
TOO_MANY = "no more than"
"""How the rule begins where a limit refused what the policy allows: that may pass."""
_KEPT_IN_MEMORY = 2048
_SAME_SECONDS = 1.0
_MOST_HELD = 256


class Attempt(NamedTuple):
    """One thing that the guest tried."""

    protocol: str
    name: str | None
    address: str | None
    port: int | None
    verdict: str
    rule: str
    remedy: str = ""


class Record:
    """Writes the file, and remembers the latest attempts for whoever asks."""

    def __init__(self, path: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._size = os.fstat(self._file).st_size
        self._latest: deque[tuple[int, dict[Attempt, int]]] = deque([(0, {})])
        """What was tried from each mark to the next, with how often."""
        self._kept = 0
        self._held: dict[Attempt, tuple[float, int]] = {}

    def refused(self, attempt: Attempt) -> None:
        """An attempt that came to nothing: denied, or failed."""
        self._remember(attempt)
        now = time.time()
        last, times = self._held.get(attempt, (0.0, 0))
        if now - last < _SAME_SECONDS:
            self._held[attempt] = (last, times + 1)
            return
        if len(self._held) >= _MOST_HELD:
            self._settle(now, everything=True)
        self._held[attempt] = (now, 0)
        self._write(attempt, now, times=times + 1)

    def began(self, attempt: Attempt) -> float:
        """A connection that may be; returns when, for `ended`."""
        self._remember(attempt)
        return time.time()

    def ended(self, attempt: Attempt, began: float, bytes_out: int, bytes_in: int) -> None:
        """A connection is over."""
        self._write(attempt, began, bytes_out=bytes_out, bytes_in=bytes_in)

    def tick(self, _now: float) -> bool:
        """Write down what was held back for long enough; whether more is."""
        self._settle(time.time())
        return bool(self._held)

    def mark(self) -> int:
        """A point in time, for `since`."""
        number, tried = self._latest[-1]
        if tried:
            number += 1
            self._latest.append((number, {}))
        return number

    def since(self, mark: int) -> list[tuple[Attempt, int]]:
        """What was tried after `mark`, each with how often, the first first."""
        found: dict[Attempt, int] = {}
        for number, tried in self._latest:
            if number >= mark:
                for attempt, times in tried.items():
                    found[attempt] = found.get(attempt, 0) + times
        return list(found.items())

    def close(self) -> None:
        """Write down what is held back, and close the file."""
        self._settle(time.time(), everything=True)
        os.close(self._file)

    def _remember(self, attempt: Attempt) -> None:
        tried = self._latest[-1][1]
        if attempt in tried:
            tried[attempt] += 1
            return
        tried[attempt] = 1
        self._kept += 1
        if self._kept > _KEPT_IN_MEMORY:
            oldest = self._latest[0][1]
            del oldest[next(iter(oldest))]
            self._kept -= 1
            if not oldest:
                self._latest.popleft()

    def _settle(self, now: float, *, everything: bool = False) -> None:
        for attempt, (last, times) in tuple(self._held.items()):
            if everything or now - last >= _SAME_SECONDS:
                del self._held[attempt]
                if times:
                    self._write(attempt, last, times=times)

    def _write(self, attempt: Attempt, began: float, **more: int) -> None:
        entry: dict[str, Any] = {
            "time": round(began, 3),
            **attempt._asdict(),
            "bytes_out": 0,
            "bytes_in": 0,
            "duration_ms": round((time.time() - began) * 1000),
            "times": 1,
            **more,
        }
        line = json.dumps(entry).encode() + b"\n"
        if self._size + len(line) > FILE_LIMIT:
            self._drop_older_half()
        try:
            self._size += os.write(self._file, line)
        except OSError:
            return  # a full disk must not end the guest's connections

    def _drop_older_half(self) -> None:
        # In place: the gateway may not have the right to make another file.
        kept = os.pread(self._file, FILE_LIMIT // 2, max(0, self._size - FILE_LIMIT // 2))
        kept = kept[kept.find(b"\n") + 1 :]
        os.ftruncate(self._file, 0)
        self._size = 0
        try:
            self._size = os.write(self._file, kept)
        except OSError:
            return
