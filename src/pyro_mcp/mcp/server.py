"""The server: what it announces, who answers what, and how it is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import Server

from pyro_mcp import __version__
from pyro_mcp.mcp import prompts
from pyro_mcp.mcp.calls import Calls
from pyro_mcp.mcp.resources import Resources
from pyro_mcp.sdk.pyro import Pyro
from pyro_mcp.tools import VM_RUN, Toolset

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.mcp.http import Http
    from pyro_mcp.sdk.manager import VmManager
    from pyro_mcp.tools import Tool

NAME = "pyro_mcp"

_FIXED = CacheHint(ttl_ms=3_600_000)

_ONE_SHOT = (
    "Disposable Linux computers, isolated from the host and without network unless asked for. "
    "vm_run runs one command in a new one; nothing is kept."
)
_KEPT = (
    " For more than one step: workspace_create makes one that is kept, workspace_exec runs "
    "commands in it, workspace_diff shows what changed, workspace_delete removes it. Files are "
    "below /workspace. Paths called seed_path, source_path and output_path are on the host, and "
    "the only way between the two."
)
_PINNED = (
    "A Linux computer that is kept, workspace {}, isolated from the host: the tools work in it "
    "without a workspace_id. Files are below /workspace."
)


class PyroServer:
    """An MCP server over one `Pyro`. `run` serves it; `lowlevel` is the SDK's own server."""

    def __init__(
        self,
        pyro: Pyro,
        profile: str,
        *,
        mode: str | None = None,
        workspace_id: str | None = None,
        project_path: str | Path | None = None,
        project_gitignore: bool = False,
    ) -> None:
        """See `Toolset`, which takes the same."""
        self.pyro = pyro
        self.toolset = Toolset(
            pyro,
            profile,
            mode=mode,
            workspace_id=workspace_id,
            project_path=project_path,
            project_gitignore=project_gitignore,
        )
        self._calls = Calls(self.toolset)
        self._listed = types.ListToolsResult(tools=[_announced(one) for one in self.toolset.tools])
        self._recipes = prompts.offered([tool.name for tool in self.toolset.tools])
        one_shot = profile == VM_RUN and mode is None
        handlers: dict[str, Any] = {}
        if not one_shot:
            resources = Resources(pyro, workspace_id)
            handlers |= {
                "on_list_resources": resources.list,
                "on_list_resource_templates": resources.templates,
                "on_read_resource": resources.read,
            }
        if self._recipes:
            handlers |= {"on_list_prompts": self._list_prompts, "on_get_prompt": self._get_prompt}
        if workspace_id is not None:
            instructions = _PINNED.format(workspace_id)
        else:
            instructions = _ONE_SHOT + ("" if one_shot else _KEPT)
        self.lowlevel: Server[Any] = Server(
            NAME,
            version=__version__,
            title="pyro",
            instructions=instructions,
            # What a profile offers never changes while it is served.
            cache_hints={"tools/list": _FIXED, "prompts/list": _FIXED},
            on_list_tools=self._list_tools,
            on_call_tool=self._calls.handle,
            **handlers,
        )

    def run(self, transport: str = "stdio", *, http: Http | None = None) -> int:
        """Serve until the client goes or a signal says so; ends what is running, blocks.

        Args:
            transport: `stdio` or `streamable-http`.
            http: Where to listen, for the latter.

        Returns:
            0, or 128 + n after signal n.

        Raises:
            ValueError: There is no such transport.
            RuntimeError: The address cannot be listened on.
        """
        from pyro_mcp.mcp import serving

        return serving.run(self, transport, http)

    def interrupt(self) -> None:
        """Have running calls end soon; does not wait for them."""
        self._calls.trigger()

    def close(self) -> bool:
        """End running calls and remove this server's one-shot machines; workspaces stay.

        Returns:
            False if some call did not end in time.
        """
        ended = self._calls.end()
        self.pyro.close()
        return ended

    async def _list_tools(self, *_asked: object) -> types.ListToolsResult:
        return self._listed

    async def _list_prompts(self, *_asked: object) -> types.ListPromptsResult:
        return prompts.listed(self._recipes)

    async def _get_prompt(
        self, _asked: object, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        return prompts.filled(self._recipes, params)


def create_server(
    manager: VmManager | None = None, *, profile: str = "workspace-full"
) -> PyroServer:
    """An MCP server with the tools of a profile; its `run` serves it.

    Args:
        manager: What is to stand behind it; a new one when left out.
        profile: `vm-run`, `workspace-core` or `workspace-full`.

    Raises:
        ValueError: No profile has that name.
    """
    return PyroServer(Pyro(manager), profile)


def _announced(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=types.ToolAnnotations.model_validate(tool.hints.announced()),
    )
