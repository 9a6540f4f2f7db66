"""How the demonstration is shown: drawn on a terminal, in plain lines otherwise; on stderr."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyro_mcp.cli import output

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Answer = dict[str, Any]

_INDENT = 5


@dataclass(frozen=True, kw_only=False)
class Shown:
    """What came of a step, for people."""

    text: str
    good: bool | None = None
    """Whether a command ended well; None if that is not the point."""
    is_diff: bool = False


class Stage:
    """Tells the steps in plain lines."""

    def __init__(self) -> None:
        self._count = 0

    def step(
        self, title: str, command: str, act: Callable[[], Answer], show: Callable[[Answer], Shown]
    ) -> Answer:
        """Do `act` and tell what came of it; gives its answer.

        `command` is what does the same, one command a line.

        Raises:
            PyroError: What `act` raises.
        """
        self._count += 1
        begun = time.monotonic()
        answer = self._watch(title, act)
        self._tell(title, command, show(answer), time.monotonic() - begun)
        return answer

    def close(self, seconds: float) -> None:
        """The end, after all steps."""
        output.note(f"[demo] done: {self._count} steps in {seconds:.1f} s")

    def _watch(self, title: str, act: Callable[[], Answer]) -> Answer:
        return act()

    def _tell(self, title: str, command: str, shown: Shown, seconds: float) -> None:
        output.note(f"[demo] {self._count} {title} ({seconds:.2f} s)")
        for line in command.splitlines():
            output.note(f"[demo]   $ {line}")
        for line in shown.text.splitlines():
            output.note(f"[demo]   {line}")


class _Drawn(Stage):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def close(self, seconds: float) -> None:
        from rich.padding import Padding
        from rich.text import Text

        end = Text.assemble(
            (f"{self._count} steps, {seconds:.1f} s, and nothing of it is left.", "bold"),
            "\nNext: ", ("pyro --help", "cyan"), ", or ", ("pyro host connect --help", "cyan"),
            " to give these tools to a chat program.",
        )  # fmt: skip
        self._console.print(Padding(end, (1, 0, 0, 2)))

    def _watch(self, title: str, act: Callable[[], Answer]) -> Answer:
        with self._console.status(f"{title} …", spinner="dots"):
            return act()

    def _tell(self, title: str, command: str, shown: Shown, seconds: float) -> None:
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        head = Table.grid(expand=True, padding=(0, 1))
        head.add_column(width=_INDENT - 2, justify="right", style="cyan")
        head.add_column(ratio=1, style="bold")
        head.add_column(justify="right", style="dim")
        head.add_row(str(self._count), title, f"{seconds:.2f} s")
        self._console.print(head)
        for line in command.splitlines():
            words = Text.assemble(("$ ", "dim"), line)
            self._console.print(Padding(words, (0, 0, 0, _INDENT - 1)))
        self._console.print(Padding(_result(shown), (0, 0, 1, _INDENT - 1)))


def stage() -> Stage:
    """The one that fits where stderr goes."""
    if not os.isatty(output.STDERR) or os.environ.get("TERM") == "dumb":
        return Stage()
    from rich.console import Console

    return _Drawn(Console(stderr=True, highlight=False, emoji=False, markup=False))


def _result(shown: Shown) -> RenderableType:
    from rich.text import Text

    if not shown.is_diff:
        style = {None: "", True: "green", False: "red"}[shown.good]
        return Text(shown.text, style=style)
    text = Text()
    for line in shown.text.splitlines():
        plain = line.startswith(("+++", "---", "diff ", "index "))
        style = "dim" if plain else {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        text.append(f"{line}\n", style)
    text.rstrip()
    return text
