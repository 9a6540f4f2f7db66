"""pyro as plain Python functions, for any framework that makes tools from functions.

    from pyro_mcp.integrations.callables import Session, functions

    with Session(workspace={"environment": "debian:12"}) as session:
        tools = {function.__name__: function for function in functions(session)}
        tools["workspace_exec"](command="cc -o hello hello.c")

Each has a signature, type hints and a docstring in Google style, from which frameworks derive what
they tell the model. An error is raised as it is in `Pyro`, with a message that is fit for a model.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

from pyro_mcp.errors.integrations import ToolCallError
from pyro_mcp.integrations.session import Session
from pyro_mcp.sdk.cancel import Cancel
from pyro_mcp.tools.parameters import kinds_of

if TYPE_CHECKING:
    from pyro_mcp.tools.parameters import Parameter, Schema
    from pyro_mcp.tools.tool import Tool
    from pyro_mcp.tools.toolset import Answer

    Result = dict[str, Any]

__all__ = ["Session", "async_functions", "functions"]

_TYPES: dict[str, Any] = {
    "string": str, "integer": int, "number": float, "boolean": bool, "null": None,
}  # fmt: skip


def functions(session: Session) -> list[Callable[..., dict[str, Any]]]:
    """A function for each tool of a session, which is not closed here.

    Each returns the tool's answer, and raises `ToolCallError` where there is none.
    """
    return [_function(session, tool) for tool in session.tools]


def async_functions(session: Session) -> list[Callable[..., Awaitable[dict[str, Any]]]]:
    """The same as coroutine functions; one that is cancelled ends what it runs in a guest."""
    return [_async_function(session, tool) for tool in session.tools]


def _function(session: Session, tool: Tool) -> Callable[..., Result]:
    signature = _signature(tool)

    def call(*given: Any, **named: Any) -> Result:
        arguments = signature.bind(*given, **named).arguments
        cancel = Cancel()

        def work() -> Answer:
            return session.call(tool.name, arguments, cancel=cancel)

        try:
            return _result(session.in_turn(work, call=tool.name, arguments=arguments).result())
        except KeyboardInterrupt:
            cancel.trigger()
            raise

    _describe(call, tool, signature)
    return call


def _async_function(session: Session, tool: Tool) -> Callable[..., Awaitable[Result]]:
    signature = _signature(tool)

    async def call(*given: Any, **named: Any) -> Result:
        arguments = signature.bind(*given, **named).arguments
        return _result(await session.call_async(tool.name, arguments))

    _describe(call, tool, signature)
    return call


def _result(answer: Answer) -> Result:
    if answer.is_error:
        error = answer.structured["error"]
        raise ToolCallError(error["code"], error["message"], hint=error["hint"])
    return answer.structured


def _describe(function: Any, tool: Tool, signature: inspect.Signature) -> None:
    function.__name__ = function.__qualname__ = tool.name
    function.__doc__ = _docstring(tool)
    function.__signature__ = signature
    function.__annotations__ = {
        **{one.name: one.annotation for one in signature.parameters.values()},
        "return": signature.return_annotation,
    }


def _signature(tool: Tool) -> inspect.Signature:
    # What must be given comes first, as Python wants it.
    ordered = sorted(tool.parameters, key=lambda one: not one.required)
    return inspect.Signature([_parameter(one) for one in ordered], return_annotation=dict[str, Any])


def _parameter(one: Parameter) -> inspect.Parameter:
    return inspect.Parameter(
        one.name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=inspect.Parameter.empty if one.required else one.default,
        annotation=_annotation(one.schema),
    )


def _annotation(schema: Schema) -> Any:
    found: Any = None
    for number, kind in enumerate(kinds_of(schema)):
        if kind == "string" and "enum" in schema:
            one: Any = Literal[tuple(value for value in schema["enum"] if value is not None)]
        elif kind == "array":
            one = list[_annotation(schema["items"])]  # type: ignore[misc]  # made at run time
        elif kind == "object":
            one = dict[str, _annotation(schema["additionalProperties"])]  # type: ignore[misc]
        else:
            one = _TYPES[kind]
        found = one if number == 0 else found | one
    return found


def _docstring(tool: Tool) -> str:
    lines = [tool.description]
    if tool.parameters:
        ordered = sorted(tool.parameters, key=lambda one: not one.required)
        lines += ["", "Args:", *(f"    {one.name}: {_about(one)}" for one in ordered)]
    return "\n".join([*lines, "", "Returns:", f"    An object with {', '.join(tool.answer)}."])


def _about(one: Parameter) -> str:
    about = one.schema.get("description") or one.name.replace("_", " ").capitalize()
    return f"{about.rstrip('.')}."
