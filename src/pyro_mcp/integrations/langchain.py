"""pyro for LangChain.

from langchain.agents import create_agent
from pyro_mcp.integrations.langchain import PyroToolkit

with PyroToolkit(workspace={"environment": "debian:12"}) as toolkit:
    agent = create_agent("openai:gpt-5.2", toolkit.get_tools())
    agent.invoke({"messages": [("user", "Compile hello.c")]})
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pyro_mcp.integrations.extras import needed
from pyro_mcp.integrations.session import Session, text_of
from pyro_mcp.sdk.cancel import Cancel

with needed("langchain"):
    from langchain_core.tools import BaseTool, ToolException
    from langchain_core.tools.base import ArgsSchema, BaseToolkit
    from pydantic import ConfigDict, Field, PrivateAttr

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Self

    from pyro_mcp.sdk.pyro import Pyro
    from pyro_mcp.tools.tool import Tool
    from pyro_mcp.tools.toolset import Answer

__all__ = ["PyroTool", "PyroToolkit", "Session"]


class PyroTool(BaseTool):
    """One tool of a session.

    The model gets the answer as JSON text, the program as the message's `artifact`; what goes
    wrong is a message with the status `error`. A task that is cancelled ends its call, and what
    that runs in a guest.

    Args:
        session: Owns what the tool works on; it is not closed here.
        name: The tool's; see `Session.tools`.

    Raises:
        ValueError: The session has no tool of that name.
    """

    args_schema: ArgsSchema | None = Field(default=None)
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: Any = True
    _session: Session = PrivateAttr()

    def __init__(self, session: Session, name: str, **options: Any) -> None:
        tool = session.find(name)
        given = {"name": name, "description": tool.description, "args_schema": tool.input_schema}
        super().__init__(**{**given, "metadata": _metadata(tool), **options})
        self._session = session

    def _run(self, **arguments: Any) -> tuple[str, dict[str, Any]]:
        session, name, cancel = self._session, self.name, Cancel()

        def work() -> Answer:
            return session.call(name, arguments, cancel=cancel)

        try:
            return _said(session.in_turn(work, call=name, arguments=arguments).result())
        except KeyboardInterrupt:
            cancel.trigger()
            raise

    async def _arun(self, **arguments: Any) -> tuple[str, dict[str, Any]]:
        return _said(await self._session.call_async(self.name, arguments))


class PyroToolkit(BaseToolkit):
    """All tools of a session, which begins and ends with the toolkit's `with` or `async with`.

    Takes what `Session` takes.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    session: Session = Field(exclude=True)

    def __init__(
        self,
        pyro: Pyro | None = None,
        *,
        profile: str | None = "workspace-core",
        mode: str | None = None,
        workspace: str | Mapping[str, Any] | None = None,
        keep_workspaces: bool = False,
        without: Collection[str] = (),
    ) -> None:
        session = Session(
            pyro,
            profile=profile,
            mode=mode,
            workspace=workspace,
            keep_workspaces=keep_workspaces,
            without=without,
        )
        super().__init__(session=session)  # type: ignore[call-arg]  # pydantic's own signature

    def get_tools(self) -> list[BaseTool]:
        """One tool for each of the session's."""
        return [PyroTool(self.session, tool.name) for tool in self.session.tools]

    def close(self) -> None:
        """End the session."""
        self.session.close()

    def __enter__(self) -> Self:
        self.session.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.session.close()

    async def __aenter__(self) -> Self:
        await self.session.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.session.__aexit__(*exc_info)


def _metadata(tool: Tool) -> dict[str, Any]:
    return {"read_only": tool.hints.read_only, "destructive": tool.hints.destructive}


def _said(answer: Answer) -> tuple[str, dict[str, Any]]:
    if answer.is_error:
        raise ToolException(answer.text)
    return text_of(answer), answer.structured
