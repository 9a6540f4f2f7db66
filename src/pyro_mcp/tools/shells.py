"""Tools about terminals in a workspace that stay open between calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp import protocol
from pyro_mcp.tools.parameters import flag, integer, text
from pyro_mcp.tools.tool import Context, Hints
from pyro_mcp.tools.workspaces import SECRET_ENV, WORKSPACE_ID, workspace_tool

if TYPE_CHECKING:
    from pyro_mcp.sdk.pyro import Pyro

_SHELL_ID = text("shell_id")
_SHELL: dict[str, Any] = {"shell_id": "string", "state": "string"}


def _read(pyro: Pyro, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
    reading: Any = pyro
    answer: dict[str, Any] = reading.read_shell(**arguments, cancel=context.cancel)
    return answer


OPEN = workspace_tool(
    "shell_open", "Open a terminal",
    "Open an interactive terminal in a workspace that stays open between calls; "
    "shell_write and shell_read are next. For single commands use workspace_exec.",
    "open_shell", WORKSPACE_ID, text("cwd", "", protocol.WORKSPACE),
    integer("cols", "", 120), integer("rows", "", 30), SECRET_ENV,
    answer=_SHELL, hints=Hints(open_world=True),
)  # fmt: skip

LIST = workspace_tool(
    "shell_list", "List terminals",
    "List the terminals of a workspace.",
    "list_shells", WORKSPACE_ID,
    answer={"shells": "array"}, hints=Hints(read_only=True),
)  # fmt: skip

READ = workspace_tool(
    "shell_read", "Read a terminal",
    "Read a terminal's output from a cursor on; give next_cursor the next time. "
    "plain removes control sequences; wait_for_idle_ms 300 waits until output pauses.",
    "read_shell", WORKSPACE_ID, _SHELL_ID,
    integer("cursor", "", 0), integer("max_chars", "", 65536), flag("plain"),
    integer("wait_for_idle_ms", "1-10000", None),
    answer={"output": "string", "next_cursor": "integer", "state": "string"},
    hints=Hints(read_only=True), handler=_read,
)  # fmt: skip

WRITE = workspace_tool(
    "shell_write", "Type into a terminal",
    "Type text into a terminal, with Enter unless append_newline is false; shell_read is next.",
    "write_shell", WORKSPACE_ID, _SHELL_ID, text("input"), flag("append_newline", "", True),
    answer={"input_length": "integer", "state": "string"},
    hints=Hints(destructive=True, open_world=True),
)  # fmt: skip

SIGNAL = workspace_tool(
    "shell_signal", "Signal a terminal",
    "Send HUP, INT, TERM or KILL to what runs in a terminal; INT is Ctrl-C.",
    "signal_shell", WORKSPACE_ID, _SHELL_ID, text("signal_name", "", "INT"),
    answer=_SHELL, hints=Hints(destructive=True),
)  # fmt: skip

RESIZE = workspace_tool(
    "shell_resize", "Resize a terminal",
    "Give a terminal another size.",
    "resize_shell", WORKSPACE_ID, _SHELL_ID, integer("cols"), integer("rows"),
    answer=_SHELL, hints=Hints(idempotent=True),
)  # fmt: skip

CLOSE = workspace_tool(
    "shell_close", "Close a terminal",
    "End a terminal and what runs in it.",
    "close_shell", WORKSPACE_ID, _SHELL_ID,
    answer={"closed": "boolean"}, hints=Hints(destructive=True),
)  # fmt: skip
