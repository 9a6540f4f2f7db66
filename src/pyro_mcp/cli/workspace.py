"""`pyro workspace`: computers that are kept, and the commands about their life."""

from __future__ import annotations

import shlex
from typing import Any

import click

from pyro_mcp import config
from pyro_mcp.cli import options, output, secret
from pyro_mcp.cli.lazy import LazyGroup

_POLICIES = ("off", "egress", "egress+published-ports", "published-ports")

COMMANDS = {
    "create": ("workspace:create", "Make a workspace and start it."),
    "exec": ("workspace_exec", "Run a command in a workspace."),
    "list": ("workspace:list_command", "Show every workspace, the one last used first."),
    "status": ("workspace:status", "Show one workspace."),
    "update": ("workspace:update", "Change name, labels, time to live and network."),
    "logs": ("workspace:logs", "Show the commands a workspace ran, and their output."),
    "shell": ("shell", "Use terminals in a workspace."),
    "file": ("workspace_files", "Look at and change the files of a workspace."),
    "sync": ("workspace_sync:sync", "Copy from this host into a workspace."),
    "export": ("workspace_sync:export", "Copy a file or directory of a workspace to this host."),
    "diff": (
        "workspace_sync:diff",
        "Show what changed in /workspace since the workspace was made.",
    ),
    "patch": ("workspace_sync:patch", "Apply patches to a workspace."),
    "service": ("service", "Run processes of a workspace that go on between calls."),
    "snapshot": ("snapshot", "Save a workspace's state under a name."),
    "reset": ("snapshot:reset", "Put a workspace back to a snapshot."),
    "fork": ("snapshot:fork", "Make a new workspace from one that exists."),
    "secret": ("secret", "Set and delete private values of a workspace."),
    "disk": ("workspace_disk", "Look at the disk of a stopped workspace."),
    "network": ("workspace_network", "Look at what a workspace reached and tried to reach."),
    "stop": ("workspace:stop", "Stop a workspace; its disk, snapshots and history stay."),
    "start": ("workspace:start", "Start a stopped workspace."),
    "delete": ("workspace:delete", "Remove a workspace and everything of it."),
    "prune": ("workspace:prune", "Remove stopped workspaces that have not been used for long."),
}
"""Subcommand → (where it is, its help in one line); see `LazyGroup`."""


