"""Resources: what is in workspaces, as `pyro://workspace/ID/PATH`."""

from __future__ import annotations

import base64
import json
import mimetypes
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import anyio.to_thread
import mcp_types as types
from mcp.shared.exceptions import MCPError

from pyro_mcp.errors import PyroError
from pyro_mcp.tools import bounds

if TYPE_CHECKING:
    from pyro_mcp.sdk.pyro import Pyro

SCHEME = "pyro://workspace/"
TEMPLATE = SCHEME + "{workspace_id}/{+path}"
LISTED = 100
"""Workspaces in a listing, those last used."""
READ_BYTES = 1024 * 1024
"""Of one file; larger ones are read with workspace_file_read."""
_LISTING = "application/json"


class Resources:
    """Workspace files of one `Pyro`, or those of one workspace alone."""

    def __init__(self, pyro: Pyro, workspace_id: str | None) -> None:
        self._pyro = pyro
        self._only = workspace_id

    async def list(self, *_asked: object) -> types.ListResourcesResult:
        """Answer `resources/list`: the top directory of each workspace; starts none of them."""
        found = await anyio.to_thread.run_sync(self._pyro.list_workspaces)
        return types.ListResourcesResult(
            resources=[
                _directory(one)
                for one in found["workspaces"][:LISTED]
                if self._only in (None, one["workspace_id"])
            ]
        )

    async def templates(self, *_asked: object) -> types.ListResourceTemplatesResult:
        """Answer `resources/templates/list`."""
        template = types.ResourceTemplate(
            name="workspace-file",
            title="File or directory of a workspace",
            uri_template=TEMPLATE,
            description="A file's content up to 1 MiB, or what a directory has.",
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read(
        self, _asked: object, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """Answer `resources/read`; starts a stopped workspace."""
        uri = str(params.uri)
        workspace_id, path = self._place(uri)
        try:
            content = await anyio.to_thread.run_sync(self._read, uri, workspace_id, path)
        except PyroError as error:
            raise MCPError(
                types.INVALID_PARAMS, str(error), {"uri": uri, "code": error.code}
            ) from (error)
        return types.ReadResourceResult(contents=[content])

    def _place(self, uri: str) -> tuple[str, str]:
        workspace_id, _, path = uri.removeprefix(SCHEME).partition("/")
        if not uri.startswith(SCHEME) or not workspace_id:
            raise MCPError(
                types.INVALID_PARAMS, f"No resource is named {uri!r}. Use {TEMPLATE}.", {"uri": uri}
            )
        if self._only not in (None, workspace_id):
            raise MCPError(
                types.INVALID_PARAMS,
                f"This server has workspace {self._only} alone, not {workspace_id}.",
                {"uri": uri},
            )
        return workspace_id, unquote(path) or "."

    def _read(
        self, uri: str, workspace_id: str, path: str
    ) -> types.TextResourceContents | types.BlobResourceContents:
        if path.strip("./") == "" or (
            self._pyro.stat_workspace_file(workspace_id, path)["artifact_type"] == "directory"
        ):
            entries = self._pyro.list_workspace_files(workspace_id, path=path)["entries"]
            return types.TextResourceContents(
                uri=uri, mime_type=_LISTING, text=_listing(workspace_id, entries)
            )
        data = self._pyro.read_workspace_file_bytes(workspace_id, path, length=READ_BYTES + 1)
        if len(data) > READ_BYTES:
            raise MCPError(
                types.INVALID_PARAMS,
                f"{path!r} is larger than 1 MiB. Read it in parts with workspace_file_read.",
                {"uri": uri},
            )
        kind = mimetypes.guess_type(path)[0]
        try:
            text = data.decode()
        except UnicodeDecodeError:
            blob = base64.b64encode(data).decode()
            return types.BlobResourceContents(
                uri=uri, mime_type=kind or "application/octet-stream", blob=blob
            )
        return types.TextResourceContents(uri=uri, mime_type=kind or "text/plain", text=text)


def _directory(workspace: dict[str, Any]) -> types.Resource:
    workspace_id = workspace["workspace_id"]
    name = workspace["name"]
    return types.Resource(
        name=name or workspace_id,
        title=f"Workspace {workspace_id}" + (f" ({name})" if name else ""),
        uri=f"{SCHEME}{workspace_id}/",
        description=f"What /workspace has; {workspace['environment']}, {workspace['state']}.",
        mime_type=_LISTING,
    )


def _listing(workspace_id: str, entries: list[dict[str, Any]]) -> str:
    shown = []
    for entry in entries[: bounds.ENTRIES]:
        relative = entry["path"].removeprefix("/workspace/")
        uri = f"{SCHEME}{workspace_id}/{quote(relative, errors='surrogateescape')}"
        shown.append({**entry, "uri": uri})
    whole = {"entries": shown, "entries_left_out": max(0, len(entries) - bounds.ENTRIES)}
    return json.dumps(bounds.sendable(whole), ensure_ascii=False, indent=2)
