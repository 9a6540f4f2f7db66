"""`pyro env`: the environments that computers start from."""

from __future__ import annotations

import click

from pyro_mcp.cli import options, output


@click.group("env")
def command() -> None:
    """Manage environments, the systems that computers start from."""


@command.command("list")
@options.as_json
def list_command(as_json: bool) -> None:
    """Show every environment, installed or not."""
    from pyro_mcp.sdk.pyro import Pyro

    environments = Pyro().list_environments()
    version = environments[0]["catalog_version"] if environments else None
    if as_json:
        output.json_object({"catalog_version": version, "environments": environments})
        return
    output.line(f"Catalog version: {output.plain(version)}")
    for one in environments:
        state = "installed" if one["installed"] else "not installed"
        output.line(f"{one['name']} [{state}] {one['description']}".rstrip())


@command.command("pull")
@options.environment
@options.as_json
def pull(environment: str, as_json: bool) -> None:
    """Build an environment into the cache, unless it is there."""
    from pyro_mcp.cli.progress import BuildProgress
    from pyro_mcp.sdk.pyro import Pyro

    pyro = Pyro()
    pyro.inspect_environment(environment)  # a wrong name is refused before anything is announced
    if not as_json:
        output.note(f"[pull] phase=install environment={environment}")
    with BuildProgress("pull", quiet=as_json) as progress:
        pulled = pyro.pull_environment(environment, on_progress=progress.update)
    if not as_json:
        output.note(f"[pull] phase=ready environment={environment}")
    output.result(pulled, as_json=as_json)


@command.command("inspect")
@options.environment
@options.as_json
def inspect(environment: str, as_json: bool) -> None:
    """Show one environment."""
    from pyro_mcp.sdk.pyro import Pyro

    output.result(Pyro().inspect_environment(environment), as_json=as_json)


@command.command("prune")
@options.as_json
def prune(as_json: bool) -> None:
    """Remove from the cache what no environment needs any more."""
    from pyro_mcp.sdk.pyro import Pyro

    pruned = Pyro().prune_environments()
    if as_json:
        output.json_object(pruned)
        return
    removed = [*pruned["deleted_environment_dirs"], *pruned.get("deleted_runtime_files", ())]
    output.line(f"Removed entries: {len(removed)}")
    for name in removed:
        output.line(f"- {name}")
