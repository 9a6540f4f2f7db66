"""`pyro run`: one command in a throwaway computer."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from pyro_mcp import config
from pyro_mcp.cli import options, output
from pyro_mcp.errors import InvalidInputError

if TYPE_CHECKING:
    from typing import BinaryIO

_HOST_COMPAT = "host_compat"
_DESCRIPTORS = {"stdout": output.STDOUT, "stderr": output.STDERR}


@click.command("run", cls=options.GuestCommand)
@options.environment
@options.guest_words
@click.option(
    "--vcpu-count", type=int, default=config.DEFAULT_VCPU_COUNT, show_default=True,
    help="Virtual CPUs, {} to {}.".format(*config.VCPU_RANGE),
)  # fmt: skip
@click.option(
    "--mem-mib", type=int, default=config.DEFAULT_MEM_MIB, show_default=True,
    help="Memory in MiB, {} to {}.".format(*config.MEM_MIB_RANGE),
)  # fmt: skip
@click.option(
    "--timeout-seconds", type=int, default=config.DEFAULT_TIMEOUT_SECONDS, show_default=True,
    help="Limit for the command; after it, status 124.",
)  # fmt: skip
@click.option(
    "--ttl-seconds", type=int, default=config.DEFAULT_TTL_SECONDS, show_default=True,
    help="Limit for the computer's whole life, {} to {}.".format(*config.TTL_SECONDS_RANGE),
)  # fmt: skip
@options.network
@click.option(
    "--allow-host-compat",
    is_flag=True,
    help="Allow running on this host itself, without isolation, where no guest can run.",
)
@click.option("--stdin", "pass_stdin", is_flag=True, help="Pass standard input to the command.")
@options.as_json
def command(
    environment: str,
    command_args: tuple[str, ...],
    vcpu_count: int,
    mem_mib: int,
    timeout_seconds: int,
    ttl_seconds: int,
    network: bool,
    allow_host_compat: bool,
    pass_stdin: bool,
    as_json: bool,
) -> int:
    """Run one command in a throwaway computer.

    Everything after '--' is the command; its words stay apart as they are here. For shell syntax:
    pyro run debian:12 -- sh -c 'a | b'. Output is passed on as it comes, and the exit status is
    the command's.
    """
    if not command_args:
        raise InvalidInputError(
            "command", "is empty",
            hint=f"Give it after '--': pyro run {environment} -- git --version",
        )  # fmt: skip
    if allow_host_compat:
        output.warning(
            "--allow-host-compat: where no guest can run, the command runs as you, on this host, "
            "without any isolation."
        )
    from pyro_mcp.cli.progress import BuildProgress
    from pyro_mcp.sdk.pyro import Pyro

    with BuildProgress("run", quiet=as_json) as progress, Pyro() as pyro:

        def on_phase(phase: str, facts: dict[str, Any]) -> None:
            progress.on_phase(phase, facts)
            if phase != "build" and not as_json:
                output.note(_said("run", {"phase": phase, **facts}))

        result = pyro.run_in_vm(
            environment=environment,
            command=shlex.join(command_args),
            vcpu_count=vcpu_count,
            mem_mib=mem_mib,
            timeout_seconds=timeout_seconds,
            ttl_seconds=ttl_seconds,
            network=network,
            allow_host_compat=allow_host_compat,
            stdin=_stdin() if pass_stdin else None,
            on_output=None if as_json else _pass_on,
            on_phase=on_phase,
            keep_output=as_json,
        )
    if result["execution_mode"] == _HOST_COMPAT:
        output.warning("the command ran on this host, without any isolation.")
    if as_json:
        output.json_object(result)
    else:
        _sum_up(result, timeout_seconds)
    return int(result["exit_code"])


def _pass_on(stream: str, data: bytes) -> None:
    output.write(_DESCRIPTORS[stream], data)


def _stdin() -> BinaryIO | bytes:
    return sys.stdin.buffer if sys.stdin is not None else b""


def _sum_up(result: dict[str, Any], timeout_seconds: int) -> None:
    if result["timed_out"]:
        output.note(f"[run] the command was ended after its {timeout_seconds} s")
    if result["oom_killed"]:
        output.note("[run] the guest ran out of memory; --mem-mib gives it more")
    if result["signal"]:
        output.note(f"[run] the command was ended by signal {result['signal']}")
    shown = ("environment", "execution_mode", "exit_code", "duration_ms")
    output.note(_said("run", {key: result[key] for key in shown}))


def _said(tag: str, facts: dict[str, Any]) -> str:
    return " ".join((f"[{tag}]", *(f"{key}={value}" for key, value in facts.items())))
