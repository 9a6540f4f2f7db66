"""`pyro workspace file`: the files below /workspace, without a command in the guest."""

from __future__ import annotations

from typing import Any

import click

from pyro_mcp import protocol
from pyro_mcp.cli import options, output

_READ, _WRITE = "workspace-file-read", "workspace-file-write"

_path = click.argument("path", metavar="PATH")


@click.group("file")
def command() -> None:
    """Look at and change the files of a workspace."""


@command.command("list")
@options.workspace_id
@click.argument("path", metavar="PATH", default=protocol.WORKSPACE)
@click.option("--recursive", is_flag=True, help="Descend into directories.")
@options.as_json
def list_command(workspace_id: str, path: str, recursive: bool, as_json: bool) -> None:
    """Show what a directory has; links are shown, not followed."""
    from pyro_mcp.sdk.pyro import Pyro

    found = Pyro().list_workspace_files(workspace_id, path=path, recursive=recursive)
    if as_json:
        output.json_object(found)
        return
    output.also("workspace-file-list", found)
    output.listing(found)
    if found["skipped_special"]:
        count = found["skipped_special"]
        output.note(f"[workspace-file-list] left out: {count} devices, sockets or pipes")
    if found["truncated"]:
        output.warning("there is more; list a directory further down.")


@command.command("read")
@options.workspace_id
@_path
@click.option(
    "--max-bytes", metavar="MAX_BYTES", type=int, default=65536, show_default=True,
    help="Show at most so many.",
)  # fmt: skip
@click.option(
    "--offset", metavar="BYTES", type=int, default=0, show_default=True, help="Begin there."
)
@click.option("--content-only", is_flag=True, help="Print the content and nothing else.")
@options.as_json
def read(
    workspace_id: str, path: str, max_bytes: int, offset: int, content_only: bool, as_json: bool
) -> None:
    """Show a text file; bytes that are not UTF-8 are replaced."""
    options.together(content_only=content_only, json=as_json)
    from pyro_mcp.sdk.pyro import Pyro

    found = Pyro().read_workspace_file(workspace_id, path, max_bytes=max_bytes, offset=offset)
    if as_json:
        output.json_object(found)
        return
    output.content(found["content"], complete=not content_only)
    if content_only:
        return
    output.also(_READ, found)
    facts = {
        "workspace_id": found["workspace_id"],
        "path": output.on_one_line(found["path"]),
        "size_bytes": found["size_bytes"],
        "truncated": found["truncated"],
        "execution_mode": found["execution_mode"],
    }
    output.note(output.said(_READ, facts))


@command.command("write")
@options.workspace_id
@_path
@click.option("--text", metavar="TEXT", help="What the file is to hold.")
@click.option(
    "--text-file", metavar="PATH", help="UTF-8 file to take it from, '-' for standard input."
)
@options.as_json
def write(
    workspace_id: str, path: str, text: str | None, text_file: str | None, as_json: bool
) -> None:
    """Make or replace a text file, at once; its directories are made too."""
    options.one_of(text=text, text_file=text_file)
    if text is None:
        text = options.text_of("--text-file", text_file or "")
    from pyro_mcp.sdk.pyro import Pyro

    written = Pyro().write_workspace_file(workspace_id, path, text=text)
    if as_json:
        output.json_object(written)
        return
    output.also(_WRITE, written)
    shown = ("workspace_id", "path", "bytes_written", "execution_mode")
    output.line(output.said(_WRITE, {key: written[key] for key in shown}))


@command.command("stat")
@options.workspace_id
@_path
@options.as_json
def stat(workspace_id: str, path: str, as_json: bool) -> None:
    """Show one entry; a link itself, not what it points to."""
    from pyro_mcp.sdk.pyro import Pyro

    found = Pyro().stat_workspace_file(workspace_id, path)
    output.result(found if as_json else {**found, "mode": f"{found['mode']:o}"}, as_json=as_json)


@command.command("delete")
@options.workspace_id
@_path
@click.option("--recursive", is_flag=True, help="A directory with all that is in it.")
@options.as_json
def delete(workspace_id: str, path: str, recursive: bool, as_json: bool) -> None:
    """Remove a file, a link or an empty directory."""
    from pyro_mcp.sdk.pyro import Pyro

    deleted = Pyro().delete_workspace_file(workspace_id, path, recursive=recursive)
    _tell("workspace-file-delete", deleted, ("path", "deleted_count"), as_json=as_json)


@command.command("move")
@options.workspace_id
@_path
@click.argument("to", metavar="TO")
@click.option("--replace", is_flag=True, help="Also when something is there.")
@options.as_json
def move(workspace_id: str, path: str, to: str, replace: bool, as_json: bool) -> None:
    """Give an entry another path."""
    from pyro_mcp.sdk.pyro import Pyro

    moved = Pyro().move_workspace_file(workspace_id, path, to, replace=replace)
    _tell("workspace-file-move", moved, ("path", "to"), as_json=as_json)


@command.command("mkdir")
@options.workspace_id
@_path
@options.as_json
def mkdir(workspace_id: str, path: str, as_json: bool) -> None:
    """Make a directory and those above it."""
    from pyro_mcp.sdk.pyro import Pyro

    made = Pyro().make_workspace_directory(workspace_id, path)
    _tell("workspace-file-mkdir", made, ("path",), as_json=as_json)


@command.command("search")
@options.workspace_id
@click.argument("pattern", metavar="PATTERN")
@click.argument("path", metavar="PATH", default=protocol.WORKSPACE)
@click.option("--literal", is_flag=True, help="PATTERN is text, no regular expression.")
@click.option("--ignore-case", is_flag=True, help="Upper and lower case are the same.")
@click.option(
    "--glob", "globs", metavar="GLOB", multiple=True,
    help="Only files of this name, '!' excludes; may be repeated.",
)  # fmt: skip
@click.option(
    "--max-matches", metavar="N", type=int, default=200, show_default=True,
    help="Stop after so many.",
)  # fmt: skip
@options.as_json
def search(
    workspace_id: str,
    pattern: str,
    path: str,
    literal: bool,
    ignore_case: bool,
    globs: tuple[str, ...],
    max_matches: int,
    as_json: bool,
) -> None:
    """Show the lines of text files that match a regular expression."""
    from pyro_mcp.sdk.pyro import Pyro

    found = Pyro().search_workspace_files(
        workspace_id, pattern, path=path, literal=literal, ignore_case=ignore_case,
        globs=globs, max_matches=max_matches,
    )  # fmt: skip
    if as_json:
        output.json_object(found)
        return
    output.also("workspace-file-search", found)
    for match in found["matches"]:
        where = f"{output.on_one_line(match['path'])}:{match['line']}:{match['column']}"
        output.line(f"{where}:{match['text']}")
    if found["truncated"]:
        output.warning("there are more matches; --max-matches shows more.")


def _tell(tag: str, result: dict[str, Any], shown: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        output.json_object(result)
        return
    output.also(tag, result)
    facts = {key: output.on_one_line(str(result[key])) for key in ("workspace_id", *shown)}
    output.line(output.said(tag, facts))
