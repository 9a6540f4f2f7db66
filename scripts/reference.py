"""Print docs/public-contract.md, from the code: `scripts/dev reference` writes it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import click

from pyro_mcp import errors
from pyro_mcp.cli.main import root
from pyro_mcp.sdk.pyro import Pyro
from pyro_mcp.tools import CORE, FULL, MODES, TOOLS, VM_RUN, Tool

HEAD = """\
# What is promised

`scripts/dev reference` writes this page from the code, and a test compares.

What stands here stays: names, parameters, defaults and the fields of answers.
A later version may add to it; readers of answers ignore fields that they do not know.
What changes is in the [changelog](../CHANGELOG.md).
"""

COMMANDS = """
## Command line

`--json` prints one object, keys sorted.
An error is then one too: `ok` is false, `error` the message, `code` a word for programs, `hint` \
the next step.
Results go to standard output, everything about them to standard error.
Exit status: 0 done, 1 refused or failed, 2 not understood, 128 + n ended by signal n.
`pyro run` and `pyro workspace exec` end with the status of the guest's command, or 124 after its \
time limit.
"""

METHODS = """
## Python

`from pyro_mcp import Pyro`; each method gives a dictionary of JSON's types, or a list of them.
Times are Unix seconds, ids 12 hexadecimal digits; `_seconds`, `_ms`, `_mib` and `_bytes` are units.
"""

TOOLS_HEAD = """
## Tools

What `pyro mcp serve` and the adapters offer to a model.
Unknown arguments are refused; an error is an object `{"error": {"code", "message", "hint"}}`.
"""

ERRORS = """
## Errors

Each is a `PyroError` with `code`, `problem` and `hint`, and also the built-in named here.
"""


def page() -> Iterator[str]:
    """The lines of the page."""
    yield HEAD
    yield COMMANDS
    for words, command in _commands(root, ("pyro",)):
        yield from _command(words, command)
    yield METHODS
    yield "| method | what it does |"
    yield "| --- | --- |"
    for name, method in inspect.getmembers(Pyro, inspect.isfunction):
        if not name.startswith("_"):
            yield f"| `{_signature(name, method)}` | {_first_sentence(method.__doc__)} |"
    yield TOOLS_HEAD
    yield "| tool | arguments | profiles and modes |"
    yield "| --- | --- | --- |"
    for tool in TOOLS:
        yield _tool(tool)
    yield ERRORS
    for module in pkgutil.iter_modules(errors.__path__, f"{errors.__name__}."):
        importlib.import_module(module.name)
    yield "| code | class | also |"
    yield "| --- | --- | --- |"
    for kind in sorted(_below(errors.PyroError), key=lambda one: one.code):
        builtin = next(one.__name__ for one in kind.__mro__ if one.__module__ == "builtins")
        yield f"| `{kind.code}` | `{kind.__name__}` | `{builtin}` |"


def _commands(
    command: click.Command, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield words, command
        return
    if command.invoke_without_command:
        yield words, command
    context = click.Context(command)
    for name in sorted(command.list_commands(context)):
        below = command.get_command(context, name)
        assert below is not None
        yield from _commands(below, (*words, name))


def _command(words: tuple[str, ...], command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=" ".join(words))
    arguments = [one.make_metavar(context) for one in command.params if _is_argument(one)]
    yield f"### `{' '.join((*words, *arguments))}`\n"
    yield f"{_first_sentence(command.help)}\n"
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    if options:
        yield "| option | default | meaning |"
        yield "| --- | --- | --- |"
        for option in options:
            yield f"| {_option(option, context)} | {_default(option)} | {_cell(option.help)} |"
        yield ""


def _is_argument(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Argument)


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    if isinstance(option.type, click.Choice):
        return f"`{names}` {', '.join(f'`{one}`' for one in option.type.choices)}"
    return f"`{names}`" if option.is_flag else f"`{names} {option.make_metavar(context)}`"


def _default(option: click.Option) -> str:
    default = option.to_info_dict()["default"]
    return "" if default in (None, False, [], ()) else f"`{default}`"


def _signature(name: str, method: Any) -> str:
    parameters = list(inspect.signature(method).parameters.values())[1:]
    shown: list[str] = []
    for one in parameters:
        if one.kind is one.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        shown.append(one.name if one.default is one.empty else f"{one.name}={one.default!r}")
    return f"{name}({', '.join(shown)})"


def _tool(tool: Tool) -> str:
    schema = tool.input_schema
    required = set(schema.get("required", ()))
    names = [name if name in required else f"{name}?" for name in schema.get("properties", {})]
    offered = [one for one in (VM_RUN, CORE, FULL) if one in tool.profiles]
    offered += [mode for mode, tools in MODES.items() if tool.name in tools]
    arguments = ", ".join(f"`{one}`" for one in names)
    return f"| `{tool.name}` | {arguments} | {', '.join(offered)} |"


def _first_sentence(text: str | None) -> str:
    paragraph = _cell((text or "").split("\n\n")[0])
    return re.split(r"(?<=\.) ", paragraph)[0]


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _below(kind: type[errors.PyroError]) -> Iterator[type[errors.PyroError]]:
    for one in kind.__subclasses__():
        if "code" in vars(one):
            yield one
        yield from _below(one)


if __name__ == "__main__":
    print("\n".join(page()))
