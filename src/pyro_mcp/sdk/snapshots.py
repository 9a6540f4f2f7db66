"""Public methods about snapshots, reset and fork."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyro_mcp.sdk.manager import VmManager


class SnapshotMethods:
    """See `Pyro`."""

    _manager: VmManager

    def create_snapshot(self, workspace_id: str, snapshot_name: str) -> dict[str, Any]:
        """Save everything a workspace changed, inside /workspace and outside."""
        from pyro_mcp.workspaces import snapshots

        return snapshots.create(self._manager.workspaces, workspace_id, snapshot_name).to_dict()

    def list_snapshots(self, workspace_id: str) -> dict[str, Any]:
        """The baseline, then the named snapshots, newest first."""
        from pyro_mcp.workspaces import snapshots

        return snapshots.list_all(self._manager.workspaces, workspace_id).to_dict()

    def delete_snapshot(self, workspace_id: str, snapshot_name: str) -> dict[str, Any]:
        """Forget a named snapshot."""
        from pyro_mcp.workspaces import snapshots

        return snapshots.delete(self._manager.workspaces, workspace_id, snapshot_name).to_dict()

    def reset_workspace(self, workspace_id: str, *, snapshot: str = "baseline") -> dict[str, Any]:
        """Put the whole computer back to a snapshot; the history is cleared."""
        from pyro_mcp.workspaces import snapshots

        return snapshots.reset(self._manager.workspaces, workspace_id, snapshot).to_dict()

    def fork_workspace(
        self,
        workspace_id: str,
        *,
        snapshot: str | None = None,
        name: str | None = None,
        labels: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """A new workspace that begins as this one is now, or was at `snapshot`."""
        from pyro_mcp.workspaces import snapshots

        return snapshots.fork(
            self._manager.workspaces,
            workspace_id,
            snapshot_name=snapshot,
            name=name,
            labels=labels,
        ).to_dict()
