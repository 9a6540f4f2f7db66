"""`pyro workspace shell`, and `pyro shell`: terminals in workspaces."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from pyro_mcp import protocol
from pyro_mcp.cli import options, output, secret

if TYPE_CHECKING:
    from pyro_mcp.sdk.pyro import Pyro

_shell_id = click.argument("shell_id", metavar="SHELL_ID")
_detach_key = click.option(
    "--detach-key", metavar="KEY", default="ctrl-]", show_default=True,
    help="Key that leaves the shell running and comes back; none for no key.",
)  # fmt: skip
_cwd = click.option(
    "--cwd", metavar="CWD", default=protocol.WORKSPACE, show_default=True,
    help="Directory to begin in, below /workspace.",
)  # fmt: skip

_FIELDS = ("workspace_id", "shell_id", "state")


@click.group("shell")
def command() -> None:
    """Use terminals in a workspace.

    A shell goes on by itself until it is closed, its program ends, or the workspace is stopped,
    reset or deleted; any process can read and write it.
    """


@command.command("open")
@options.workspace_id
@_cwd
@click.option(
    "--cols", metavar="COLS", type=int, default=120, show_default=True,
    help="Columns of the terminal.",
)  # fmt: skip
@click.option(
    "--rows", metavar="ROWS", type=int, default=30, show_default=True,
    help="Rows of the terminal.",
)  # fmt: skip
@secret.secret_env
@options.as_json
@options.id_only
def open_command(
    workspace_id: str,
    cwd: str,
    cols: int,
    rows: int,
    secret_env: tuple[str, ...],
    as_json: bool,
    id_only: bool,
) -> None:
    """Start a shell in a workspace.

    A stopped workspace is started first.
    """
    options.together(json=as_json, id_only=id_only)
    from pyro_mcp.sdk.pyro import Pyro

    opened = Pyro().open_shell(
        workspace_id,
        cwd=cwd,
        cols=cols,
        rows=rows,
        secret_env=secret.env(secret_env),
    )
    if as_json:
        output.json_object(opened)
    elif id_only:
        output.line(opened["shell_id"])
    else:
        output.also("workspace-shell-open", opened)
        _say("open", opened, "cwd", "cols", "rows", "execution_mode")


@command.command("list")
@options.workspace_id
@options.as_json
def list_command(workspace_id: str, as_json: bool) -> None:
    """Show the shells that are not closed."""
    from pyro_mcp.sdk.pyro import Pyro

    found = Pyro().list_shells(workspace_id)
    if as_json:
        output.json_object(found)
        return
    shown = ("shell_id", "state", "exit_code", "cwd", "cols", "rows", "started_at", "output_bytes")
    for shell in found["shells"]:
        facts = {key: output.plain(shell[key]) for key in shown}
        output.line(output.said("workspace-shell", facts))
    if not found["shells"]:
        output.line("No shells.")


@command.command("read")
@options.workspace_id
@_shell_id
@click.option(
    "--cursor", metavar="CURSOR", type=int, default=0, show_default=True,
    help="Read from here: 0, or next_cursor of an earlier read.",
)  # fmt: skip
@click.option(
    "--max-chars", metavar="MAX_CHARS", type=int, default=65536, show_default=True,
    help="Cut the output there.",
)  # fmt: skip
@click.option("--plain", is_flag=True, help="Show what a person would see.")
@click.option(
    "--wait-for-idle-ms", metavar="WAIT_FOR_IDLE_MS", type=int,
    help="Gather until nothing came for so long, 1 to 10000; 30 s at most.",
)  # fmt: skip
@options.as_json
def read(
    workspace_id: str,
    shell_id: str,
    cursor: int,
    max_chars: int,
    plain: bool,
    wait_for_idle_ms: int | None,
    as_json: bool,
) -> None:
    """Show what a shell wrote.

    Reading takes nothing away; the last MiB can be read.
    """
    from pyro_mcp.sdk.pyro import Pyro

    result = Pyro().read_shell(
        workspace_id,
        shell_id,
        cursor=cursor,
        max_chars=max_chars,
        plain=plain,
        wait_for_idle_ms=wait_for_idle_ms,
    )
    if as_json:
        output.json_object(result)
        return
    text = result["output"]
    on_terminal = os.isatty(output.STDOUT)
    output.content(text.replace("\r\n", "\n") if on_terminal else text, complete=on_terminal)
    if result["dropped_bytes"]:
        output.warning(f"{result['dropped_bytes']} bytes before that are no longer kept.")
    more = ("cursor", "next_cursor", "truncated", "plain", "wait_for_idle_ms", "execution_mode")
    _say("read", result, *more)
    output.also("workspace-shell-read", result)


@command.command("write")
@options.workspace_id
@_shell_id
@click.option("--input", "text", metavar="INPUT", required=True, help="Text to type.")
@click.option("--no-newline", is_flag=True, help="Do not press Enter at its end.")
@options.as_json
def write(workspace_id: str, shell_id: str, text: str, no_newline: bool, as_json: bool) -> None:
    """Type text into a shell."""
    from pyro_mcp.sdk.pyro import Pyro

    result = Pyro().write_shell(workspace_id, shell_id, input=text, append_newline=not no_newline)
    if as_json:
        output.json_object(result)
    else:
        _say("write", result, "input_length", "append_newline", "execution_mode")


@command.command("resize")
@options.workspace_id
@_shell_id
@click.option("--cols", metavar="COLS", type=int, required=True, help="Columns of the terminal.")
@click.option("--rows", metavar="ROWS", type=int, required=True, help="Rows of the terminal.")
@options.as_json
def resize(workspace_id: str, shell_id: str, cols: int, rows: int, as_json: bool) -> None:
    """Give a shell's terminal another size."""
    from pyro_mcp.sdk.pyro import Pyro

    result = Pyro().resize_shell(workspace_id, shell_id, cols=cols, rows=rows)
    if as_json:
        output.json_object(result)
    else:
        _say("resize", result, "cols", "rows", "execution_mode")


