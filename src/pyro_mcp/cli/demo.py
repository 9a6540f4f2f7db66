"""`pyro demo`: what pyro does, shown step by step, by itself or with a local language model."""

from __future__ import annotations

import os
from typing import Any

import click

from pyro_mcp.cli import options, output
from pyro_mcp.cli.lazy import LazyGroup

COMMANDS = {"ollama": ("demo_ollama", "Let a local model run a command in a guest.")}
"""Subcommand → (where it is, its help in one line); see `LazyGroup`."""


@click.group("demo", cls=LazyGroup, lazy=COMMANDS, invoke_without_command=True)
@options.network
@options.as_json
@click.pass_context
def command(ctx: click.Context, network: bool, as_json: bool) -> int:
    """Show what a guest is good for, in less than ten seconds.

    Runs a command, then keeps a computer, breaks it and puts it back. Needs no model and leaves
    nothing behind. Into a pipe, or with --json, prints the answer to the first step as JSON.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    from pyro_mcp.cli.demo_stage import stage
    from pyro_mcp.cli.demo_walk import walk
    from pyro_mcp.sdk.pyro import Pyro

    with Pyro() as pyro:
        result: dict[str, Any] = walk(pyro, stage(), network=network)
    if as_json or not os.isatty(output.STDOUT):
        output.json_object(result)
    return 0 if result["exit_code"] == 0 else 1
