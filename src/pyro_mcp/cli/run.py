"""`pyro run`: one command in a throwaway computer."""

from __future__ import annotations

import shlex
from typing import Any

import click

from pyro_mcp import config
from pyro_mcp.cli import options, output
from pyro_mcp.errors import InvalidInputError

_HOST_COMPAT = "host_compat"


@click.command("run", cls=options.GuestCommand)
@options.environment
@options.guest_words
@options.vcpu_count
@options.mem_mib
@options.timeout_seconds
@click.option(
    "--ttl-seconds", metavar="TTL_SECONDS", type=int,
    default=config.DEFAULT_TTL_SECONDS, show_default=True,
    help="Limit for the computer's whole life, {} to {}.".format(*config.TTL_SECONDS_RANGE),
)  # fmt: skip
@options.network
@options.network_allow
@options.network_private
@options.network_inherit
@options.learn
@click.option(
    "--allow-host-compat",
    is_flag=True,
    help="Allow running on this host itself, without isolation, where no guest can run.",
)
@options.stdin
@options.as_json
def command(
    environment: str,
    command_args: tuple[str, ...],
    vcpu_count: int,
    mem_mib: int,
    timeout_seconds: int,
    ttl_seconds: int,
    network: bool,
    network_allow: tuple[str, ...],
    network_private: tuple[str, ...],
    network_inherit: bool,
    learn: bool,
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
                output.note(output.said("run", {"phase": phase, **facts}))

        result = pyro.run_in_vm(
            environment=environment,
            command=shlex.join(command_args),
            vcpu_count=vcpu_count,
            mem_mib=mem_mib,
            timeout_seconds=timeout_seconds,
            ttl_seconds=ttl_seconds,
            network=network,
            network_allow=network_allow,
            network_private=network_private,
            network_inherit=network_inherit,
            allow_host_compat=allow_host_compat,
            stdin=options.read_stdin() if pass_stdin else None,
            on_output=None if as_json else output.pass_on,
            on_phase=on_phase,
            keep_output=as_json,
        )
    if result["execution_mode"] == _HOST_COMPAT:
        output.warning("the command ran on this host, without any isolation.")
    if as_json:
        output.json_object(result)
    else:
        _sum_up(result, timeout_seconds)
        output.network("run", result, learn=learn)
    return int(result["exit_code"])


def _sum_up(result: dict[str, Any], timeout_seconds: int) -> None:
    output.how_it_ended(
        "run", result, timeout_seconds=timeout_seconds, hint="--mem-mib gives it more"
    )
    shown = ("environment", "execution_mode", "exit_code", "duration_ms")
    output.note(output.said("run", {key: result[key] for key in shown}))
