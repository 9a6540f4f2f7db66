"""Shells of a workspace: terminals that go on by themselves, whoever opened them."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from pyro_mcp import protocol
from pyro_mcp.boundary.paths import in_workspace
from pyro_mcp.errors import (
    GuestUnreachableError,
    InvalidInputError,
    WorkspaceStateError,
)
from pyro_mcp.errors.shells import UnknownShellError
from pyro_mcp.machines import shells
from pyro_mcp.results.shells import (
    ShellCloseResult,
    ShellList,
    ShellListEntry,
    ShellOpenResult,
    ShellReadResult,
    ShellSignalResult,
    ShellWriteResult,
)
from pyro_mcp.workspaces import secrets, shell_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyro_mcp.machines.cancel import Cancel
    from pyro_mcp.machines.shells import ShellRecord
    from pyro_mcp.workspaces.store import InUse, Store

T = TypeVar("T")

DEFAULT_COLS, DEFAULT_ROWS = 120, 30
DEFAULT_MAX_CHARS = 65536
SIGNALS = ("HUP", "INT", "TERM", "KILL")
LARGEST_INPUT = 16 * 1024 * 1024
"""Bytes of one write."""
_WAIT_RANGE_MS = (1, 10_000)
_ID = re.compile(r"[0-9a-f]{12}")


def open_shell(
    store: Store,
    workspace_id: str,
    *,
    cwd: str = protocol.WORKSPACE,
    cols: int = DEFAULT_COLS,
    rows: int = DEFAULT_ROWS,
    secret_env: dict[str, str] | None = None,
) -> ShellOpenResult:
    """Start a shell; starts the workspace when it is stopped."""
    _check_size(cols, rows)
    directory = in_workspace("cwd", cwd)
    variables = secrets.environment(store, workspace_id, secret_env)
    shell_id = uuid.uuid4().hex[:12]

    def ask(used: InUse) -> tuple[InUse, ShellRecord]:
        return used, shells.open_shell(
            used.place.home, shell_id, cwd=directory, env=variables, cols=cols, rows=rows
        )

    used, shell = store.asking(workspace_id, ask)
    store.touch(workspace_id)
    return ShellOpenResult(
        **_fields(store, workspace_id, shell), workspace_started=used.started_now
    )


def list_shells(store: Store, workspace_id: str) -> ShellList:
    """Those that are not closed; a stopped workspace has none."""
    try:
        found = asking(store, workspace_id, shells.list_shells)
    except WorkspaceStateError:
        found = []
    entries = [record(store, workspace_id, shell) for shell in found]
    return ShellList(workspace_id=workspace_id, count=len(entries), shells=entries)


def read_shell(
    store: Store,
    workspace_id: str,
    shell_id: str,
    *,
    cursor: int = 0,
    max_chars: int = DEFAULT_MAX_CHARS,
    plain: bool = False,
    wait_for_idle_ms: int | None = None,
    cancel: Cancel | None = None,
) -> ShellReadResult:
    """Output from a position on; reading takes nothing away.

    Raises:
        CallCancelledError: `cancel` was triggered.
    """
    _check_whole("cursor", cursor, 0, 2**62, "Give 0, or the next_cursor of a read.")
    _check_whole("max_chars", max_chars, 1, 2**62, "Give a positive number.")
    if wait_for_idle_ms is not None:
        hint = "Give {} to {} milliseconds, or leave it out.".format(*_WAIT_RANGE_MS)
        _check_whole("wait_for_idle_ms", wait_for_idle_ms, *_WAIT_RANGE_MS, hint)
    most = min(max_chars, protocol.SHELL_WINDOW)
    redactor = secrets.redactor(store, workspace_id)
    context = redactor.longest
    if plain:
        from pyro_mcp.workspaces import shell_view

        context = max(context, shell_view.CONTEXT_BYTES)
    output = _asking_shell(
        store,
        workspace_id,
        shell_id,
        lambda home: shells.read_shell(
            home,
            shell_id,
            cursor=cursor,
            context=min(context, protocol.SHELL_CONTEXT),
            max_bytes=min(shell_text.bytes_for(most, redactor), protocol.SHELL_WINDOW),
            max_chars=most,
            wait_idle_ms=wait_for_idle_ms or 0,
            cancel=cancel,
        ),
    )
    # Secrets may have been added while it waited.
    redactor = secrets.redactor(store, workspace_id)
    found = shell_text.stretch(output, redactor, asked_cursor=cursor, max_chars=most)
    text, redacted = found.text, found.redacted
    if plain:
        size = {"cols": output.shell.cols, "rows": output.shell.rows}
        text, drawn = shell_view.seen(found.before, text, **size, redactor=redactor)
        redacted = redacted or drawn
    return ShellReadResult(
        **_fields(store, workspace_id, output.shell),
        cursor=found.cursor,
        next_cursor=found.next_cursor,
        output=text[:max_chars],
        truncated=found.more or len(text) > max_chars,
        plain=plain,
        wait_for_idle_ms=wait_for_idle_ms,
        dropped_bytes=max(found.cursor - cursor, 0),
        wait_timed_out=output.wait_timed_out,
        redacted=redacted,
    )


def write_shell(
    store: Store, workspace_id: str, shell_id: str, *, text: str, append_newline: bool = True
) -> ShellWriteResult:
    """Type; returns when the terminal has taken all of it."""
    try:
        data = (text + "\n" * append_newline).encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            "input", "is not valid Unicode", hint="Give text that UTF-8 can say."
        ) from error
    if len(data) > LARGEST_INPUT:
        raise InvalidInputError(
            "input",
            f"has {len(data)} bytes, and one write types at most {LARGEST_INPUT}",
            hint="Give it in parts, or write a file and have the shell read that.",
        )
    shell = _asking_shell(
        store, workspace_id, shell_id, lambda home: shells.write_shell(home, shell_id, data)
    )
    store.touch(workspace_id)
    return ShellWriteResult(
        **_fields(store, workspace_id, shell), input_length=len(text), append_newline=append_newline
    )


def resize_shell(
    store: Store, workspace_id: str, shell_id: str, *, cols: int, rows: int
) -> ShellListEntry:
    """Give its terminal another size."""
    _check_size(cols, rows)
    shell = _asking_shell(
        store,
        workspace_id,
        shell_id,
        lambda home: shells.resize_shell(home, shell_id, cols=cols, rows=rows),
    )
    store.touch(workspace_id)
    return record(store, workspace_id, shell)


def signal_shell(
    store: Store, workspace_id: str, shell_id: str, *, signal_name: str = "INT"
) -> ShellSignalResult:
    """Signal what has the terminal: the job in the foreground, or the shell itself."""
    name = signal_name.strip().upper() if isinstance(signal_name, str) else ""
    if name not in SIGNALS:
        raise InvalidInputError(
            "signal_name", f"is {signal_name!r}", hint=f"Give one of: {', '.join(SIGNALS)}."
        )
    shell = _asking_shell(
        store, workspace_id, shell_id, lambda home: shells.signal_shell(home, shell_id, name)
    )
    store.touch(workspace_id)
    return ShellSignalResult(**_fields(store, workspace_id, shell), signal=name)


def close_shell(store: Store, workspace_id: str, shell_id: str) -> ShellCloseResult:
    """Hang up, kill what is left of it, and forget it."""
    shell = _asking_shell(
        store, workspace_id, shell_id, lambda home: shells.close_shell(home, shell_id)
    )
    store.touch(workspace_id)
    return ShellCloseResult(**_fields(store, workspace_id, shell), closed=True)


def asking(store: Store, workspace_id: str, ask: Callable[[Path], T]) -> T:
    """One question to a workspace that runs: shells end with the machine, so none is started."""
    store.row(workspace_id)
    place = store.place(workspace_id)
    with place.in_use():
        if place.up:
            try:
                return ask(place.home)
            except GuestUnreachableError:
                pass  # it ended before it was asked
    raise stopped(workspace_id)


def stopped(workspace_id: str) -> WorkspaceStateError:
    """The error for a question about shells of a stopped workspace."""
    return WorkspaceStateError(
        workspace_id,
        state="stopped",
        needed="started",
        hint="Its shells ended with its machine; open a new one, which starts it.",
    )


def check_shell_id(store: Store, workspace_id: str, shell_id: object) -> None:
    """Raise `UnknownShellError` for what can be no shell's id."""
    if not isinstance(shell_id, str) or not _ID.fullmatch(shell_id):
        known = [shell.shell_id for shell in asking(store, workspace_id, shells.list_shells)]
        raise UnknownShellError(workspace_id, str(shell_id), known)


