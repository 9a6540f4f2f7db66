"""Tools about states of a workspace: saved, gone back to, copied."""

from __future__ import annotations

from pyro_mcp.tools.names import CORE, FULL
from pyro_mcp.tools.parameters import mapping, text
from pyro_mcp.tools.tool import Hints
from pyro_mcp.tools.workspaces import WORKSPACE_ID, workspace_tool

_NAME = text("snapshot_name", "Letters, digits, . _ -; up to 64")

CREATE = workspace_tool(
    "snapshot_create", "Save a snapshot",
    "Save the whole disk of a workspace under a name; workspace_reset goes back to it.",
    "create_snapshot", WORKSPACE_ID, _NAME,
    answer={"snapshot": "object"},
)  # fmt: skip

LIST = workspace_tool(
    "snapshot_list", "List snapshots",
    "List the snapshots of a workspace; baseline is how it began.",
    "list_snapshots", WORKSPACE_ID,
    answer={"snapshots": "array"}, hints=Hints(read_only=True),
)  # fmt: skip

DELETE = workspace_tool(
    "snapshot_delete", "Delete a snapshot",
    "Forget a named snapshot.",
    "delete_snapshot", WORKSPACE_ID, _NAME,
    answer={"deleted": "boolean"}, hints=Hints(destructive=True),
)  # fmt: skip

RESET = workspace_tool(
    "workspace_reset", "Go back to a snapshot",
    "Put a whole workspace back to a snapshot, or to how it began; "
    "later changes and the history of commands are lost.",
    "reset_workspace", WORKSPACE_ID, text("snapshot", "", "baseline"),
    profiles=(CORE, FULL), hints=Hints(destructive=True, idempotent=True), slow=True,
)  # fmt: skip

FORK = workspace_tool(
    "workspace_fork", "Copy a workspace",
    "Make a new workspace that begins as this one is now, or was at a snapshot, "
    "to try something without risk.",
    "fork_workspace", WORKSPACE_ID, text("snapshot", "", None), text("name", "", None),
    mapping("labels"),
    profiles=(CORE, FULL), slow=True,
)  # fmt: skip
