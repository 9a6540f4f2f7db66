"""`pyro workspace network`: what a workspace reached and tried to reach."""

from __future__ import annotations

import click

from pyro_mcp.cli import options, output
from pyro_mcp.cli.lazy import LazyGroup

COMMANDS = {
    "log": ("workspace_network:log", "Show what a workspace reached and tried to reach."),
}
"""Subcommand → (where it is, its help in one line); see `LazyGroup`."""


@click.group("network", cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Look at what a workspace reached and tried to reach."""


@click.command("log")
@options.workspace_id
@click.option("--verdict", type=click.Choice(("allowed", "denied", "failed")), help="Only these.")
@click.option(
    "--limit", metavar="LIMIT", type=int,
    help="The latest so many; if not given 100, with --learn 1000.",
)  # fmt: skip
@options.learn
@options.as_json
def log(
    workspace_id: str, verdict: str | None, limit: int | None, learn: bool, as_json: bool
) -> None:
    """Show what a workspace reached and tried to reach.

    One line is one connection that ended, or one attempt that was refused.
    """
    from pyro_mcp.sdk.pyro import Pyro

    if limit is None:
        limit = 1000 if learn else 100
    found = Pyro().network_log(workspace_id, verdict=verdict, limit=limit)
    if as_json:
        output.json_object(found)
        return
    if learn:
        for entry in found["network_learned"]:
            output.line(f"--network-allow {entry}")
        return
    shown = ("verdict", "protocol", "name", "address", "port", "bytes_out", "bytes_in", "times")
    for entry in found["entries"]:
        known = {key: "-" if entry[key] is None else entry[key] for key in shown}
        facts = {"time": entry["time"], **known}
        output.line(output.said("network", facts))
        if entry["verdict"] != "allowed":
            output.line(f"  {entry.get('message') or entry['rule']}")
    if not found["entries"]:
        output.line("Nothing.")
