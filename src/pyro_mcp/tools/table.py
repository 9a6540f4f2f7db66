"""All tools, in the order they are announced in, and the sets that are offered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyro_mcp.errors import InvalidInputError
from pyro_mcp.tools import files, secrets, services, shells, snapshots, vms, workspaces
from pyro_mcp.tools.names import FULL, PROFILES

if TYPE_CHECKING:
    from pyro_mcp.tools.tool import Tool

TOOLS: tuple[Tool, ...] = (
    *vms.TOOLS,
    workspaces.CREATE, workspaces.LIST, workspaces.UPDATE, workspaces.EXEC, workspaces.PUSH,
    workspaces.STATUS, workspaces.STOP, workspaces.START, workspaces.LOGS, workspaces.EXPORT,
    files.DIFF, files.LIST, files.READ, files.SEARCH, files.WRITE, files.PATCH,
    files.DISK_EXPORT, files.DISK_LIST, files.DISK_READ,
    snapshots.CREATE, snapshots.LIST, snapshots.DELETE, snapshots.RESET, snapshots.FORK,
    shells.OPEN, shells.LIST, shells.READ, shells.WRITE, shells.SIGNAL, shells.RESIZE,
    shells.CLOSE,
    services.START, services.LIST, services.STATUS, services.LOGS, services.STOP,
    secrets.SET, secrets.LIST, secrets.DELETE, workspaces.NETWORK_LOG,
    workspaces.DELETE,
)  # fmt: skip

_ALWAYS = ("workspace_create", "workspace_exec", "workspace_file_list", "workspace_file_read")
MODES: dict[str, frozenset[str]] = {
    "repro-fix": frozenset({
        *_ALWAYS, "workspace_sync_push", "workspace_logs", "workspace_export", "workspace_diff",
        "workspace_file_search", "workspace_file_write", "workspace_patch_apply",
        "workspace_reset", "workspace_delete",
    }),
    "inspect": frozenset({
        *_ALWAYS, "workspace_logs", "workspace_file_search", "workspace_export",
        "workspace_delete",
    }),
    "cold-start": frozenset({
        *_ALWAYS, "workspace_logs", "workspace_export", "workspace_stop", "workspace_delete",
        "service_start", "service_status", "service_logs", "service_stop",
    }),
    "review": frozenset({
        *_ALWAYS, "workspace_diff", "workspace_file_write", "workspace_patch_apply",
        "workspace_export", "workspace_reset", "workspace_delete", "snapshot_create",
        "snapshot_list", "shell_open", "shell_read", "shell_write", "shell_signal",
        "shell_close",
    }),
}  # fmt: skip
"""Use case → the tools it needs, fewer than any profile with workspaces."""

PINNED_WITHOUT = frozenset(
    {"workspace_create", "workspace_list", "workspace_fork", "workspace_delete"}
)
"""What a session that is confined to one workspace has no use for."""


def tools_of(
    profile: str = FULL, *, mode: str | None = None, workspace_id: str | None = None
) -> tuple[Tool, ...]:
    """The tools of a profile, or of a mode, which then decides alone.

    With `workspace_id` none that reaches other workspaces is left, and the parameter of that name
    may be left out of a call.

    Raises:
        InvalidInputError: No profile or mode has that name.
    """
    if profile not in PROFILES:
        raise InvalidInputError(
            "profile", f"is {profile!r}", hint=f"Choose one of: {', '.join(PROFILES)}."
        )
    if mode is not None and mode not in MODES:
        raise InvalidInputError("mode", f"is {mode!r}", hint=f"Choose one of: {', '.join(MODES)}.")
    if mode is None:
        chosen = [tool for tool in TOOLS if profile in tool.profiles]
    else:
        chosen = [tool for tool in TOOLS if tool.name in MODES[mode]]
    if profile != FULL or mode is not None:
        chosen = [_narrowed(tool) for tool in chosen]
    if workspace_id is not None:
        chosen = [_pinned(tool, workspace_id) for tool in chosen if tool.name not in PINNED_WITHOUT]
    return tuple(chosen)


def _narrowed(tool: Tool) -> Tool:
    kept = tuple(one for one in tool.parameters if not one.full_only)
    return replace(tool, parameters=kept)


def _pinned(tool: Tool, workspace_id: str) -> Tool:
    changed = tuple(
        replace(one, default=workspace_id, schema={**one.schema, "enum": [workspace_id]})
        if one.name == "workspace_id"
        else one
        for one in tool.parameters
    )
    return replace(tool, parameters=changed)