@click.group("workspace", cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Manage workspaces, computers that are kept."""


@click.command("create")
@options.environment
@options.vcpu_count
@options.mem_mib
@click.option(
    "--ttl-seconds", metavar="TTL_SECONDS", type=int,
    default=config.DEFAULT_TTL_SECONDS, show_default=True,
    help="Seconds without use until it is stopped, 0 for never; nothing is removed.",
)  # fmt: skip
@click.option(
    "--network-policy", type=click.Choice(_POLICIES), default="off", show_default=True,
    help="What of the network it reaches.",
)  # fmt: skip
@options.network_allow
@options.network_private
@options.network_inherit
@click.option(
    "--learn", "network_learn", is_flag=True,
    help="Keep the smallest allow list for what it asks for: each command prints its part, "
    "'workspace status' all.",
)  # fmt: skip
@click.option(
    "--allow-host-compat", is_flag=True,
    help="Accepted; a workspace always runs in a guest.",
)  # fmt: skip
@click.option(
    "--seed-path", metavar="SEED_PATH",
    help="Directory or archive of this host that /workspace begins with.",
)  # fmt: skip
@click.option(
    "--seed-exclude", metavar="PATTERN", multiple=True,
    help="What of it stays behind, as in a .gitignore; may be repeated.",
)  # fmt: skip
@click.option("--seed-gitignore", is_flag=True, help="Leave behind what its .gitignore files name.")
@options.name
@options.label
@click.option(
    "--secret", "secrets", metavar="NAME=VALUE", multiple=True,
    help="Secret for its commands, which other users of this host can see in the list of "
    "processes meanwhile; may be repeated.",
)  # fmt: skip
@click.option(
    "--secret-file", "secret_files", metavar="NAME=PATH", multiple=True,
    help="Secret read from a file, '-' for standard input; may be repeated.",
)  # fmt: skip
@options.as_json
@options.id_only
def create(
    environment: str,
    vcpu_count: int,
    mem_mib: int,
    ttl_seconds: int,
    network_policy: str,
    network_allow: tuple[str, ...],
    network_private: tuple[str, ...],
    network_inherit: bool,
    network_learn: bool,
    allow_host_compat: bool,
    seed_path: str | None,
    seed_exclude: tuple[str, ...],
    seed_gitignore: bool,
    name: str | None,
    labels: tuple[str, ...],
    secrets: tuple[str, ...],
    secret_files: tuple[str, ...],
    as_json: bool,
    id_only: bool,
) -> None:
    """Make a workspace and start it.

    It is kept until 'pyro workspace delete'. Unused for --ttl-seconds its machine is stopped; the
    next command that needs it starts it again.
    """
    options.together(json=as_json, id_only=id_only)
    from pyro_mcp.cli.progress import BuildProgress
    from pyro_mcp.sdk.pyro import Pyro

    given = secret.given(secrets, secret_files)
    with BuildProgress("workspace-create", quiet=as_json) as progress:

        def on_progress(phase: str, fraction: float | None) -> None:
            (progress.draw_only if phase == "seed" else progress.update)(phase, fraction)

        made = Pyro().create_workspace(
            environment=environment,
            vcpu_count=vcpu_count,
            mem_mib=mem_mib,
            ttl_seconds=ttl_seconds,
            network_policy=network_policy,
            network_allow=network_allow,
            network_private=network_private,
            network_inherit=network_inherit,
            network_learn=network_learn,
            allow_host_compat=allow_host_compat,
            secrets=given,
            seed_path=seed_path,
            seed_exclude=seed_exclude,
            seed_gitignore=seed_gitignore,
            name=name,
            labels=options.pairs("--label", labels),
            on_progress=on_progress,
        )
    if not as_json:
        output.also("workspace-create", {}, skipped=made["workspace_seed"].pop("skipped"))
    if id_only:
        output.line(made["workspace_id"])
    else:
        output.result(made, as_json=as_json)


@click.command("list")
@options.as_json
def list_command(as_json: bool) -> None:
    """Show every workspace, the one last used first."""
    from pyro_mcp.sdk.pyro import Pyro

    found = Pyro().list_workspaces()
    if as_json:
        output.json_object(found)
        return
    for one in found["workspaces"]:
        output.line(output.said("workspace", _listed(one)))
    if not found["workspaces"]:
        output.line("No workspaces.")


@click.command("status")
@options.workspace_id
@options.as_json
def status(workspace_id: str, as_json: bool) -> None:
    """Show one workspace."""
    from pyro_mcp.sdk.pyro import Pyro

    output.result(Pyro().status_workspace(workspace_id), as_json=as_json)


@click.command("update")
@options.workspace_id
@options.name
@click.option("--clear-name", is_flag=True, help="Take the name away.")
@options.label
@click.option(
    "--clear-label", "clear_labels", metavar="KEY", multiple=True,
    help="Label to take away; may be repeated.",
)  # fmt: skip
@click.option(
    "--ttl-seconds", metavar="TTL_SECONDS", type=int,
    help="Seconds without use, from now, until it is stopped; 0 for never.",
)  # fmt: skip
@click.option(
    "--network-policy", type=click.Choice(_POLICIES), help="What of the network it reaches."
)
@options.network_allow
@options.network_private
@click.option(
    "--clear-network-allow", is_flag=True, help="Take the list away: everything egress reaches."
)
@click.option("--clear-network-private", is_flag=True, help="Open no private range any more.")
@options.as_json
def update(
    workspace_id: str,
    name: str | None,
    clear_name: bool,
    labels: tuple[str, ...],
    clear_labels: tuple[str, ...],
    ttl_seconds: int | None,
    network_policy: str | None,
    network_allow: tuple[str, ...],
    network_private: tuple[str, ...],
    clear_network_allow: bool,
    clear_network_private: bool,
    as_json: bool,
) -> None:
    """Change name, labels, time to live and network.

    Labels that are not named stay as they are. A network policy is in force at once; its lists
    replace those there were.
    """
    options.together(network_allow=network_allow, clear_network_allow=clear_network_allow)
    options.together(network_private=network_private, clear_network_private=clear_network_private)
    from pyro_mcp.sdk.pyro import Pyro

    updated = Pyro().update_workspace(
        workspace_id,
        name=name,
        clear_name=clear_name,
        labels=options.pairs("--label", labels),
        clear_labels=list(clear_labels),
        ttl_seconds=ttl_seconds,
        network_policy=network_policy,
        network_allow=network_allow if network_allow or clear_network_allow else None,
        network_private=network_private if network_private or clear_network_private else None,
    )
    output.result(updated, as_json=as_json)


@click.command("logs")
@options.workspace_id
@options.as_json
def logs(workspace_id: str, as_json: bool) -> None:
    """Show the commands a workspace ran, and their output."""
    from pyro_mcp.sdk.pyro import Pyro

    history = Pyro().logs_workspace(workspace_id)
    if as_json:
        output.json_object(history)
        return
    for entry in history["entries"]:
        shown = {key: entry[key] for key in ("exit_code", "duration_ms", "cwd")}
        output.line(output.said("", shown).replace("[]", f"#{entry['sequence']}", 1))
        output.line(f"$ {entry['command']}")
        output.content(entry["stdout"])
        output.content(entry["stderr"], to=output.STDERR)
    redacted = any(entry["redacted"] for entry in history["entries"])
    output.also("workspace-logs", {"redacted": redacted})


@click.command("stop")
@options.workspace_id
@options.as_json
def stop(workspace_id: str, as_json: bool) -> None:
    """Stop a workspace; its disk, snapshots and history stay."""
    from pyro_mcp.sdk.pyro import Pyro

    output.result(Pyro().stop_workspace(workspace_id), as_json=as_json)


@click.command("start")
@options.workspace_id
@options.as_json
def start(workspace_id: str, as_json: bool) -> None:
    """Start a stopped workspace.

    Whatever needs a workspace running starts it by itself.
    """
    from pyro_mcp.sdk.pyro import Pyro

    output.result(Pyro().start_workspace(workspace_id), as_json=as_json)


@click.command("delete")
@options.workspace_id
@options.as_json
def delete(workspace_id: str, as_json: bool) -> None:
    """Remove a workspace and everything of it."""
    from pyro_mcp.sdk.pyro import Pyro

    deleted = Pyro().delete_workspace(workspace_id)
    if as_json:
        output.json_object(deleted)
    else:
        output.line(f"Deleted workspace: {deleted['workspace_id']}")


@click.command("prune")
@click.option(
    "--older-than", required=True, metavar="DURATION",
    help="Those last used longer ago than this, such as 12h or 7d.",
)  # fmt: skip
@options.as_json
def prune(older_than: str, as_json: bool) -> None:
    """Remove stopped workspaces that have not been used for long."""
    from pyro_mcp.sdk.pyro import Pyro

    seconds = options.duration("--older-than", older_than)
    pruned = Pyro().prune_workspaces(older_than_seconds=seconds)
    if as_json:
        output.json_object(pruned)
        return
    output.line(f"Removed workspaces: {pruned['count']}")
    for workspace_id in pruned["deleted_workspace_ids"]:
        output.line(f"- {workspace_id}")


def _listed(one: dict[str, Any]) -> dict[str, object]:
    labels = ",".join(f"{key}={value}" for key, value in one["labels"].items())
    return {
        "workspace_id": one["workspace_id"],
        "name": shlex.quote(one["name"]) if one["name"] else "-",
        "state": one["state"],
        "environment": one["environment"],
        "labels": shlex.quote(labels) if labels else "-",
        "last_activity_at": one["last_activity_at"],
        "expires_at": output.plain(one["expires_at"]),
        "commands": one["command_count"],
        "services": f"{one['running_service_count']}/{one['service_count']}",
    }
