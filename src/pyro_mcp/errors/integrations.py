"""Errors of the ways into agent frameworks."""

from pyro_mcp.errors.base import PyroError


class MissingExtraError(PyroError, ImportError):
    """An integration was imported without the packages that its extra of pyro installs."""

    code = "missing_extra"

    def __init__(self, extra: str, missing: str) -> None:
        super().__init__(
            f"This integration needs {missing!r}, which is not installed, or in a version that "
            "does not fit.",
            hint=f"pip install 'pyro-mcp[{extra}]'",
        )
        self.extra = extra


class ToolCallError(PyroError, RuntimeError):
    """What a tool's error object says, for who calls the tool as a function; `code` is its code."""

    code = "tool_call"

    def __init__(self, code: str, problem: str, *, hint: str) -> None:
        super().__init__(problem, hint=hint)
        self.code = code  # type: ignore[misc]  # the one error that passes another's code on
