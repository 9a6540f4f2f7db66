"""Tools about secrets of a workspace; no answer ever holds a value."""

from __future__ import annotations

from pyro_mcp.tools.parameters import text
from pyro_mcp.tools.tool import Hints
from pyro_mcp.tools.workspaces import WORKSPACE_ID, workspace_tool

_NAME = text("name", "Letters, digits, _; up to 64")

SET = workspace_tool(
    "secret_set", "Set a secret",
    "Give a workspace a secret, or an existing one a new value; secret_env of workspace_exec, "
    "shell_open and service_start passes it to a command. file_path is on the host.",
    "set_secret", WORKSPACE_ID, _NAME, text("value", "", None), text("file_path", "", None),
    answer={"workspace_id": "string"}, hints=Hints(destructive=True, idempotent=True),
)  # fmt: skip

LIST = workspace_tool(
    "secret_list", "List secrets",
    "List the names of a workspace's secrets.",
    "list_secrets", WORKSPACE_ID,
    answer={"secrets": "array"}, hints=Hints(read_only=True),
)  # fmt: skip

DELETE = workspace_tool(
    "secret_delete", "Delete a secret",
    "Remove a secret of a workspace.",
    "delete_secret", WORKSPACE_ID, _NAME,
    answer={"workspace_id": "string"}, hints=Hints(destructive=True),
)  # fmt: skip
