"""A directory or archive of the host, brought into a running workspace: all of it or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.boundary.paths import in_workspace
from pyro_mcp.boundary.source import checked, open_source
from pyro_mcp.machines import files
from pyro_mcp.results.transfers import WorkspaceSync, WorkspaceSyncResult
from pyro_mcp.workspaces.store import quiet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyro_mcp.workspaces.store import Progress, Store

PARAMETER = "source_path"
PHASE = "push"


def push(
    store: Store,
    workspace_id: str,
    source_path: str | Path,
    *,
    dest: str = protocol.WORKSPACE,
    exclude: Sequence[str] = (),
    gitignore: bool = False,
    progress: Progress = quiet,
) -> WorkspaceSyncResult:
    """Put what is in a directory or archive below `dest`, over what is there.

    Nothing else is removed, and the baseline stays what it was. Whatever ends it early, an error
    or the end of this process, leaves the workspace as it was.

    Args:
        store: Of the workspace.
        workspace_id: Which; it is started when it is stopped.
        source_path: Host directory, or archive (`.tar`, `.tar.gz`, `.tgz`, `.tar.zst`, `.zip`).
        dest: Directory below /workspace; made when it is missing.
        exclude: Patterns as in a `.gitignore` of what stays behind.
        gitignore: Leave behind what the source's `.gitignore` files name.
        progress: Told how much has gone.

    Raises:
        InvalidInputError: The source or `dest` cannot be used.
        WorkspaceFileError: Something in the workspace is in its way.
    """
    destination = in_workspace("dest", dest)
    store.row(workspace_id)
    source = open_source(PARAMETER, source_path, exclude=exclude, gitignore=gitignore)
    try:
        with store.using(workspace_id) as used:
            progress(PHASE, 0.0 if source.mode == "directory" else None)
            chunks = checked(PARAMETER, source, progress, PHASE)
            files.import_tar(used.place.home, destination, chunks)
            progress(PHASE, 1.0)
    finally:
        source.close()
    return WorkspaceSyncResult(
        workspace_id=workspace_id,
        execution_mode="guest_vsock",
        workspace_sync=WorkspaceSync(
            mode=source.mode,
            source_path=str(source.path),
            destination=destination,
            entry_count=source.entry_count,
            bytes_written=source.bytes_written,
            skipped=source.skipped,
        ),
        workspace_started=used.started_now,
    )
