"""A set of tools over one `Pyro`: what a surface offers, and how it carries out a call.

Whatever happens, a call has an answer: a mistake of the caller, a failure of the host and a fault
of pyro's own all become `{"error": {"code", "message", "hint"}}`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pyro_mcp.errors import InvalidInputError, PyroError, UnknownToolError
from pyro_mcp.tools import bounds
from pyro_mcp.tools.names import FULL
from pyro_mcp.tools.parameters import checked
from pyro_mcp.tools.table import tools_of
from pyro_mcp.tools.tool import Context

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pyro_mcp.sdk.pyro import Pyro
    from pyro_mcp.tools.tool import Tool

_LOG = logging.getLogger("pyro_mcp.tools")


@dataclass(frozen=True)
class Answer:
    """What a call came to, in two forms that each say everything."""

    structured: dict[str, Any]
    """The answer, or `{"error": {"code", "message", "hint"}}`."""
    is_error: bool = False

    @property
    def text(self) -> str:
        """The same as text: JSON, or sentences when it is an error."""
        if self.is_error:
            error = self.structured["error"]
            return f"[{error['code']}] {error['message']} {error['hint']}"
        import json

        return json.dumps(self.structured, indent=2, ensure_ascii=False)


class Toolset:
    """The tools of a profile or mode, over one `Pyro`; safe to use from several threads."""

    def __init__(
        self,
        pyro: Pyro,
        profile: str = FULL,
        *,
        mode: str | None = None,
        workspace_id: str | None = None,
        project_path: str | Path | None = None,
        project_gitignore: bool = False,
    ) -> None:
        """Choose the tools.

        Args:
            pyro: Carries out the calls.
            profile: `vm-run`, `workspace-core` or `workspace-full`.
            mode: A use case instead: see `table.MODES`.
            workspace_id: Confine the tools to this one workspace, whose id calls may leave out.
            project_path: Host directory that a new workspace begins with, if its call names none.
            project_gitignore: Leave behind what its `.gitignore` files name.

        Raises:
            ValueError: No profile or mode has that name, or the project is no directory.
        """
        self.pyro = pyro
        self.tools = tools_of(profile, mode=mode, workspace_id=workspace_id)
        self._by_name = {tool.name: tool for tool in self.tools}
        self._context = Context(
            project_path=None if project_path is None else _directory(project_path),
            project_gitignore=project_gitignore,
        )

    def find(self, name: str) -> Tool:
        """The tool of that name.

        Raises:
            UnknownToolError: There is none in this set.
        """
        if name not in self._by_name:
            raise UnknownToolError(name, [*self._by_name])
        return self._by_name[name]

    def call(
        self, name: str, arguments: Mapping[str, Any] | None = None, context: Context | None = None
    ) -> Answer:
        """Carry out one call; blocks until it is done, and never raises an `Exception`.

        `context` gives what belongs to this call alone: cancellation, and who hears of output
        and progress.
        """
        around = replace(
            context or self._context,
            project_path=self._context.project_path,
            project_gitignore=self._context.project_gitignore,
        )
        try:
            tool = self.find(name)
            values = checked(tool.parameters, arguments or {})
            return Answer(bounds.sendable(tool.invoke(self.pyro, values, around)))
        except PyroError as error:
            return failure(error)
        except Exception as error:  # noqa: BLE001 - told to the caller, and logged where it was
            _LOG.exception("The tool %s failed", name)
            return failure(error)


def failure(error: Exception) -> Answer:
    """An error as the answer to a call."""
    if isinstance(error, PyroError):
        code, message, hint = error.code, error.problem, error.hint
    else:
        code, message = "internal", f"{type(error).__name__}: {error}"
        hint = "This is a fault in pyro; please report it with what the server logged."
    return Answer(
        bounds.sendable({"error": {"code": code, "message": message, "hint": hint}}), is_error=True
    )


def _directory(path: str | Path) -> Path:
    from pathlib import Path

    directory = Path(path).expanduser().absolute()
    if not directory.is_dir():
        raise InvalidInputError(
            "project_path", f"{str(path)!r} is no directory", hint="Give one of this host."
        )
    return directory
