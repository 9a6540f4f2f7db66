"""What a provider's own tools `shell` and `apply_patch` do, done in a workspace."""

from __future__ import annotations

import math
import posixpath
from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp import protocol
from pyro_mcp.errors import PyroError, WorkspaceFileError
from pyro_mcp.integrations import v4a
from pyro_mcp.tools.bounds import STREAM_CHARS, middle_cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyro_mcp.integrations.session import Session
    from pyro_mcp.sdk.cancel import Cancel

_DEFAULT_SECONDS = 120
_CUT = "run it again with its output in a file, and read that in parts"
_NOT_RUN = 126
_MAX_BYTES = 4 * 1024 * 1024
"""Of a file that is edited: it is held in memory, and a guest may make it as large as it likes."""


class Ran(NamedTuple):
    """What became of one command."""

    command: str
    stdout: str
    stderr: str
    exit_code: int | None
    """None after its time."""


class Edited(NamedTuple):
    """What became of one operation on a file."""

    completed: bool
    output: str
    """For the model: what was done, or why not and what to do."""


def run_commands(
    session: Session,
    commands: Sequence[str],
    *,
    timeout_ms: int | None = None,
    max_output_length: int | None = None,
    cancel: Cancel | None = None,
) -> list[Ran]:
    """Run commands one after the other, each in a shell of its own, whatever became of the last.

    Args:
        session: Has one workspace.
        commands: For `/bin/sh -lc`, as root, in /workspace.
        timeout_ms: Limit for each command; two minutes when left out.
        max_output_length: Characters of each stream to keep, head and tail; at most, and when
            left out, what one tool's answer may have.
        cancel: Ends the command that runs, and those after it.
    """
    limit = STREAM_CHARS if max_output_length is None else min(max_output_length, STREAM_CHARS)
    seconds = _DEFAULT_SECONDS if timeout_ms is None else max(1, math.ceil(timeout_ms / 1000))
    return [_run(session, command, seconds, max(limit, 2), cancel) for command in commands]


def _run(session: Session, command: str, seconds: int, limit: int, cancel: Cancel | None) -> Ran:
    try:
        answer = session.pyro.exec_workspace(
            session.workspace_id, command=command, timeout_seconds=seconds, cancel=cancel
        )
    except PyroError as error:
        return Ran(command, "", str(error), _NOT_RUN)
    return Ran(
        command,
        stdout=middle_cut(answer["stdout"], limit, hint=_CUT),
        stderr=middle_cut(answer["stderr"], limit, hint=_CUT),
        exit_code=None if answer["timed_out"] else answer["exit_code"],
    )


def edit_file(
    session: Session, kind: str, path: str, diff: str | None, *, move_to: str | None = None
) -> Edited:
    """Create, update or delete a file of the session's workspace, or say why not.

    Args:
        session: Has one workspace.
        kind: `create_file`, `update_file` or `delete_file`.
        path: Below /workspace, or absolute and there.
        diff: V4A, for the first two.
        move_to: Another path that an updated file gets.
    """
    try:
        return Edited(True, _edit(session, kind, path, diff or "", move_to))
    except (v4a.V4aError, PyroError) as error:
        return Edited(False, f"{path} was not changed. {error}")


def _edit(session: Session, kind: str, path: str, diff: str, move_to: str | None) -> str:
    pyro, workspace_id = session.pyro, session.workspace_id
    if kind == "create_file":
        content = v4a.created(diff)
        if _exists(session, path):
            raise v4a.V4aError("It exists already: update_file changes it, delete_file removes it.")
        pyro.write_workspace_file_bytes(workspace_id, path, content=_bytes(content))
        return f"Created {_shown(path)}."
    if kind == "update_file":
        old = pyro.read_workspace_file_bytes(workspace_id, path, length=_MAX_BYTES + 1)
        if len(old) > _MAX_BYTES:
            raise v4a.V4aError(f"It has more than {_MAX_BYTES} bytes: change it with a command.")
        new = _bytes(v4a.updated(old.decode("utf-8", "surrogateescape"), diff))
        if move_to is not None:
            pyro.move_workspace_file(workspace_id, path, move_to)
        pyro.write_workspace_file_bytes(workspace_id, move_to or path, content=new)
        return f"Updated {_shown(move_to or path)}."
    if kind == "delete_file":
        pyro.delete_workspace_file(workspace_id, path)
        return f"Deleted {_shown(path)}."
    raise v4a.V4aError(f"{kind!r} is none of create_file, update_file and delete_file.")


def _exists(session: Session, path: str) -> bool:
    try:
        session.pyro.stat_workspace_file(session.workspace_id, path)
    except WorkspaceFileError as error:
        if error.reason == "not_found":
            return False
        raise
    return True


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise v4a.V4aError(f"The diff has a character that UTF-8 has not: {error}.") from error


def _shown(path: str) -> str:
    return posixpath.join(protocol.WORKSPACE, path)
