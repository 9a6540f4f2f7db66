"""Options and arguments that several commands share."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyro_mcp import config
from pyro_mcp.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

environment = click.argument("environment", metavar="ENVIRONMENT")

workspace_id = click.argument("workspace_id", metavar="WORKSPACE_ID")

vcpu_count = click.option(
    "--vcpu-count", metavar="VCPU_COUNT", type=int,
    default=config.DEFAULT_VCPU_COUNT, show_default=True,
    help="Virtual CPUs, {} to {}.".format(*config.VCPU_RANGE),
)  # fmt: skip

mem_mib = click.option(
    "--mem-mib", metavar="MEM_MIB", type=int,
    default=config.DEFAULT_MEM_MIB, show_default=True,
    help="Memory in MiB, {} to {}.".format(*config.MEM_MIB_RANGE),
)  # fmt: skip

timeout_seconds = click.option(
    "--timeout-seconds", metavar="TIMEOUT_SECONDS", type=int,
    default=config.DEFAULT_TIMEOUT_SECONDS, show_default=True,
    help="Limit for the command; after it, status 124.",
)  # fmt: skip

stdin = click.option(
    "--stdin", "pass_stdin", is_flag=True, help="Pass standard input to the command."
)

name = click.option("--name", metavar="NAME", help="Name for people, up to 120 characters.")

label = click.option(
    "--label", "labels", metavar="KEY=VALUE", multiple=True,
    help="Label for programs; may be repeated.",
)  # fmt: skip

id_only = click.option("--id-only", is_flag=True, help="Print the id and nothing else.")

network = click.option("--network", is_flag=True, help="Give the computer outbound network.")

network_allow = click.option(
    "--network-allow", metavar="TARGET[:PORT]", multiple=True,
    help="Only this of the network: a name, *.name, address or range; may be repeated.",
)  # fmt: skip

network_private = click.option(
    "--network-private", metavar="RANGE", multiple=True,
    help="Address or range of a private network to open; may be repeated.",
)  # fmt: skip

network_inherit = click.option(
    "--network-inherit", is_flag=True,
    help="Give commands this host's proxies, package indexes and certificates.",
)  # fmt: skip

learn = click.option(
    "--learn", is_flag=True, help="Print the smallest allow list for what it asked for."
)


class GuestCommand(click.Command):
    """A command whose words after `--` are the guest's, untouched; options end there.

    They arrive as the parameter `command_args`. Words that are neither options nor arguments are
    refused before `--`, so that an option meant for the guest is never taken by pyro.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        cut = args.index("--") if "--" in args else len(args)
        own, guests = args[:cut], args[cut + 1 :]
        super().parse_args(ctx, own)
        if (stray := ctx.params["command_args"]) and not ctx.resilient_parsing:
            raise click.UsageError(
                f"{stray[0]!r} is one word too many: the guest's command starts after '--'.",
                ctx=ctx,
            )
        ctx.params["command_args"] = tuple(guests)
        return []


def guest_words(command: Any) -> Any:
    """The guest's command, for use with `GuestCommand`."""
    return click.argument("command_args", metavar="-- ARG...", nargs=-1)(command)


def together(**given: object) -> None:
    """Refuse options that exclude each other, given by name (`id_only=…`): at most one is set."""
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if len(names) > 1:
        raise click.UsageError(f"{' and '.join(names)} exclude each other.", _context())


def one_of(**given: object) -> None:
    """As `together`, and one of them must be given."""
    together(**{name: value is not None for name, value in given.items()})
    if all(value is None for value in given.values()):
        names = " or ".join(f"--{name.replace('_', '-')}" for name in given)
        raise click.UsageError(f"One of {names} is needed.", _context())


def pairs(option: str, words: Iterable[str]) -> dict[str, str]:
    """Values of a repeatable KEY=VALUE option; the last of a key counts."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            # Not quoted: it may be half of a secret.
            raise InvalidInputError(
                option, "has a value without key or '='", hint=f"Give {option} KEY=VALUE."
            )
        found[key] = value
    return found


def duration(option: str, text: str) -> float:
    """Seconds from a number with a unit, such as `90s`, `12h` or `7d`."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", text.strip().lower())
    if match is None:
        raise InvalidInputError(
            option, f"is {text!r}", hint="Give a number and s, m, h, d or w, such as 12h or 7d."
        )
    return float(match[1]) * _UNITS[match[2]]


def text_of(option: str, path: str, *, errors: str = "strict") -> str:
    """The text of a file of this host, or of standard input if that is '-', as it is.

    `errors` is Python's, for bytes that are not UTF-8.

    Raises:
        InvalidInputError: It cannot be read, or is not UTF-8.
    """
    try:
        if path == "-":
            return "" if sys.stdin is None else sys.stdin.buffer.read().decode(errors=errors)
        return Path(path).expanduser().read_bytes().decode(errors=errors)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidInputError(
            option, f"{path!r} cannot be read: {why}", hint="Give a UTF-8 file of this host."
        ) from error


def read_stdin() -> BinaryIO | bytes:
    """Our standard input, for a guest's command."""
    return sys.stdin.buffer if sys.stdin is not None else b""


def _context() -> click.Context:
    return click.get_current_context()
