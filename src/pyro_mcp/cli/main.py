"""`pyro`: the commands, and what becomes of whatever goes wrong in them.

A command parses, makes one call and prints. Errors leave it as exceptions; `main` alone turns
them into a message, for `--json` also an object, and an exit status:

    0            done
    1            pyro refused or failed: `[error] …` on stderr
    2            the words are not understood
    N            `pyro run`, `pyro workspace exec`: what the guest's command ended with;
                 `pyro shell`, `pyro workspace shell attach`: what the shell ended with
    128 + n      ended by signal n, for example 130 after Ctrl-C
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from pyro_mcp import __version__
from pyro_mcp.cli import output
from pyro_mcp.cli.lazy import LazyGroup
from pyro_mcp.errors import BrokenInstallError, PyroError

if TYPE_CHECKING:
    from types import FrameType

PROGRAM = "pyro"

_MISUSE = 2
_HELP_WIDTH = 100
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)

COMMANDS = {
    "run": ("run", "Run one command in a throwaway computer."),
    "workspace": ("workspace", "Manage workspaces, computers that are kept."),
    "shell": ("shell:shell", "Open a shell in a workspace, here."),
    "env": ("env", "Manage environments, the systems that computers start from."),
    "mcp": ("mcp", "Serve pyro's tools to MCP clients, such as chat hosts."),
    "host": ("host", "Connect chat programs to pyro's tools."),
    "doctor": ("doctor", "Check what this host can do, and say how to mend the rest."),
    "demo": ("demo", "Show what a guest is good for, in less than ten seconds."),
}
"""Command → (module of this folder, its help in one line)."""


class EndedBySignalError(BaseException):
    """The process was asked to end. Not an `Exception`: everything open is closed on the way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@click.group(
    PROGRAM,
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": _HELP_WIDTH,
    },
)
@click.version_option(__version__, "--version", prog_name=PROGRAM, message="%(prog)s %(version)s")
def root() -> None:
    """Run commands in disposable Linux computers, without KVM and without root."""


def main() -> NoReturn:
    """Run the command that the words of this process name, and end it."""
    _occupy_standard_descriptors()
    # A crash must not write our memory, with the values of secrets in it, into a file.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    output.take_over_text()
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see `entry`
            signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup(1) wants it
                signal.signal(number, _end)
        status = _run(sys.argv[1:])
    except KeyboardInterrupt:
        status = _ended_by(signal.SIGINT)
    except EndedBySignalError as ended:
        status = _ended_by(ended.number)
    except output.ReaderGoneError:
        # As if SIGPIPE had ended us: whoever reads has what it wanted.
        output.discard_the_rest()
        status = 128 + signal.SIGPIPE
    sys.exit(status)


def _run(arguments: list[str]) -> int:
    """Carry out one command line; gives the exit status."""
    as_json = _wants_json(arguments)
    try:
        if f"_{PROGRAM.upper()}_COMPLETE" in os.environ:
            root.main(arguments, prog_name=PROGRAM)  # answers the shell and exits
        with root.make_context(PROGRAM, list(arguments)) as context:
            status = root.invoke(context)
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return _MISUSE
    except click.UsageError as error:
        return _misused(error, as_json=as_json)
    except PyroError as error:
        return _failed(error, as_json=as_json)
    except ImportError as error:
        return _failed(BrokenInstallError(error), as_json=as_json)
    except output.ReaderGoneError:
        raise
    except Exception as error:  # noqa: BLE001 - anything else is a fault of pyro's own
        return _fault(error, as_json=as_json)


def _misused(error: click.UsageError, *, as_json: bool) -> int:
    said = error.format_message()
    hint = f"'{error.ctx.command_path if error.ctx else PROGRAM} --help' shows what it takes."
    output.error(f"{said} {hint}")
    if as_json:
        output.failure(f"{said} {hint}", code="usage", hint=hint)
    return _MISUSE


def _failed(error: PyroError, *, as_json: bool) -> int:
    output.error(str(error))
    if as_json:
        output.failure(str(error), code=error.code, hint=error.hint)
    return 1


def _fault(error: Exception, *, as_json: bool) -> int:
    import traceback

    hint = "This is a fault in pyro; please report it with the lines above."
    said = f"{type(error).__name__}: {error}"
    output.write(2, "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace"))
    output.error(f"{said}. {hint}")
    if as_json:
        output.failure(said, code="internal", hint=hint)
    return 1


def _ended_by(number: int) -> int:
    name = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    try:
        output.error(f"{name}; what was running for this command has been ended.")
    except output.ReaderGoneError:
        output.discard_the_rest()
    return 128 + number


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise EndedBySignalError(number)


def _wants_json(arguments: list[str]) -> bool:
    # Looked up here, not in the parsed options: words that cannot be parsed count too.
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in before


def _occupy_standard_descriptors() -> None:
    # A descriptor that was closed by the caller would become the next file we open, a lock or a
    # socket, and would get our messages.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
