"""Time split into named parts."""

from __future__ import annotations

import time


class Stopwatch:
    """Runs from when it is made; `lap` ends one part and begins the next."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.total = 0.0
        self._begun = self._started = time.perf_counter()
        self._name = ""

    def lap(self, name: str) -> None:
        """From here on the time belongs to `name`."""
        now = time.perf_counter()
        if self._name:
            self.laps[self._name] = self.laps.get(self._name, 0.0) + now - self._started
        self._name, self._started = name, now

    def stop(self) -> None:
        """End the last part."""
        self.lap("")
        self.total = time.perf_counter() - self._begun
