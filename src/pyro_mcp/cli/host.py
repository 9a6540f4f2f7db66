"""`pyro host`: chat programs that are to use pyro's tools."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pyro_mcp.cli import options, output
from pyro_mcp.tools import CORE, MODES, PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.chat_hosts.connection import Change, Wanted

_host = click.argument("host", metavar="HOST")
_scope = click.option(
    "--scope", type=click.Choice(("user", "project")), default="user", show_default=True,
    help="The file for all projects, or the one in this directory.",
)  # fmt: skip
_dry_run = click.option("--dry-run", is_flag=True, help="Show the change and write nothing.")

_OF_THE_SERVER = (
    click.option(
        "--profile", type=click.Choice(PROFILES), default=CORE, show_default=True,
        help="Tools to offer: one-shot runs, kept workspaces, everything.",
    ),
    click.option(
        "--mode", type=click.Choice(tuple(MODES)),
        help="Offer the few tools of one use case instead of a profile.",
    ),
    click.option(
        "--project-path", metavar="DIR",
        help="Directory that new workspaces begin with.  [default: the project, with --scope "
        "project]",
    ),
    click.option(
        "--command", "program", metavar="PROGRAM",
        help="Program to write, for files that are shared.  [default: this pyro, with its whole "
        "path]",
    ),
    click.option(
        "--env", "variables", metavar="KEY=VALUE", multiple=True,
        help="Variable for the server; may be repeated.",
    ),
    click.option("--url", metavar="URL", help="Write a running HTTP server instead of a program."),
    click.option(
        "--token-variable", metavar="NAME",
        help="With --url: variable that holds the token; the token itself is not written.",
    ),
)  # fmt: skip


def _server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OF_THE_SERVER):
        command = option(command)
    return command


@click.group("host")
def command() -> None:
    """Connect chat programs to pyro's tools.

    HOST is claude-code, claude-desktop, codex, cursor, opencode, vscode, gemini-cli or zed.
    """


@command.command("connect")
@_host
@_scope
@_server_options
@click.option("--force", is_flag=True, help="Write also where the host is not installed.")
@_dry_run
@options.as_json
def connect(
    host: str, scope: str, force: bool, dry_run: bool, as_json: bool, **server: Any
) -> None:
    """Put pyro into a chat program's configuration.

    Shows the change, keeps what the file was beside it, and leaves everything else in it as it
    is. A second time changes nothing.
    """
    from pyro_mcp.chat_hosts import connection

    change = connection.connect(
        host,
        _wanted(**server),
        scope=_checked(scope),
        directory=Path.cwd(),
        force=force,
        dry_run=dry_run,
    )
    _say("connected", change, dry_run=dry_run, as_json=as_json)


@command.command("disconnect")
@_host
@_scope
@_dry_run
@options.as_json
def disconnect(host: str, scope: str, dry_run: bool, as_json: bool) -> None:
    """Take pyro out of a chat program's configuration, and nothing else."""
    from pyro_mcp.chat_hosts import connection

    change = connection.disconnect(
        host, scope=_checked(scope), directory=Path.cwd(), dry_run=dry_run
    )
    _say("disconnected", change, dry_run=dry_run, as_json=as_json)


@command.command("print-config")
@_host
@_scope
@_server_options
def print_config(host: str, scope: str, **server: Any) -> None:
    """Print what 'connect' would put into an empty file.

    In the chat program's own format, for those who write its configuration by hand.
    """
    from pyro_mcp.chat_hosts import connection

    output.content(connection.snippet(host, _wanted(**server), scope=_checked(scope)))


@command.command("doctor")
@_host
@_scope
@options.as_json
def doctor(host: str, scope: str, as_json: bool) -> None:
    """Start what a chat program would start, and run one tool.

    Exits with 0 when the tool ran in a guest.
    """
    from pyro_mcp.chat_hosts import check

    report = check.check(host, scope=_checked(scope), directory=Path.cwd())
    if as_json:
        output.json_object(report)
        return
    output.fields({**report, "command": shlex.join(report["command"])})


def _wanted(
    *,
    profile: str,
    mode: str | None,
    project_path: str | None,
    program: str | None,
    variables: tuple[str, ...],
    url: str | None,
    token_variable: str | None,
) -> Wanted:
    from pyro_mcp.chat_hosts.connection import Wanted

    given = click.get_current_context().get_parameter_source("profile")
    if mode is not None and given is not ParameterSource.DEFAULT:
        raise click.UsageError(
            "--mode and --profile exclude each other.", click.get_current_context()
        )
    return Wanted(
        profile=profile,
        mode=mode,
        project_path=project_path,
        command=program,
        env=options.pairs("--env", variables),
        url=url,
        token_variable=token_variable,
    )


def _checked(scope: str) -> Any:
    return scope  # click has compared it with the two there are


def _say(done: str, change: Change, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        output.json_object({**change.to_dict(), "dry_run": dry_run})
        return
    if not change.changed:
        output.note(f"[host] {change.path} is as it should be; nothing changed.")
        return
    output.content(change.diff)
    if dry_run:
        output.note("[host] dry run: nothing was written.")
        return
    output.note(f"[host] {done}: {change.path}")
    if change.backup is not None:
        output.note(f"[host] what it was: {change.backup}")
    output.note(f"[host] next: {change.then}")
