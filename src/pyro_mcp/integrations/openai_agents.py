"""pyro for the OpenAI Agents SDK.

from agents import Agent, Runner
from pyro_mcp.integrations.openai_agents import Session, function_tools

async with Session(workspace={"environment": "debian:12"}) as session:
    agent = Agent(name="builder", tools=function_tools(session))
    result = await Runner.run(agent, "Compile hello.c")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pyro_mcp.integrations import workbench
from pyro_mcp.integrations.extras import needed
from pyro_mcp.integrations.session import Session, text_of
from pyro_mcp.sdk.cancel import Cancel
from pyro_mcp.tools.strict import strict_schema

with needed("openai-agents"):
    from agents import (
        ApplyPatchOperation,
        ApplyPatchResult,
        ApplyPatchTool,
        FunctionTool,
        ShellCallOutcome,
        ShellCommandOutput,
        ShellCommandRequest,
        ShellResult,
        ShellTool,
    )

if TYPE_CHECKING:
    from agents.tool_context import ToolContext

    from pyro_mcp.tools.tool import Tool

__all__ = ["Session", "WorkspaceEditor", "apply_patch_tool", "function_tools", "shell_tool"]


def function_tools(session: Session, *, needs_approval: bool = False) -> list[FunctionTool]:
    """The tools of a session for an agent.

    Errors are results: the model sees the message, and what to do. A run that is cancelled, and a
    `timeout_seconds` that is set on a tool, kill the command in the guest.

    Args:
        session: Owns what the tools work on; it is not closed here.
        needs_approval: Each call that may lose something is first shown to a person.
    """
    return [_function_tool(session, tool, needs_approval) for tool in session.tools]


def shell_tool(session: Session, **options: Any) -> ShellTool:
    """The API's own `shell` tool, run in the session's workspace.

    `options` are those of `agents.ShellTool`, such as `needs_approval`.

    Raises:
        ValueError: The session has no workspace.
    """
    session.require_workspace("shell")

    async def execute(request: ShellCommandRequest) -> ShellResult:
        action, cancel = request.data.action, Cancel()

        def work() -> list[workbench.Ran]:
            return workbench.run_commands(
                session,
                action.commands,
                timeout_ms=action.timeout_ms,
                max_output_length=action.max_output_length,
                cancel=cancel,
            )

        ran = await session.end_with(cancel, session.in_turn(work))
        return ShellResult(
            output=[
                ShellCommandOutput(
                    stdout=one.stdout, stderr=one.stderr, outcome=_outcome(one), command=one.command
                )
                for one in ran
            ],
            max_output_length=action.max_output_length,
        )

    return ShellTool(executor=execute, **options)


def apply_patch_tool(session: Session, **options: Any) -> ApplyPatchTool:
    """The API's own `apply_patch` tool, on the files of the session's workspace.

    `options` are those of `agents.ApplyPatchTool`, such as `needs_approval`.

    Raises:
        ValueError: The session has no workspace.
    """
    return ApplyPatchTool(editor=WorkspaceEditor(session), **options)


class WorkspaceEditor:
    """An `agents.ApplyPatchEditor` for the files of the session's workspace."""

    def __init__(self, session: Session) -> None:
        session.require_workspace("apply_patch")
        self._session = session

    async def create_file(self, operation: ApplyPatchOperation) -> ApplyPatchResult:
        """Make a file that is not there."""
        return await self._edit(operation)

    async def update_file(self, operation: ApplyPatchOperation) -> ApplyPatchResult:
        """Change a file, and move it if the operation says so."""
        return await self._edit(operation)

    async def delete_file(self, operation: ApplyPatchOperation) -> ApplyPatchResult:
        """Remove a file."""
        return await self._edit(operation)

    async def _edit(self, operation: ApplyPatchOperation) -> ApplyPatchResult:
        def work() -> workbench.Edited:
            return workbench.edit_file(
                self._session,
                operation.type,
                operation.path,
                operation.diff,
                move_to=operation.move_to,
            )

        edited = await self._session.end_with(Cancel(), self._session.in_turn(work))
        status: Literal["completed", "failed"] = "completed" if edited.completed else "failed"
        return ApplyPatchResult(status=status, output=edited.output)


def _function_tool(session: Session, tool: Tool, needs_approval: bool) -> FunctionTool:
    async def invoke(_context: ToolContext[Any], arguments: str) -> str:
        answer = await session.call_json_async(tool.name, arguments)
        return text_of(answer)

    return FunctionTool(
        name=tool.name,
        description=tool.description,
        params_json_schema=strict_schema(tool),
        on_invoke_tool=invoke,
        needs_approval=needs_approval and tool.hints.destructive,
    )


def _outcome(ran: workbench.Ran) -> ShellCallOutcome:
    if ran.exit_code is None:
        return ShellCallOutcome(type="timeout")
    return ShellCallOutcome(type="exit", exit_code=ran.exit_code)
