"""Tools of the Responses API: how they are announced, and what answers their calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyro_mcp.errors import InvalidInputError
from pyro_mcp.integrations import workbench
from pyro_mcp.integrations.session import Session, as_object, compact
from pyro_mcp.sdk.cancel import Cancel
from pyro_mcp.tools.names import CORE
from pyro_mcp.tools.strict import strict_schema
from pyro_mcp.tools.table import tools_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from pyro_mcp.tools.tool import Tool

    Item = dict[str, Any]

_FUNCTION, _SHELL, _PATCH = "function_call", "shell_call", "apply_patch_call"


def tool_definitions(profile: str = CORE, *, mode: str | None = None) -> list[Item]:
    """A profile's tools as the Responses API takes them, with strict schemas.

    Raises:
        ValueError: No profile or mode has that name.
    """
    return _definitions(tools_of(profile, mode=mode))


class ResponsesTools:
    """The tools of a session for the Responses API.

    Args:
        session: Owns what the tools work on; it is not closed here.
        shell: Also the API's own `shell` tool, in the session's workspace.
        apply_patch: Also the API's own `apply_patch` tool, on the files of that workspace.

    Raises:
        ValueError: `shell` or `apply_patch` without a workspace of the session.
    """

    def __init__(self, session: Session, *, shell: bool = False, apply_patch: bool = False) -> None:
        if shell or apply_patch:
            session.require_workspace("shell" if shell else "apply_patch")
        self.session = session
        self.definitions = _definitions(session.tools)
        if shell:
            self.definitions.append({"type": "shell", "environment": {"type": "local"}})
        if apply_patch:
            self.definitions.append({"type": "apply_patch"})

    def dispatch(self, item: object, *, cancel: Cancel | None = None) -> Item | None:
        """Carry out what an item of a response's output asks for.

        Args:
            item: As the client gave it, or as a dict.
            cancel: Ends the call from another thread; the result then says so.

        Returns:
            The item to send back; None for an item that asks for nothing, such as a message.
            What goes wrong is told to the model in that item.
        """
        call = as_dict(item)
        kind = call.get("type")
        if kind == _FUNCTION:
            return self._function(call, cancel)
        if kind == _SHELL:
            return self._shell(call, cancel)
        if kind == _PATCH:
            return self._patch(call)
        return None

    def submit(self, item: object, *, cancel: Cancel | None = None) -> Future[Item | None]:
        """The same in a thread; calls for one workspace keep the order they are submitted in."""
        call = as_dict(item)

        def work() -> Item | None:
            return self.dispatch(call, cancel=cancel)

        if call.get("type") != _FUNCTION:
            return self.session.in_turn(work)
        arguments = as_object(str(call.get("arguments"))) or {}
        return self.session.in_turn(work, call=str(call.get("name")), arguments=arguments)

    async def dispatch_async(self, item: object) -> Item | None:
        """The same; what runs in a guest ends with the task that waits."""
        cancel = Cancel()
        return await self.session.end_with(cancel, self.submit(item, cancel=cancel))

    def _function(self, call: Item, cancel: Cancel | None) -> Item:
        answer = self.session.call_json(
            str(call.get("name")), str(call.get("arguments")), cancel=cancel
        )
        return {
            "type": "function_call_output",
            "call_id": call.get("call_id"),
            "output": compact(answer.structured),
        }

    def _shell(self, call: Item, cancel: Cancel | None) -> Item:
        action = call.get("action")
        asked = action if isinstance(action, Mapping) else {}
        length = asked.get("max_output_length")
        ran = workbench.run_commands(
            self.session,
            [str(one) for one in asked.get("commands") or ()],
            timeout_ms=asked.get("timeout_ms"),
            max_output_length=length,
            cancel=cancel,
        )
        result: Item = {
            "type": "shell_call_output",
            "call_id": call.get("call_id"),
            "output": [
                {"stdout": one.stdout, "stderr": one.stderr, "outcome": _outcome(one.exit_code)}
                for one in ran
            ],
        }
        return result if length is None else {**result, "max_output_length": length}

    def _patch(self, call: Item) -> Item:
        operation = call.get("operation")
        asked = operation if isinstance(operation, Mapping) else {}
        edited = workbench.edit_file(
            self.session, str(asked.get("type")), str(asked.get("path")), asked.get("diff")
        )
        return {
            "type": "apply_patch_call_output",
            "call_id": call.get("call_id"),
            "status": "completed" if edited.completed else "failed",
            "output": edited.output,
        }


def as_dict(item: object) -> Item:
    """An item of the API in the form that it is sent back in.

    Raises:
        InvalidInputError: It is none.
    """
    if isinstance(item, Mapping):
        return dict(item)
    dump = getattr(item, "model_dump", None)
    if dump is None:
        raise InvalidInputError(
            "item", f"is {type(item).__name__}", hint="Give an item of a response's output."
        )
    dumped: Item = dump(mode="json", exclude_none=True)
    return dumped


def _definitions(tools: Iterable[Tool]) -> list[Item]:
    return [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": strict_schema(tool),
            "strict": True,
        }
        for tool in tools
    ]


def _outcome(exit_code: int | None) -> Item:
    return {"type": "timeout"} if exit_code is None else {"type": "exit", "exit_code": exit_code}