def record(store: Store, workspace_id: str, shell: ShellRecord) -> ShellListEntry:
    """A shell as surfaces show it."""
    return ShellListEntry(**_fields(store, workspace_id, shell), output_bytes=shell.end)


def _asking_shell(store: Store, workspace_id: str, shell_id: str, ask: Callable[[Path], T]) -> T:
    check_shell_id(store, workspace_id, shell_id)
    return asking(store, workspace_id, ask)


def _fields(store: Store, workspace_id: str, shell: ShellRecord) -> dict[str, Any]:
    cwd, _ = secrets.redactor(store, workspace_id).text(shell.cwd)
    return {
        "workspace_id": workspace_id,
        "shell_id": shell.shell_id,
        "cwd": cwd,
        "cols": shell.cols,
        "rows": shell.rows,
        "state": "running" if shell.running else "stopped",
        "started_at": shell.started_at,
        "ended_at": shell.ended_at,
        "exit_code": shell.exit_code,
        "execution_mode": "guest_vsock",
    }


def _check_size(cols: object, rows: object) -> None:
    most = protocol.LARGEST_TERMINAL
    for name, value in (("cols", cols), ("rows", rows)):
        _check_whole(name, value, 1, most, f"Give a number from 1 to {most}.")


def _check_whole(name: str, value: object, least: int, most: int, hint: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidInputError(name, f"is {value!r}", hint=hint)
