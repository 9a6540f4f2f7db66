"""Tools about workspaces: their life, their commands, copies in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp import config, protocol
from pyro_mcp.errors import InvalidInputError
from pyro_mcp.tools import bounds
from pyro_mcp.tools.names import CORE, FULL
from pyro_mcp.tools.parameters import flag, integer, mapping, objects, text, texts
from pyro_mcp.tools.tool import Context, Hints, Tool
from pyro_mcp.tools.vms import (
    COMMAND,
    ENVIRONMENT,
    HOST_COMPAT,
    MEM_MIB,
    NETWORK_ALLOW,
    NETWORK_INHERIT,
    NETWORK_PRIVATE,
    OUTPUT,
    TIMEOUT,
    VCPU_COUNT,
)

if TYPE_CHECKING:
    from pyro_mcp.sdk.pyro import Pyro
    from pyro_mcp.tools.parameters import Parameter

WORKSPACE_ID = text("workspace_id")
OFFSET = integer("offset", "next_offset of the last answer", 0)
MAX_CHARS = integer("max_chars", "At most, from offset", bounds.STREAM_CHARS)
SECRET_ENV = mapping("secret_env", "Secret name → variable name", full_only=True)
_NAME = text("name", "For people, 1-120 characters", None)
_LABELS = mapping("labels")
RECORD = {"workspace_id": "string", "state": "string"}


def workspace_tool(
    name: str, title: str, description: str, method: str, *parameters: Parameter, **more: Any
) -> Tool:
    """A tool about one workspace, of workspace-full unless told otherwise."""
    defaults: dict[str, Any] = {"answer": RECORD, "hints": Hints(), "profiles": (FULL,)}
    return Tool(
        name=name, title=title, description=description, method=method,
        parameters=parameters, **{**defaults, **more},
    )  # fmt: skip


def _create(pyro: Pyro, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
    if arguments["seed_path"] is None and context.project_path is not None:
        arguments["seed_path"] = context.project_path
        arguments["seed_gitignore"] = context.project_gitignore
    return pyro.create_workspace(**arguments, on_progress=context.on_progress)


def _list(pyro: Pyro, arguments: dict[str, Any], _context: Context) -> dict[str, Any]:
    return bounds.page(pyro.list_workspaces(), "workspaces", arguments["offset"])


def _exec(pyro: Pyro, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
    answer = pyro.exec_workspace(**arguments, cancel=context.cancel, on_output=context.on_output)
    reading = f"workspace_logs with sequence {answer['sequence']} and offset {{offset}} reads on"
    return bounds.streams(answer, hint=reading)


def _logs(pyro: Pyro, arguments: dict[str, Any], _context: Context) -> dict[str, Any]:
    sequence = arguments["sequence"]
    answer = pyro.logs_workspace(arguments["workspace_id"])
    entries = answer["entries"]
    if sequence is None:
        answer["entries"] = entries[-_HISTORY_SHOWN:]
        answer["entries_left_out"] = max(0, len(entries) - _HISTORY_SHOWN)
        for entry in answer["entries"]:
            reading = f"give sequence {entry['sequence']} to read it"
            bounds.streams(entry, hint=reading, limit=bounds.EXCERPT_CHARS)
        return answer
    chosen = [entry for entry in entries if entry["sequence"] == sequence]
    if not chosen:
        raise InvalidInputError(
            "sequence", f"is {sequence}, and no command of the workspace has that number",
            hint="Leave it out to see them all.",
        )  # fmt: skip
    offset, limit = bounds.checked_range(arguments["offset"], arguments["max_chars"])
    bounds.window(chosen[0], ("stdout", "stderr"), offset, limit)
    answer["entries"] = chosen
    return answer


_HISTORY_SHOWN = 20


def _push(pyro: Pyro, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
    return pyro.push_workspace_sync(**arguments, on_progress=context.on_progress)


def _export(pyro: Pyro, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
    return pyro.export_workspace(**arguments, on_progress=context.on_progress)


CREATE = workspace_tool(
    "workspace_create", "Create a workspace",
    "Make and boot an isolated Linux computer that is kept, with a directory /workspace; "
    "workspace_exec is next. seed_path is a directory or archive of the host to begin with. "
    "Delete it when done.",
    "create_workspace",
    ENVIRONMENT, VCPU_COUNT, MEM_MIB,
    integer(
        "ttl_seconds", "Halts when unused so long, 0 never; loses nothing",
        config.DEFAULT_TTL_SECONDS,
    ),
    text(
        "network_policy", "off, published-ports, egress or egress+published-ports", "off",
        full_only=True,
    ),
    NETWORK_ALLOW, NETWORK_PRIVATE, NETWORK_INHERIT,
    flag("network_learn", "Status tells the smallest network_allow that would do", full_only=True),
    HOST_COMPAT,
    text("seed_path", "", None),
    objects("secrets", "string", about="Each name, and value or file_path", full_only=True),
    _NAME, _LABELS,
    profiles=(CORE, FULL), handler=_create, slow=True,
)  # fmt: skip

LIST = workspace_tool(
    "workspace_list", "List workspaces",
    "List all workspaces, the one last used first.",
    "list_workspaces", OFFSET,
    answer={"workspaces": "array"}, profiles=(CORE, FULL), hints=Hints(read_only=True),
    handler=_list,
)  # fmt: skip

UPDATE = workspace_tool(
    "workspace_update", "Rename or label a workspace",
    "Change a workspace's name and labels; labels merge key by key.",
    "update_workspace", WORKSPACE_ID, _NAME, flag("clear_name"), _LABELS, texts("clear_labels"),
    text("network_policy", "", None, full_only=True),
    NETWORK_ALLOW, NETWORK_PRIVATE,
    profiles=(CORE, FULL), hints=Hints(idempotent=True),
)  # fmt: skip

EXEC = workspace_tool(
    "workspace_exec", "Run a command in a workspace",
    "Run a shell command in a workspace and wait for its end; a stopped one is started. "
    "A failing command is no error: see exit_code. workspace_logs reads what long output leaves "
    "out.",
    "exec_workspace", WORKSPACE_ID, COMMAND, TIMEOUT, SECRET_ENV,
    answer={**OUTPUT, "sequence": "integer"}, profiles=(CORE, FULL),
    hints=Hints(destructive=True, open_world=True), handler=_exec, slow=True,
)  # fmt: skip

PUSH = workspace_tool(
    "workspace_sync_push", "Copy host files into a workspace",
    "Copy a host directory or archive over a directory of a workspace, all or nothing. "
    "Deletes nothing; workspace_diff shows it as changes.",
    "push_workspace_sync", WORKSPACE_ID,
    text("source_path", "On the host"), text("dest", "", protocol.WORKSPACE),
    answer={"workspace_sync": "object"}, profiles=(CORE, FULL),
    hints=Hints(destructive=True, idempotent=True), handler=_push, slow=True,
)  # fmt: skip

STATUS = workspace_tool(
    "workspace_status", "Look at a workspace",
    "Full record of a workspace: state, memory, seed, last command.",
    "status_workspace", WORKSPACE_ID,
    profiles=(CORE, FULL), hints=Hints(read_only=True),
)  # fmt: skip

STOP = workspace_tool(
    "workspace_stop", "Halt a workspace",
    "Halt a workspace; files, snapshots and history stay. workspace_disk_* need this.",
    "stop_workspace", WORKSPACE_ID, hints=Hints(idempotent=True),
)  # fmt: skip

START = workspace_tool(
    "workspace_start", "Boot a workspace",
    "Boot a halted workspace with its files as they were; most tools do so by themselves.",
    "start_workspace", WORKSPACE_ID, hints=Hints(idempotent=True),
)  # fmt: skip

LOGS = workspace_tool(
    "workspace_logs", "Read the history of commands",
    "The commands run in a workspace, oldest first, with short excerpts of their output. "
    "With sequence: the output of that one, by offset.",
    "logs_workspace", WORKSPACE_ID, integer("sequence", "", None), OFFSET, MAX_CHARS,
    answer={"count": "integer", "entries": "array"}, profiles=(CORE, FULL),
    hints=Hints(read_only=True), handler=_logs,
)  # fmt: skip

EXPORT = workspace_tool(
    "workspace_export", "Copy files out to the host",
    "Copy a file or directory of /workspace to a new path on the host; overwrites nothing.",
    "export_workspace", WORKSPACE_ID, text("path"),
    text("output_path", "On the host; *.tar.gz makes an archive"),
    answer={"output_path": "string"}, profiles=(CORE, FULL), handler=_export, slow=True,
)  # fmt: skip

NETWORK_LOG = workspace_tool(
    "network_log", "Read what the network was used for",
    "What a workspace reached and tried to reach over the network, oldest first, and the smallest "
    "network_allow for all of it. Of what was denied it says what would allow it.",
    "network_log", WORKSPACE_ID,
    text("verdict", "Only these", None, one_of=("allowed", "denied", "failed")),
    integer("limit", "The latest so many, 1-1000", 100),
    answer={"entries": "array", "network_learned": "array"}, hints=Hints(read_only=True),
)  # fmt: skip

DELETE = workspace_tool(
    "workspace_delete", "Delete a workspace",
    "Remove a workspace with its files, snapshots and history, for good.",
    "delete_workspace", WORKSPACE_ID,
    answer={"deleted": "boolean"}, profiles=(CORE, FULL), hints=Hints(destructive=True),
)  # fmt: skip
