"""`pyro workspace snapshot`, `reset` and `fork`."""

from __future__ import annotations

import click

from pyro_mcp.cli import options, output

_snapshot_name = click.argument("snapshot_name", metavar="SNAPSHOT_NAME")


@click.group("snapshot")
def command() -> None:
    """Save a workspace's state under a name."""


@command.command("create")
@options.workspace_id
@_snapshot_name
@options.as_json
def create(workspace_id: str, snapshot_name: str, as_json: bool) -> None:
    """Save everything a workspace changed, in /workspace and elsewhere."""
    from pyro_mcp.sdk.pyro import Pyro

    created = Pyro().create_snapshot(workspace_id, snapshot_name)
    if as_json:
        output.json_object(created)
        return
    shown = ("workspace_id", "snapshot_name", "kind", "entry_count", "bytes_written")
    facts = {key: created["snapshot"][key] for key in shown}
    output.line(output.said("workspace-snapshot-create", facts))


@command.command("list")
@options.workspace_id
@options.as_json
def list_command(workspace_id: str, as_json: bool) -> None:
    """Show the baseline and the snapshots, newest first."""
    from pyro_mcp.sdk.pyro import Pyro

    found = Pyro().list_snapshots(workspace_id)
    if as_json:
        output.json_object(found)
        return
    for one in found["snapshots"]:
        output.line(
            f"{one['snapshot_name']} [{one['kind']}] entry_count={one['entry_count']} "
            f"bytes_written={one['bytes_written']} deletable={output.plain(one['deletable'])}"
        )


@command.command("delete")
@options.workspace_id
@_snapshot_name
@options.as_json
def delete(workspace_id: str, snapshot_name: str, as_json: bool) -> None:
    """Forget a snapshot."""
    from pyro_mcp.sdk.pyro import Pyro

    deleted = Pyro().delete_snapshot(workspace_id, snapshot_name)
    if as_json:
        output.json_object(deleted)
    else:
        output.line(f"Deleted snapshot: {deleted['snapshot_name']}")


@click.command("reset")
@options.workspace_id
@click.option(
    "--snapshot",
    metavar="SNAPSHOT",
    default="baseline",
    show_default=True,
    help="Snapshot to go back to.",
)
@options.as_json
def reset(workspace_id: str, snapshot: str, as_json: bool) -> None:
    """Put a workspace back to a snapshot.

    All of it: /workspace, installed packages, the history of commands. Name, labels and snapshots
    stay.
    """
    from pyro_mcp.sdk.pyro import Pyro

    result = Pyro().reset_workspace(workspace_id, snapshot=snapshot)
    if as_json:
        output.json_object(result)
        return
    restored = result.pop("workspace_reset")
    output.fields(result)
    output.line(f"Reset source: {restored['snapshot_name']} ({restored['kind']})")
    output.line(
        f"Reset restore: {restored['destination']} entry_count={restored['entry_count']} "
        f"bytes_written={restored['bytes_written']}"
    )


@click.command("fork")
@options.workspace_id
@click.option(
    "--snapshot", metavar="SNAPSHOT", help="Snapshot to begin with, instead of what it is now."
)
@options.name
@options.label
@options.as_json
@options.id_only
def fork(
    workspace_id: str,
    snapshot: str | None,
    name: str | None,
    labels: tuple[str, ...],
    as_json: bool,
    id_only: bool,
) -> None:
    """Make a new workspace from one that exists.

    The original goes on as it was.
    """
    options.together(json=as_json, id_only=id_only)
    from pyro_mcp.sdk.pyro import Pyro

    forked = Pyro().fork_workspace(
        workspace_id, snapshot=snapshot, name=name, labels=options.pairs("--label", labels)
    )
    if id_only:
        output.line(forked["workspace_id"])
    else:
        output.result(forked, as_json=as_json)
