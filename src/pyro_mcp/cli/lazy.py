"""Groups of commands whose modules are loaded when they are called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """Loads a subcommand's module when it is called; its help line is known without.

    `lazy`: subcommand → (module of this folder, and `:attribute` unless it is `command`; help).
    """

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return None
        module, _, name = self.lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"pyro_mcp.cli.{module}"), name or "command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise self._with_names(error, args[0], ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.lazy.items()])

    def _with_names(self, error: click.UsageError, word: str, ctx: click.Context) -> Exception:
        if word.startswith("-"):
            return error
        return click.UsageError(
            f"No such command {word!r}. Commands: {', '.join(self.lazy)}.", ctx=ctx
        )
