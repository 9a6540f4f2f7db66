"""How a build is shown: a bar on a terminal, one line per phase otherwise, on stderr."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from pyro_mcp.cli import output

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.progress import Progress, TaskID

_LONG_SECONDS = 0.5


class BuildProgress:
    """Shows nothing before the first `update`, so that what is installed costs nothing.

    Use with `with`, and call `close` before other output; both may happen.
    """

    def __init__(self, tag: str, *, quiet: bool = False) -> None:
        """`quiet` leaves out the lines; a bar, which only people see, is drawn all the same."""
        self._tag = tag
        self._quiet = quiet
        self._on_terminal = os.isatty(output.STDERR) and os.environ.get("TERM") != "dumb"
        self._begun = time.monotonic()
        self._last = ""
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def update(self, phase: str, fraction: float | None) -> None:
        """A step of the build, and how much of it is done (0 to 1) where that is known."""
        if self._on_terminal:
            self._draw(phase, fraction)
        elif phase != self._last and not self._quiet:
            output.note(f"[{self._tag}] phase=install step={phase}")
        self._last = phase

    def draw_only(self, phase: str, fraction: float | None) -> None:
        """A step that is worth a bar when it takes long, and never a line."""
        if self._on_terminal and time.monotonic() - self._begun > _LONG_SECONDS:
            self._draw(phase, fraction)

    def on_phase(self, phase: str, facts: dict[str, Any]) -> None:
        """Follow a run: draws while an image is built, and makes way for what comes after."""
        if phase == "build":
            self.update(str(facts.get("phase", "")), facts.get("fraction"))
        else:
            self.close()

    def close(self) -> None:
        """Take the bar off the screen."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()

    def _draw(self, phase: str, fraction: float | None) -> None:
        if self._bar is None:
            self._bar, self._task = _start_bar()
        assert self._task is not None
        if fraction is None:
            # Without a total the bar moves to and fro.
            self._bar.update(self._task, description=phase, total=None)
        else:
            self._bar.update(self._task, description=phase, total=1.0, completed=fraction)


def _start_bar() -> tuple[Progress, TaskID]:
    # Costs 50 ms: only where something is drawn.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    task = bar.add_task("", total=None)
    bar.start()
    return bar, task
