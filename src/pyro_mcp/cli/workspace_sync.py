"""`pyro workspace sync`, `export`, `diff` and `patch`: what crosses between host and workspace."""

from __future__ import annotations

from typing import Any

import click

from pyro_mcp import protocol
from pyro_mcp.cli import options, output

_SYNC, _EXPORT, _DIFF = "workspace-sync", "workspace-export", "workspace-diff"
_PATCH = "workspace-patch"
_MOST_NOTED = 20


@click.group("sync")
def sync() -> None:
    """Copy from this host into a workspace."""


@sync.command("push")
@options.workspace_id
@click.argument("source_path", metavar="SOURCE_PATH")
@click.option(
    "--dest", metavar="DEST", default=protocol.WORKSPACE, show_default=True,
    help="Directory of the workspace to put it in.",
)  # fmt: skip
@click.option(
    "--exclude", metavar="PATTERN", multiple=True,
    help="What stays behind, as in a .gitignore; may be repeated.",
)  # fmt: skip
@click.option("--gitignore", is_flag=True, help="Leave behind what .gitignore files name.")
@options.as_json
def push(
    workspace_id: str,
    source_path: str,
    dest: str,
    exclude: tuple[str, ...],
    gitignore: bool,
    as_json: bool,
) -> None:
    """Put a directory's or archive's content over a workspace's, all or nothing.

    What is in the workspace and not in the source stays.
    """
    from pyro_mcp.cli.progress import BuildProgress
    from pyro_mcp.sdk.pyro import Pyro

    with BuildProgress(_SYNC) as progress:
        result = Pyro().push_workspace_sync(
            workspace_id,
            source_path,
            dest=dest,
            exclude=exclude,
            gitignore=gitignore,
            on_progress=progress.draw_only,
        )
    if as_json:
        output.json_object(result)
        return
    pushed = result["workspace_sync"]
    output.also(_SYNC, result, skipped=pushed["skipped"])
    facts = {
        "workspace_id": result["workspace_id"],
        "mode": pushed["mode"],
        "source": pushed["source_path"],
        "destination": pushed["destination"],
        "entry_count": pushed["entry_count"],
        "bytes_written": pushed["bytes_written"],
        "execution_mode": result["execution_mode"],
    }
    output.line(output.said(_SYNC, facts))


@click.command("export")
@options.workspace_id
@click.argument("path", metavar="PATH")
@click.option(
    "--output", "output_path", metavar="OUTPUT", required=True,
    help="Path of this host to make; a directory becomes an archive in one that ends in .tar.gz.",
)  # fmt: skip
@click.option(
    "--limit-bytes", metavar="N", type=int, help="Refuse more content than this. [default: 20 GiB]"
)
@options.as_json
def export(
    workspace_id: str, path: str, output_path: str, limit_bytes: int | None, as_json: bool
) -> None:
    """Copy a file or directory of a workspace to this host.

    It appears whole or not at all; nothing is overwritten.
    """
    from pyro_mcp.cli.progress import BuildProgress
    from pyro_mcp.sdk.pyro import Pyro

    with BuildProgress(_EXPORT) as progress:
        result = Pyro().export_workspace(
            workspace_id,
            path,
            output_path=output_path,
            limit_bytes=limit_bytes,
            on_progress=progress.draw_only,
        )
    if as_json:
        output.json_object(result)
        return
    output.also(_EXPORT, result, skipped=result["skipped"])
    shown = (
        "workspace_id", "workspace_path", "output_path", "artifact_type", "entry_count",
        "bytes_written", "execution_mode",
    )  # fmt: skip
    output.line(output.said(_EXPORT, {key: result[key] for key in shown}))


@click.command("diff")
@options.workspace_id
@click.option(
    "--against", metavar="SNAPSHOT_NAME", default="baseline", show_default=True,
    help="Compare with this snapshot.",
)  # fmt: skip
@click.option("--stat", is_flag=True, help="Show how much changed in each file, not what.")
@click.option("--name-only", is_flag=True, help="Show paths and nothing else.")
@click.option(
    "--limit-bytes", metavar="N", type=int, help="Leave out text beyond this. [default: 8 MiB]"
)
@options.as_json
def diff(
    workspace_id: str,
    against: str,
    stat: bool,
    name_only: bool,
    limit_bytes: int | None,
    as_json: bool,
) -> None:
    """Show what changed in /workspace since the workspace was made.

    'patch' and 'git apply' take what is shown.
    """
    options.together(stat=stat, name_only=name_only)
    from pyro_mcp.sdk.pyro import Pyro

    result = Pyro().diff_workspace(
        workspace_id, against=against, names_only=name_only, limit_bytes=limit_bytes
    )
    if as_json:
        output.json_object(result)
        return
    output.also(_DIFF, result, skipped=result["skipped"])
    if name_only:
        for entry in result["entries"]:
            output.line(output.on_one_line(entry["path"]))
        return
    if not result["changed"]:
        output.line("No workspace changes.")
        return
    shown = (
        "total", "added", "modified", "deleted", "type_changed", "text_patched", "non_text"
    )  # fmt: skip
    facts = {"workspace_id": workspace_id, **{key: result["summary"][key] for key in shown}}
    output.line(output.said(_DIFF, facts))
    if stat:
        for entry in result["entries"]:
            output.line(_counted(entry))
    else:
        output.content(result["patch"])
        _note_what_has_no_text(result["entries"])
    if result["truncated"]:
        output.warning(
            "some text was left out for its size; --stat shows all paths, --limit-bytes more."
        )


@click.group("patch")
def patch() -> None:
    """Apply patches to a workspace."""


@patch.command("apply")
@options.workspace_id
@click.option("--patch", "text", metavar="PATCH", help="Unified diff.")
@click.option("--patch-file", metavar="PATH", help="File with it, '-' for standard input.")
@options.as_json
def apply(workspace_id: str, text: str | None, patch_file: str | None, as_json: bool) -> None:
    """Apply a unified diff to /workspace, all of it or nothing."""
    options.one_of(patch=text, patch_file=patch_file)
    if text is None:
        # Sources in older encodings are patched too.
        text = options.text_of("--patch-file", patch_file or "", errors="surrogateescape")
    from pyro_mcp.sdk.pyro import Pyro

    result = Pyro().apply_workspace_patch(workspace_id, patch=text)
    if as_json:
        output.json_object(result)
        return
    output.also(_PATCH, result)
    facts = {
        "workspace_id": result["workspace_id"],
        **{key: result["summary"][key] for key in ("total", "added", "modified", "deleted")},
        "execution_mode": result["execution_mode"],
    }
    output.line(output.said(_PATCH, facts))


def _note_what_has_no_text(entries: list[dict[str, Any]]) -> None:
    """Changes that a text patch cannot hold: binary files, directories, modes git does not know."""
    left = [entry for entry in entries if entry["text_patch"] is None and not entry["truncated"]]
    for entry in left[:_MOST_NOTED]:
        output.note(f"[{_DIFF}] not in the patch: {_counted(entry)}")
    if len(left) > _MOST_NOTED:
        output.note(f"[{_DIFF}] not in the patch: {len(left) - _MOST_NOTED} more, see --stat")


def _counted(entry: dict[str, Any]) -> str:
    path = output.on_one_line(entry["path"])
    if entry["lines_added"] is None:
        amount = f"{entry['size_bytes']} bytes"
    else:
        amount = f"+{entry['lines_added']} -{entry['lines_removed']}"
    return f"{entry['status']} {path} {amount}"
