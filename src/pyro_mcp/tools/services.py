"""Tools about programs that run in the background of a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp import protocol
from pyro_mcp.errors import InvalidInputError
from pyro_mcp.tools import bounds
from pyro_mcp.tools.parameters import flag, integer, objects, text
from pyro_mcp.tools.tool import Context, Hints
from pyro_mcp.tools.workspaces import (
    MAX_CHARS,
    SECRET_ENV,
    WORKSPACE_ID,
    workspace_tool,
)

if TYPE_CHECKING:
    from pyro_mcp.sdk.pyro import Pyro

_NAME = text("service_name", "Letters, digits, . _ -; up to 64")
_SERVICE = {"service_name": "string", "state": "string"}
_READY = {
    "ready_file": ("file", "path"),
    "ready_tcp": ("tcp", "address"),
    "ready_http": ("http", "url"),
    "ready_command": ("command", "command"),
}
"""Argument → type of readiness, and the field that carries it."""


def _start(pyro: Pyro, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
    given = {name: arguments.pop(name) for name in _READY}
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) > 1:
        raise InvalidInputError(
            " and ".join(chosen), "exclude each other", hint="Give one sign of readiness."
        )
    for name in chosen:
        kind, key = _READY[name]
        arguments["readiness"] = {"type": kind, key: given[name]}
    starting: Any = pyro
    answer: dict[str, Any] = starting.start_service(**arguments, cancel=context.cancel)
    return answer


def _logs(pyro: Pyro, arguments: dict[str, Any], _context: Context) -> dict[str, Any]:
    offset, limit = arguments.pop("offset"), arguments.pop("max_chars")
    reading: Any = pyro
    answer: dict[str, Any] = reading.logs_service(**arguments)
    if offset is None:
        return bounds.streams(answer, hint="offset {offset} reads on", limit=limit)
    start, limit = bounds.checked_range(offset, limit)
    return bounds.window(answer, ("stdout", "stderr"), start, limit)


START = workspace_tool(
    "service_start", "Start a service",
    "Start a named program in the background of a workspace and wait until it is ready, "
    "by one of the ready_ arguments. state failed or exited: see service_logs.",
    "start_service", WORKSPACE_ID, _NAME, text("command"), text("cwd", "", protocol.WORKSPACE),
    text("ready_file", "Path that appears", None), text("ready_tcp", "host:port", None),
    text("ready_http", "URL", None), text("ready_command", "Succeeds", None),
    integer("ready_timeout_seconds", "", 30), integer("ready_interval_ms", "", 500),
    SECRET_ENV,
    objects(
        "published_ports", "integer", "null", about="Each guest_port, and host_port if wanted"
    ),
    answer=_SERVICE, hints=Hints(open_world=True), handler=_start, slow=True,
)  # fmt: skip

LIST = workspace_tool(
    "service_list", "List services",
    "List the services of a workspace with their state.",
    "list_services", WORKSPACE_ID,
    answer={"services": "array"}, hints=Hints(read_only=True),
)  # fmt: skip

STATUS = workspace_tool(
    "service_status", "Look at a service",
    "State of one service: running, exited, stopped or failed.",
    "status_service", WORKSPACE_ID, _NAME,
    answer=_SERVICE, hints=Hints(read_only=True),
)  # fmt: skip

LOGS = workspace_tool(
    "service_logs", "Read a service's output",
    "Read what a service printed: the last lines, or all. With offset: from there on.",
    "logs_service", WORKSPACE_ID, _NAME,
    integer("tail_lines", "Of each stream", 200), flag("all"),
    integer("offset", "Start at this character", None), MAX_CHARS,
    answer={"stdout": "string", "stderr": "string", "state": "string"},
    hints=Hints(read_only=True), handler=_logs,
)  # fmt: skip

STOP = workspace_tool(
    "service_stop", "Stop a service",
    "End a service and everything it started.",
    "stop_service", WORKSPACE_ID, _NAME,
    answer=_SERVICE, hints=Hints(destructive=True, idempotent=True),
)  # fmt: skip
