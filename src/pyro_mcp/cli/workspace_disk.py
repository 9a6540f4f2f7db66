"""`pyro workspace disk`: the disk of a stopped workspace."""

from __future__ import annotations

import click

from pyro_mcp import protocol
from pyro_mcp.cli import options, output

_READ, _EXPORT = "workspace-disk-read", "workspace-disk-export"


@click.group("disk")
def command() -> None:
    """Look at the disk of a stopped workspace."""


@command.command("list")
@options.workspace_id
@click.argument("path", metavar="PATH", default=protocol.WORKSPACE)
@click.option("--recursive", is_flag=True, help="Descend into directories.")
@options.as_json
def list_command(workspace_id: str, path: str, recursive: bool, as_json: bool) -> None:
    """Show what a directory of the disk has."""
    from pyro_mcp.sdk.pyro import Pyro

    found = Pyro().list_workspace_disk(workspace_id, path=path, recursive=recursive)
    if as_json:
        output.json_object(found)
    else:
        output.listing(found)
        if found["truncated"]:
            output.warning("there is more; list a directory further down.")


@command.command("read")
@options.workspace_id
@click.argument("path", metavar="PATH")
@click.option(
    "--max-bytes", metavar="MAX_BYTES", type=int, default=65536, show_default=True,
    help="Show at most so many.",
)  # fmt: skip
@click.option("--content-only", is_flag=True, help="Print the content and nothing else.")
@options.as_json
def read(workspace_id: str, path: str, max_bytes: int, content_only: bool, as_json: bool) -> None:
    """Show a text file of the disk; bytes that are not UTF-8 are replaced."""
    options.together(content_only=content_only, json=as_json)
    from pyro_mcp.sdk.pyro import Pyro

    found = Pyro().read_workspace_disk(workspace_id, path, max_bytes=max_bytes)
    if as_json:
        output.json_object(found)
        return
    output.content(found["content"], complete=not content_only)
    if not content_only:
        shown = ("workspace_id", "path", "size_bytes", "truncated")
        facts = {key: output.on_one_line(str(found[key])) for key in shown}
        output.note(output.said(_READ, facts))


@command.command("export")
@options.workspace_id
@click.option(
    "--output", "output_path", metavar="OUTPUT", required=True, help="File of this host to make."
)
@options.as_json
def export(workspace_id: str, output_path: str, as_json: bool) -> None:
    """Make one raw ext4 image of everything a workspace shows."""
    from pyro_mcp.sdk.pyro import Pyro

    made = Pyro().export_workspace_disk(workspace_id, output_path=output_path)
    if as_json:
        output.json_object(made)
        return
    shown = ("workspace_id", "output_path", "disk_format", "bytes_written")
    output.line(output.said(_EXPORT, {key: made[key] for key in shown}))
