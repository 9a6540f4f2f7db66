"""Public methods about secrets: private values of a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.sdk.manager import VmManager


class SecretMethods:
    """See `Pyro`. Answers have names, never values."""

    _manager: VmManager

    def set_secret(
        self,
        workspace_id: str,
        name: str,
        *,
        value: str | None = None,
        file_path: str | Path | None = None,
    ) -> dict[str, Any]:
        """Add a secret or give it another value, in a running workspace at once.

        Commands that run already keep the variables they were started with; both values are
        redacted until the workspace starts anew.

        Args:
            workspace_id: Which.
            name: Letters, digits and `_`, at most 64, not beginning with a digit.
            value: The value, or
            file_path: a UTF-8 file of this host that has it, taken as it is.

        Raises:
            ValueError: Name or value cannot be used; nothing was changed.
            RuntimeError: The guest could not take it; nothing was changed.
        """
        from pyro_mcp.workspaces import secrets

        return secrets.set_secret(
            self._manager.workspaces, workspace_id, name, value=value, file_path=file_path
        ).to_dict()

    def list_secrets(self, workspace_id: str) -> dict[str, Any]:
        """The secrets of a workspace, by name."""
        from pyro_mcp.workspaces import secrets

        return secrets.list_secrets(self._manager.workspaces, workspace_id).to_dict()

    def delete_secret(self, workspace_id: str, name: str) -> dict[str, Any]:
        """Forget a secret, in a running workspace at once.

        Raises:
            ValueError: The workspace has none of that name.
        """
        from pyro_mcp.workspaces import secrets

        return secrets.delete_secret(self._manager.workspaces, workspace_id, name).to_dict()
