"""`pyro workspace service`: processes of a workspace that go on between calls."""

from __future__ import annotations

import shlex
from typing import Any

import click

from pyro_mcp import protocol
from pyro_mcp.cli import options, output, secret
from pyro_mcp.errors import InvalidInputError

_service_name = click.argument("service_name", metavar="SERVICE_NAME")


@click.group("service")
def command() -> None:
    """Run processes of a workspace that go on between calls."""


@command.command("start", cls=options.GuestCommand)
@options.workspace_id
@_service_name
@options.guest_words
@click.option(
    "--cwd", default=protocol.WORKSPACE, show_default=True, help="Directory to run it in."
)
@click.option("--ready-file", metavar="READY_FILE", help="Ready when this file exists.")
@click.option("--ready-tcp", metavar="READY_TCP", help="Ready when HOST:PORT accepts connections.")
@click.option("--ready-http", metavar="READY_HTTP", help="Ready when the URL answers 2xx or 3xx.")
@click.option(
    "--ready-command", metavar="READY_COMMAND", help="Ready when this command ends with status 0."
)
@click.option(
    "--ready-timeout-seconds", metavar="READY_TIMEOUT_SECONDS", type=int,
    default=30, show_default=True, help="How long to wait; after it the service is stopped.",
)  # fmt: skip
@click.option(
    "--ready-interval-ms", metavar="READY_INTERVAL_MS", type=int,
    default=500, show_default=True, help="The longest pause between two looks.",
)  # fmt: skip
@click.option(
    "--secret-env", metavar="SECRET[=ENV_VAR]", multiple=True,
    help="Secret to pass as a variable; may be repeated.",
)  # fmt: skip
@click.option(
    "--publish", metavar="GUEST_PORT|HOST_PORT:GUEST_PORT", multiple=True,
    help="Port of 127.0.0.1 that leads to it; may be repeated.",
)  # fmt: skip
@options.as_json
def start(
    workspace_id: str,
    service_name: str,
    command_args: tuple[str, ...],
    cwd: str,
    ready_file: str | None,
    ready_tcp: str | None,
    ready_http: str | None,
    ready_command: str | None,
    ready_timeout_seconds: int,
    ready_interval_ms: int,
    secret_env: tuple[str, ...],
    publish: tuple[str, ...],
    as_json: bool,
) -> int:
    """Start a service and wait until it is ready.

    Everything after '--' is the command; its words stay apart as they are here. It goes on when
    this command has ended. The exit status is 1 if the service failed. Ports need a workspace made
    with --network-policy published-ports.
    """
    if not command_args:
        raise InvalidInputError(
            "command", "is empty",
            hint="Give it after '--': "
            f"pyro workspace service start {workspace_id} {service_name} -- ./server",
        )  # fmt: skip
    options.together(
        ready_file=ready_file, ready_tcp=ready_tcp, ready_http=ready_http,
        ready_command=ready_command,
    )  # fmt: skip
    from pyro_mcp.sdk.pyro import Pyro

    started = Pyro().start_service(
        workspace_id,
        service_name,
        command=shlex.join(command_args),
        cwd=cwd,
        readiness=_readiness(
            ("file", "path", ready_file),
            ("tcp", "address", ready_tcp),
            ("http", "url", ready_http),
            ("command", "command", ready_command),
        ),
        ready_timeout_seconds=ready_timeout_seconds,
        ready_interval_ms=ready_interval_ms,
        secret_env=secret.env(secret_env),
        published_ports=[_port_pair(word) for word in publish],
    )
    return _say_started("workspace-service-start", started, as_json=as_json)


@command.command("restart")
@options.workspace_id
@_service_name
@options.as_json
def restart(workspace_id: str, service_name: str, as_json: bool) -> int:
    """Stop a service, if it runs, and start it again as it was."""
    from pyro_mcp.sdk.pyro import Pyro

    started = Pyro().restart_service(workspace_id, service_name)
    return _say_started("workspace-service-restart", started, as_json=as_json)


