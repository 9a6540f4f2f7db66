"""pyro for PydanticAI.

from pydantic_ai import Agent
from pyro_mcp.integrations.pydantic_ai import PyroToolset

toolset = PyroToolset(workspace={"environment": "debian:12"})
agent = Agent("openai:gpt-5.2", toolsets=[toolset])
async with agent:  # the workspace is made here, and deleted at the end
    await agent.run("Compile hello.c")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp.integrations.extras import needed
from pyro_mcp.integrations.session import Session

with needed("pydantic-ai"):
    from pydantic_ai import FunctionToolset, ModelRetry, Tool
    from pydantic_ai.exceptions import ToolFailed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Self

    from pyro_mcp.sdk.pyro import Pyro
    from pyro_mcp.tools.tool import Tool as Row

__all__ = ["PyroToolset", "Session"]

_CORRECTABLE = frozenset({"invalid_input", "unknown_environment"})
"""Retries are few, and one too many ends the run: they are for calls that could not be right."""
_INSTRUCTIONS = (
    "The tools below work in isolated Linux computers. A command that fails is a result: look at "
    "exit_code and stderr."
)


class PyroToolset(FunctionToolset[Any]):
    """The tools of a session, which begins and ends with `async with agent`, or with a run.

    Arguments that no tool could take are a `ModelRetry`: the model corrects them, as often as the
    agent allows. Everything else that goes wrong is a `ToolFailed`, which the model is told and
    which ends nothing. A run that is cancelled kills what it runs in a guest.

    Args:
        pyro: See `Session`, as the others.
        profile: Which tools.
        mode: A use case, with fewer tools, instead.
        workspace: An id, or what a new one is made from, or nothing.
        keep_workspaces: Delete nothing at the end.
        without: Names of tools to leave out.
        id: A name that is unique among the agent's toolsets.
        instructions: What the model is told about the tools; a sentence of ours when left out.
        options: Those of `pydantic_ai.FunctionToolset`, such as `max_retries`.
    """

    def __init__(
        self,
        pyro: Pyro | None = None,
        *,
        profile: str | None = "workspace-core",
        mode: str | None = None,
        workspace: str | Mapping[str, Any] | None = None,
        keep_workspaces: bool = False,
        without: Collection[str] = (),
        id: str = "pyro",
        instructions: str = _INSTRUCTIONS,
        **options: Any,
    ) -> None:
        self.session = Session(
            pyro,
            profile=profile,
            mode=mode,
            workspace=workspace,
            keep_workspaces=keep_workspaces,
            without=without,
        )
        self._entered = 0
        tools = [_tool(self.session, row) for row in self.session.tools]
        super().__init__(tools, id=id, instructions=instructions, **options)

    async def __aenter__(self) -> Self:
        # Each run enters the toolset too; the session is that of the outermost.
        self._entered += 1
        if self._entered == 1:
            try:
                await self.session.__aenter__()
            except BaseException:
                self._entered -= 1
                raise
        await super().__aenter__()
        return self

    async def __aexit__(self, *args: Any) -> bool | None:
        self._entered -= 1
        try:
            return await super().__aexit__(*args)
        finally:
            if self._entered == 0:
                await self.session.__aexit__(*args)


def _tool(session: Session, row: Row) -> Tool[Any]:
    async def call(**arguments: Any) -> dict[str, Any]:
        answer = await session.call_async(row.name, arguments)
        if answer.is_error:
            correctable = answer.structured["error"]["code"] in _CORRECTABLE
            raise (ModelRetry if correctable else ToolFailed)(answer.text)
        return answer.structured

    return Tool.from_schema(call, row.name, row.description, row.input_schema)
