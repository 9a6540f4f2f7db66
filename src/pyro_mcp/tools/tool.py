"""What a tool is: a row of the table that every tool surface is a projection of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pyro_mcp.tools.parameters import Parameter, input_schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyro_mcp.sdk.cancel import Cancel
    from pyro_mcp.sdk.pyro import Pyro
    from pyro_mcp.tools.parameters import Schema

    OnOutput = Callable[[str, bytes], None]
    OnProgress = Callable[[str, float | None], None]


@dataclass(frozen=True, kw_only=True)
class Context:
    """What surrounds a call; every part may be missing."""

    cancel: Cancel | None = None
    """Triggered from another thread, it ends the guest's command and with it the call."""
    on_output: OnOutput | None = None
    """Gets the command's output as it comes: "stdout" or "stderr", and bytes."""
    on_progress: OnProgress | None = None
    """Gets the phases of slow work and how much of each is done, 0 to 1."""
    project_path: Path | None = None
    """What a workspace begins with when its call names no seed."""
    project_gitignore: bool = False
    """Leave behind what the project's `.gitignore` files name."""

    def tell(self, phase: str, fraction: float | None = None) -> None:
        """Report the phase of slow work."""
        if self.on_progress is not None:
            self.on_progress(phase, fraction)


class Handler(Protocol):
    """Carries out a call whose arguments have been checked."""

    def __call__(self, pyro: Pyro, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
        """The answer: one JSON object."""


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What a host may want to know before it lets a model call a tool: MCP's annotations."""

    read_only: bool = False
    destructive: bool = False
    """Something may be lost; of changes only."""
    idempotent: bool = False
    """Calling it again with the same arguments changes nothing more."""
    open_world: bool = False
    """Reaches what is outside of the guest, such as the internet."""

    def announced(self) -> dict[str, bool]:
        """What differs from what MCP lets a host assume: every tool's bytes count."""
        said = {"openWorldHint": False} if not self.open_world else {}
        if self.read_only:
            return {"readOnlyHint": True, **said}
        if not self.destructive:
            said["destructiveHint"] = False
        if self.idempotent:
            said["idempotentHint"] = True
        return said


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One tool."""

    name: str
    title: str
    description: str
    """For a model that has read nothing else: purpose, units, limits, what to do next."""
    parameters: tuple[Parameter, ...]
    answer: dict[str, str]
    """The fields of its answer that matter most, with their JSON types (`?` appended: or null)."""
    profiles: tuple[str, ...]
    hints: Hints
    method: str
    """The method of `Pyro` behind it."""
    handler: Handler | None = field(default=None, repr=False)
    """For what is more than calling that method with the arguments."""
    slow: bool = False
    """May take longer than a host waits in silence."""

    @property
    def input_schema(self) -> Schema:
        """JSON schema of its arguments."""
        return input_schema(self.parameters)

    @property
    def output_schema(self) -> Schema:
        """JSON schema of its answer; answers may have more fields."""
        properties = {}
        for name, kind in self.answer.items():
            plain = kind.removesuffix("?")
            properties[name] = {"type": plain if plain == kind else [plain, "null"]}
        return {"type": "object", "properties": properties}

    def invoke(self, pyro: Pyro, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
        """Carry out a call whose arguments have been checked."""
        if self.handler is not None:
            return self.handler(pyro, arguments, context)
        answer: dict[str, Any] = getattr(pyro, self.method)(**arguments)
        return answer
