"""`pyro workspace exec`: one command in a workspace."""

from __future__ import annotations

import shlex

import click

from pyro_mcp import protocol
from pyro_mcp.cli import options, output, secret
from pyro_mcp.errors import InvalidInputError

_TAG = "workspace-exec"


@click.command("exec", cls=options.GuestCommand)
@options.workspace_id
@options.guest_words
@options.timeout_seconds
@click.option(
    "--cwd", default=protocol.WORKSPACE, show_default=True, help="Directory to run it in."
)
@click.option(
    "--env", metavar="NAME=VALUE", multiple=True,
    help="Variable for this command; may be repeated.",
)  # fmt: skip
@secret.secret_env
@options.stdin
@options.learn
@options.as_json
def command(
    workspace_id: str,
    command_args: tuple[str, ...],
    timeout_seconds: int,
    cwd: str,
    env: tuple[str, ...],
    secret_env: tuple[str, ...],
    pass_stdin: bool,
    learn: bool,
    as_json: bool,
) -> int:
    """Run a command in a workspace.

    Everything after '--' is the command; its words stay apart as they are here. For shell syntax:
    pyro workspace exec ID -- sh -c 'a | b'. Output is passed on as it comes, and the exit status
    is the command's. A stopped workspace is started first.
    """
    if not command_args:
        raise InvalidInputError(
            "command", "is empty",
            hint=f"Give it after '--': pyro workspace exec {workspace_id} -- git status",
        )  # fmt: skip
    from pyro_mcp.sdk.pyro import Pyro

    result = Pyro().exec_workspace(
        workspace_id,
        command=shlex.join(command_args),
        timeout_seconds=timeout_seconds,
        secret_env=secret.env(secret_env),
        cwd=cwd,
        env=options.pairs("--env", env),
        stdin=options.read_stdin() if pass_stdin else None,
        on_output=None if as_json else output.pass_on,
        keep_output=as_json,
    )
    if as_json:
        output.json_object(result)
        return int(result["exit_code"])
    output.also(_TAG, result)
    output.how_it_ended(
        _TAG, result, timeout_seconds=timeout_seconds,
        hint="a workspace made with more --mem-mib has more",
    )  # fmt: skip
    shown = ("workspace_id", "sequence", "cwd", "execution_mode", "exit_code", "duration_ms")
    output.note(output.said(_TAG, {key: result[key] for key in shown}))
    output.network(_TAG, result, learn=learn or result["network_learn"])
    return int(result["exit_code"])
