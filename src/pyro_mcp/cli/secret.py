"""`pyro workspace secret`, and the options about secrets that other commands have."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pyro_mcp.cli import options, output
from pyro_mcp.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable

STDIN = "-"
_MOST_BYTES = 1 << 20
"""Read of standard input at most: enough to see that a value is too long."""

secret_env = click.option(
    "--secret-env", metavar="SECRET[=ENV_VAR]", multiple=True,
    help="Secret to pass as a variable; may be repeated.",
)  # fmt: skip

_name = click.argument("name", metavar="NAME")


@click.group("secret")
def command() -> None:
    """Set and delete private values of a workspace.

    The guest has them in memory, as /run/pyro-secrets/NAME; a command has one as a variable with
    --secret-env. Where a value comes back, [REDACTED] is shown.
    """


@command.command("set")
@options.workspace_id
@_name
@click.option("--file", "file_path", metavar="PATH", help="File of this host that has the value.")
@click.argument("stray", nargs=-1, metavar="")
@options.as_json
def set_(
    workspace_id: str, name: str, file_path: str | None, stray: tuple[str, ...], as_json: bool
) -> None:
    """Add a secret or give it another value.

    Without --file the value is read from standard input, without the newline at its end; on a
    terminal it is asked for. A workspace that runs has it at once.
    """
    if stray:
        # Not quoted, as click would.
        raise click.UsageError(
            "A value is not taken from the command line, where others can see it: "
            "give it on standard input, or with --file.",
            click.get_current_context(),
        )
    from pyro_mcp.sdk.pyro import Pyro

    value = _from_stdin(name) if file_path in (None, STDIN) else None
    done = Pyro().set_secret(
        workspace_id, name, value=value, file_path=file_path if value is None else None
    )
    if as_json:
        output.json_object(done)
        return
    facts = {
        "workspace_id": done["workspace_id"],
        **done["secret"],
        "replaced": output.plain(done["replaced"]),
        "in_guest": output.plain(done["in_guest"]),
    }
    output.line(output.said("workspace-secret-set", facts))


@command.command("list")
@options.workspace_id
@options.as_json
def list_command(workspace_id: str, as_json: bool) -> None:
    """Show the names of the secrets."""
    from pyro_mcp.sdk.pyro import Pyro

    found = Pyro().list_secrets(workspace_id)
    if as_json:
        output.json_object(found)
        return
    for one in found["secrets"]:
        output.line(f"{one['name']} [{one['source_kind']}]")
    if not found["secrets"]:
        output.line("No secrets.")


@command.command("rm")
@options.workspace_id
@_name
@options.as_json
def rm(workspace_id: str, name: str, as_json: bool) -> None:
    """Forget a secret; a workspace that runs loses it at once."""
    from pyro_mcp.sdk.pyro import Pyro

    deleted = Pyro().delete_secret(workspace_id, name)
    if as_json:
        output.json_object(deleted)
    else:
        output.line(f"Deleted secret: {deleted['name']}")


def given(literal: Iterable[str], from_files: Iterable[str]) -> list[dict[str, str]]:
    """The values of `--secret NAME=VALUE` and `--secret-file NAME=PATH`."""
    found = [{"name": n, "value": value} for n, value in _split("--secret", literal)]
    for name, path in _split("--secret-file", from_files):
        if path == STDIN:
            found.append({"name": name, "value": _from_stdin(name)})
        else:
            found.append({"name": name, "file_path": path})
    return found


def env(words: Iterable[str]) -> dict[str, str]:
    """The values of `--secret-env SECRET[=ENV_VAR]`: name → variable."""
    found: dict[str, str] = {}
    for word in words:
        name, _, variable = word.partition("=")
        if name in found:
            raise InvalidInputError(
                "--secret-env", "has one secret twice", hint="Give each of them once."
            )
        found[name] = variable or name
    return found


def _split(option: str, words: Iterable[str]) -> list[tuple[str, str]]:
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            # Not quoted: it may be half of a secret.
            raise InvalidInputError(
                option, "has a value without name or '='", hint=f"Give {option} NAME=…"
            )
        found.append((name, value))
    return found


def _from_stdin(name: str) -> str:
    if sys.stdin is not None and sys.stdin.isatty():
        return str(click.prompt(f"Value of {name}", hide_input=True, err=True))
    data = b"" if sys.stdin is None else sys.stdin.buffer.read(_MOST_BYTES)
    return data.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")