@command.command("signal")
@options.workspace_id
@_shell_id
@click.option(
    "--signal", "signal_name", type=click.Choice(["HUP", "INT", "TERM", "KILL"]),
    default="INT", show_default=True, help="Which signal.",
)  # fmt: skip
@options.as_json
def signal_command(workspace_id: str, shell_id: str, signal_name: str, as_json: bool) -> None:
    """Signal what has a shell's terminal.

    That is the job in the foreground, or the shell itself when it waits for input.
    """
    from pyro_mcp.sdk.pyro import Pyro

    result = Pyro().signal_shell(workspace_id, shell_id, signal_name=signal_name)
    if as_json:
        output.json_object(result)
    else:
        _say("signal", result, "signal", "execution_mode")


@command.command("close")
@options.workspace_id
@_shell_id
@options.as_json
def close(workspace_id: str, shell_id: str, as_json: bool) -> None:
    """End a shell and all it started."""
    from pyro_mcp.sdk.pyro import Pyro

    result = Pyro().close_shell(workspace_id, shell_id)
    if as_json:
        output.json_object(result)
    else:
        _say("close", result, "exit_code", "closed", "execution_mode")


@command.command("attach")
@options.workspace_id
@_shell_id
@_detach_key
def attach(workspace_id: str, shell_id: str, detach_key: str) -> int:
    """Connect this terminal to a shell.

    Keys go there and output comes here until the shell ends, whose status is the exit status
    then, or the detach key is pressed. The shell gets this terminal's size.
    """
    from pyro_mcp.cli import terminal
    from pyro_mcp.sdk.pyro import Pyro

    detach = terminal.detach_byte(detach_key)
    terminal.check()
    ended = _connected(Pyro(), workspace_id, shell_id, detach)
    if ended is None:
        output.note(output.said("workspace-shell-attach", _detached(workspace_id, shell_id)))
        return 0
    _say("attach", ended, "exit_code", "execution_mode")
    return int(ended["exit_code"] or 0)


@click.command("shell")
@options.workspace_id
@_cwd
@secret.secret_env
@_detach_key
@click.option(
    "--on-detach", type=click.Choice(["keep", "close"]), default="keep", show_default=True,
    help="What becomes of the shell when the detach key is pressed.",
)  # fmt: skip
def shell(
    workspace_id: str, cwd: str, secret_env: tuple[str, ...], detach_key: str, on_detach: str
) -> int:
    """Open a shell in a workspace, here.

    A stopped workspace is started first. When the shell ends, its status is the exit status. Left
    with the detach key it goes on, and 'pyro workspace shell attach' comes back to it. If this
    terminal is lost, it goes on too.
    """
    from pyro_mcp.cli import terminal
    from pyro_mcp.sdk.pyro import Pyro

    detach = terminal.detach_byte(detach_key)
    terminal.check()
    pyro = Pyro()
    cols, rows = terminal.size()
    opened = pyro.open_shell(
        workspace_id,
        cwd=cwd,
        cols=cols,
        rows=rows,
        secret_env=secret.env(secret_env),
    )
    output.also("shell", opened)
    shell_id = opened["shell_id"]
    leave = f"; {detach_key} leaves it" if detach else ""
    output.note(output.said("shell", {"shell_id": shell_id}) + leave)
    ended = _connected(pyro, workspace_id, shell_id, detach)
    if ended is None and on_detach == "keep":
        output.note(output.said("shell", _detached(workspace_id, shell_id)))
        return 0
    closed = pyro.close_shell(workspace_id, shell_id)
    shown = {key: closed[key] for key in ("shell_id", "state", "exit_code")}
    output.note(output.said("shell", shown))
    return 0 if ended is None else int(ended["exit_code"] or 0)


def _connected(
    pyro: Pyro, workspace_id: str, shell_id: str, detach: bytes
) -> dict[str, Any] | None:
    from pyro_mcp.cli import terminal

    with pyro.attach_shell(workspace_id, shell_id) as attachment:
        ended = terminal.connect(attachment, detach=detach)
    if attachment.dropped_bytes:
        output.warning(f"{attachment.dropped_bytes} bytes came too fast and were not shown.")
    return ended


def _detached(workspace_id: str, shell_id: str) -> dict[str, str]:
    again = f"'pyro workspace shell attach {workspace_id} {shell_id}'"
    return {"shell_id": shell_id, "detached": f"yes; come back with {again}"}


def _say(tag: str, result: dict[str, Any], *more: str) -> None:
    facts = {key: output.plain(result[key]) for key in (*_FIELDS, *more)}
    output.note(output.said(f"workspace-shell-{tag}", facts))
