"""Which engine runs a guest on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp.engines.uml import engines
from pyro_mcp.errors import InvalidInputError, NoEngineError, ToolMissingError
from pyro_mcp.jail.bubblewrap import find_tool

if TYPE_CHECKING:
    from pyro_mcp.engines.base import Engine


class Tools(NamedTuple):
    """The host's programs that a start needs, as full paths."""

    bwrap: str
    setarch: str


def choose_engine(name: str | None = None) -> Engine:
    """The best engine that can run here, or the one asked for by name.

    Raises:
        InvalidInputError: No engine has that name.
        NoEngineError: None can run here; says why for each.
    """
    known = engines()
    if name is not None and name not in {engine.name for engine in known}:
        names = ", ".join(engine.name for engine in known)
        raise InvalidInputError("backend_name", f"is {name!r}", hint=f"Known engines: {names}.")
    reasons = []
    for engine in known:
        if name is not None and engine.name != name:
            continue
        found = engine.available()
        if found.ok:
            return engine
        reasons.append(f"{engine.name}: {found.reason} ({found.remedy})")
    raise NoEngineError(reasons)


def find_tools() -> Tools:
    """The programs a jail needs.

    Raises:
        ToolMissingError: One is not installed.
    """
    return Tools(
        bwrap=_need("bwrap", package="bubblewrap", purpose="confine guests"),
        setarch=_need("setarch", package="util-linux", purpose="start a guest kernel"),
    )


def _need(tool: str, *, package: str, purpose: str) -> str:
    path = find_tool(tool)
    if path is None:
        raise ToolMissingError(tool, package=package, purpose=purpose)
    return path
