"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Any

import click

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

environment = click.argument("environment", metavar="ENVIRONMENT")

network = click.option("--network", is_flag=True, help="Give the computer outbound network.")


class GuestCommand(click.Command):
    """A command whose words after `--` are the guest's, untouched; options end there.

    They arrive as the parameter `command_args`. Words that are neither options nor arguments are
    refused before `--`, so that an option meant for the guest is never taken by pyro.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        cut = args.index("--") if "--" in args else len(args)
        own, guests = args[:cut], args[cut + 1 :]
        super().parse_args(ctx, own)
        if (stray := ctx.params["command_args"]) and not ctx.resilient_parsing:
            raise click.UsageError(
                f"{stray[0]!r} is one word too many: the guest's command starts after '--'.",
                ctx=ctx,
            )
        ctx.params["command_args"] = tuple(guests)
        return []


def guest_words(command: Any) -> Any:
    """The guest's command, for use with `GuestCommand`."""
    return click.argument("command_args", metavar="-- ARG...", nargs=-1)(command)