@command.command("list")
@options.workspace_id
@options.as_json
def list_command(workspace_id: str, as_json: bool) -> None:
    """Show every service of a workspace."""
    from pyro_mcp.sdk.pyro import Pyro

    found = Pyro().list_services(workspace_id)
    if as_json:
        output.json_object(found)
        return
    for one in found["services"]:
        published = _published(one)
        ports = f" published={published}" if published else ""
        output.line(f"{one['service_name']} [{one['state']}] cwd={one['cwd']}{ports}")
    if not found["services"]:
        output.line("No services.")


@command.command("status")
@options.workspace_id
@_service_name
@options.as_json
def status(workspace_id: str, service_name: str, as_json: bool) -> None:
    """Show one service."""
    from pyro_mcp.sdk.pyro import Pyro

    _say("workspace-service-status", Pyro().status_service(workspace_id, service_name), as_json)


@command.command("logs")
@options.workspace_id
@_service_name
@click.option(
    "--tail-lines", metavar="TAIL_LINES", type=int, default=200, show_default=True,
    help="Last lines of each stream.",
)  # fmt: skip
@click.option("--all", "all_lines", is_flag=True, help="Everything that is kept.")
@click.option("--follow", is_flag=True, help="Go on with what it writes, until it ends.")
@options.as_json
def logs(
    workspace_id: str,
    service_name: str,
    tail_lines: int,
    all_lines: bool,
    follow: bool,
    as_json: bool,
) -> None:
    """Show what a service wrote.

    The latest 2 MiB of each stream are kept. Reading changes nothing.
    """
    options.together(follow=follow, json=as_json)
    from pyro_mcp.sdk.pyro import Pyro

    tag = "workspace-service-logs"
    if follow:
        seen = Pyro().follow_service(
            workspace_id, service_name, on_output=output.pass_on,
            tail_lines=tail_lines, all=all_lines,
        )  # fmt: skip
        _say(tag, seen, as_json=False)
        output.also(tag, seen)
        return
    found = Pyro().logs_service(workspace_id, service_name, tail_lines=tail_lines, all=all_lines)
    if as_json:
        output.json_object(found)
        return
    output.content(found["stdout"])
    output.content(found["stderr"], to=output.STDERR)
    _say(tag, found, as_json=False)
    output.also(tag, found)
    if found["truncated"]:
        output.note(f"[{tag}] earlier lines were left out")


@command.command("stop")
@options.workspace_id
@_service_name
@options.as_json
def stop(workspace_id: str, service_name: str, as_json: bool) -> None:
    """End a service and all it started."""
    from pyro_mcp.sdk.pyro import Pyro

    _say("workspace-service-stop", Pyro().stop_service(workspace_id, service_name), as_json)


def _say_started(tag: str, started: dict[str, Any], *, as_json: bool) -> int:
    _say(tag, started, as_json)
    if not as_json:
        output.also(tag, started)
        if started["state"] == "failed":
            code = started["exit_code"]
            ended = None if code is None else f"exit code {code}"
            why = [text for text in (ended, started["problem"]) if text]
            output.note("; ".join((f"[{tag}] it failed: {started['stop_reason']}", *why)))
            for text in (started["last_stdout"], started["last_stderr"]):
                output.content(text or "", to=output.STDERR)
    return 1 if started["state"] == "failed" else 0


def _say(tag: str, service: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.json_object(service)
        return
    shown = ("workspace_id", "service_name", "state", "cwd", "execution_mode")
    facts = {key: service[key] for key in shown}
    published = _published(service)
    if published:
        facts["published_ports"] = published
    output.note(output.said(tag, facts))


def _published(service: dict[str, Any]) -> str:
    return ",".join(
        f"{one['host']}:{one['host_port']}->{one['guest_port']}/{one['protocol']}"
        for one in service["published_ports"]
    )


def _readiness(*given: tuple[str, str, str | None]) -> dict[str, Any] | None:
    for kind, field, value in given:
        if value is not None:
            return {"type": kind, field: value}
    return None


def _port_pair(word: str) -> dict[str, int | None]:
    host, colon, guest = word.rpartition(":")
    try:
        return {"guest_port": int(guest), "host_port": int(host) if colon else None}
    except ValueError:
        raise InvalidInputError(
            "--publish", f"is {word!r}", hint="Give GUEST_PORT or HOST_PORT:GUEST_PORT."
        ) from None
