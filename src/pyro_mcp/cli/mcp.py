"""`pyro mcp`: pyro as tools of an MCP client."""

from __future__ import annotations

import gc
from pathlib import Path

import click
from click.core import ParameterSource

from pyro_mcp.tools import FULL, MODES, PROFILES

_HTTP_ONLY = ("host", "port", "allow_remote", "token_file", "allowed_host")


@click.group("mcp")
def command() -> None:
    """Serve pyro's tools to MCP clients, such as chat hosts."""


@command.command("serve")
@click.option(
    "--profile", metavar="PROFILE", type=click.Choice(PROFILES), default=FULL, show_default=True,
    help="Tools to offer: workspace-core for most uses, vm-run for single commands, "
    "workspace-full for shells, services, snapshots and secrets too.",
)  # fmt: skip
@click.option(
    "--mode", type=click.Choice(tuple(MODES)),
    help="Offer the few tools of one use case instead of a profile.",
)  # fmt: skip
@click.option(
    "--project-path", metavar="DIR", type=click.Path(path_type=Path),
    help="What a new workspace begins with when a call names no seed.",
)  # fmt: skip
@click.option(
    "--project-gitignore", is_flag=True, help="Leave behind what its .gitignore files name."
)
@click.option("--workspace", metavar="ID", help="Confine the tools to this workspace.")
@click.option(
    "--transport", type=click.Choice(("stdio", "http")), default="stdio", show_default=True,
    help="Standard input and output, or streamable HTTP.",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=8722, show_default=True, help="Port; 0 for any.")
@click.option("--allow-remote", is_flag=True, help="Allow an --host that other hosts can reach.")
@click.option(
    "--token-file", metavar="FILE", type=click.Path(path_type=Path),
    help="File with the bearer token; made with a new one when it is missing.",
)  # fmt: skip
@click.option(
    "--allowed-host", metavar="NAME", multiple=True,
    help="Name that clients use for this host; may be repeated.",
)  # fmt: skip
@click.pass_context
def serve(
    context: click.Context,
    profile: str,
    mode: str | None,
    project_path: Path | None,
    project_gitignore: bool,
    workspace: str | None,
    transport: str,
    host: str,
    port: int,
    allow_remote: bool,
    token_file: Path | None,
    allowed_host: tuple[str, ...],
) -> int:
    """Serve tools until the client goes; start with --profile workspace-core.

    Over standard input and output nothing but the protocol is printed. When the client goes,
    running commands are ended and one-shot computers removed; workspaces stay.
    """
    _check(context)
    # Loading makes very many objects that stay; looking for garbage among them costs a tenth.
    gc.disable()
    from pyro_mcp.mcp.server import PyroServer
    from pyro_mcp.sdk.pyro import Pyro

    if transport == "stdio":
        http = None
    else:
        from pyro_mcp.mcp.http import Http

        http = Http(
            host=host,
            port=port,
            allow_remote=allow_remote,
            token_file=token_file,
            allowed_hosts=allowed_host,
        )
    server = PyroServer(
        Pyro(),
        profile,
        mode=mode,
        workspace_id=workspace,
        project_path=project_path,
        project_gitignore=project_gitignore,
    )
    gc.freeze()
    gc.enable()
    return server.run("stdio" if http is None else "streamable-http", http=http)


def _check(context: click.Context) -> None:
    """Refuse options that would have no effect."""

    def given(name: str) -> bool:
        return context.get_parameter_source(name) is not ParameterSource.DEFAULT

    values = context.params
    wrong = None
    if values["mode"] is not None and given("profile"):
        wrong = "--mode and --profile exclude each other."
    elif values["workspace"] is not None and given("project_path"):
        wrong = "--project-path is for new workspaces, and --workspace leaves none to be made."
    elif values["project_gitignore"] and not given("project_path"):
        wrong = "--project-gitignore is about --project-path, which is missing."
    elif values["transport"] == "stdio":
        for name in filter(given, _HTTP_ONLY):
            wrong = f"--{name.replace('_', '-')} is for --transport http."
    if wrong:
        raise click.UsageError(wrong, context)
