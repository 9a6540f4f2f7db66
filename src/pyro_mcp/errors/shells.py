"""Errors about shells."""

from collections.abc import Sequence

from pyro_mcp.errors.base import PyroError


class UnknownShellError(PyroError, ValueError):
    """An id that no shell of the workspace has."""

    code = "unknown_shell"

    def __init__(self, workspace_id: str, shell_id: str, known: Sequence[str]) -> None:
        super().__init__(
            f"Workspace {workspace_id} has no shell {shell_id!r}.",
            hint=f"It has: {', '.join(known) or 'none'}. A shell is gone once it was closed, or "
            "its workspace was stopped or reset.",
        )


class ShellEndedError(PyroError, RuntimeError):
    """The shell's program has ended: what it wrote can be read, nothing can be typed."""

    code = "shell_ended"

    def __init__(self, shell_id: str) -> None:
        super().__init__(
            f"The shell {shell_id} has ended.",
            hint="Read what it wrote last, close it, and open another one.",
        )


class ShellInputError(PyroError, RuntimeError):
    """The terminal did not take all of what was to be typed; the first `taken` bytes it did."""

    code = "shell_input"

    def __init__(self, shell_id: str, why: str, *, taken: int, given: int) -> None:
        super().__init__(
            f"The shell {shell_id} took {taken} of {given} bytes: {why}.",
            hint="Go on after those bytes once the program reads again, or interrupt it with the "
            "signal INT. A file is the better way for much input.",
        )
        self.taken = taken


class ShellLimitError(PyroError, RuntimeError):
    """A workspace has as many shells as it can."""

    code = "shell_limit"

    def __init__(self, workspace_id: str, limit: int) -> None:
        super().__init__(
            f"Workspace {workspace_id} has {limit} shells, and can have no more.",
            hint="Close one first: those that have ended count until they are closed.",
        )
