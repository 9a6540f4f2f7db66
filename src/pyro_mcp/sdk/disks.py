"""Public methods about the disk of a stopped workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp import protocol

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.sdk.manager import VmManager


class DiskMethods:
    """See `Pyro`. All need the workspace stopped; a guest of its own reads the disk."""

    _manager: VmManager

    def list_workspace_disk(
        self, workspace_id: str, *, path: str = protocol.WORKSPACE, recursive: bool = False
    ) -> dict[str, Any]:
        """Children of any directory of the disk; relative paths are below /workspace."""
        from pyro_mcp.workspaces import disks

        return disks.list_disk(
            self._manager.workspaces, workspace_id, path, recursive=recursive
        ).to_dict()

    def read_workspace_disk(
        self, workspace_id: str, path: str, *, max_bytes: int = 65536
    ) -> dict[str, Any]:
        """The head of any file of the disk, as text; `truncated` says that there is more."""
        from pyro_mcp.workspaces import disks

        return disks.read_disk(
            self._manager.workspaces, workspace_id, path, max_bytes=max_bytes
        ).to_dict()

    def export_workspace_disk(
        self, workspace_id: str, *, output_path: str | Path
    ) -> dict[str, Any]:
        """Make one raw ext4 image of everything the workspace shows; overwrites nothing."""
        from pyro_mcp.workspaces import disks

        return disks.export_disk(self._manager.workspaces, workspace_id, output_path).to_dict()
