"""Services of a workspace: started, waited for, looked at, stopped.

The guest's agent is the truth about what runs. The database holds what was asked for, and what was
seen last; a row that says `running` is only believed as far as the agent confirms it. Services
end with their machine: booting a workspace forgets them.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pyro_mcp import protocol
from pyro_mcp.boundary.paths import in_workspace
from pyro_mcp.errors import (
    CallCancelledError,
    GuestLostError,
    GuestRefusedError,
    InvalidInputError,
)
from pyro_mcp.errors.services import ServiceRunningError
from pyro_mcp.machines import services as agent
from pyro_mcp.machines.spec import check_command
from pyro_mcp.results.services import Service, ServiceList
from pyro_mcp.state import services as rows
from pyro_mcp.state.services import ServiceRow
from pyro_mcp.workspaces import naming, ports, secrets, service_logs
from pyro_mcp.workspaces.ports import PortPair
from pyro_mcp.workspaces.readiness import Readiness, clean_readiness
from pyro_mcp.workspaces.service_view import Seen, one, see, seen, stopped, without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pyro_mcp.machines.cancel import Cancel
    from pyro_mcp.machines.services import Facts
    from pyro_mcp.workspaces.store import InUse, Store

DEFAULT_READY_TIMEOUT_SECONDS = 30
DEFAULT_READY_INTERVAL_MS = 500
_LONGEST_SECONDS = 10**9


class Asked(NamedTuple):
    """One service as asked for, checked."""

    name: str
    command: str
    cwd: str
    readiness: Readiness | None
    ready_timeout_seconds: int
    ready_interval_ms: int
    secret_env: dict[str, str]
    ports: list[PortPair]
    former_ports: tuple[int, ...] = ()
    """Which the system chose before: to be had again, if they are free."""


def start(
    store: Store,
    workspace_id: str,
    service_name: str,
    *,
    command: str,
    cwd: str = protocol.WORKSPACE,
    readiness: Mapping[str, Any] | None = None,
    ready_timeout_seconds: int = DEFAULT_READY_TIMEOUT_SECONDS,
    ready_interval_ms: int = DEFAULT_READY_INTERVAL_MS,
    secret_env: Mapping[str, str] | None = None,
    published_ports: Sequence[Mapping[str, Any]] | None = None,
    cancel: Cancel | None = None,
) -> Service:
    """Start a service and wait until it is ready, failed, or out of time.

    It is recorded before it is waited for, and goes on when the caller does not. Starts the
    workspace when that is stopped. A service that fails is a result. `cancel` ends the wait, and
    with it the service.

    Raises:
        InvalidInputError: Nothing was done.
        ServiceRunningError: One of that name runs.
        NetworkPolicyError: Ports, under a policy without.
        GuestRefusedError: It could not be started, for example for want of its directory.
        CallCancelledError: `cancel` was triggered.
    """
    check_command(command)
    asked = Asked(
        naming.clean_service_name(service_name),
        command,
        in_workspace("cwd", cwd),
        clean_readiness(readiness),
        _positive("ready_timeout_seconds", ready_timeout_seconds),
        _positive("ready_interval_ms", ready_interval_ms),
        dict(secret_env or {}),
        ports.clean_ports(published_ports),
    )
    return _start(store, workspace_id, asked, cancel)


def restart(
    store: Store, workspace_id: str, service_name: str, *, cancel: Cancel | None = None
) -> Service:
    """Stop a service, if it runs, and start it again as it was started last."""
    name = naming.clean_service_name(service_name)
    found = one(store, workspace_id, name)
    row = found.row
    if row.redacted:
        raise InvalidInputError(
            "service_name", f"is {name!r}, whose command held a secret's value, which is not kept",
            hint="Start it with its command again, the secret passed by secret_env.",
        )  # fmt: skip
    pairs = [PortPair(guest, host) for guest, host in json.loads(row.ports)]
    ports.check_policy(store.row(workspace_id).network_policy, pairs)
    if row.state == protocol.SERVICE_RUNNING:
        stop(store, workspace_id, name)
    readiness = clean_readiness(None if row.readiness is None else json.loads(row.readiness))
    asked = Asked(
        name,
        row.command,
        row.cwd,
        readiness,
        row.ready_timeout_seconds,
        row.ready_interval_ms,
        json.loads(row.secret_env),
        pairs,
        tuple(json.loads(row.host_ports)),
    )
    return _start(store, workspace_id, asked, cancel)


def list_all(store: Store, workspace_id: str) -> ServiceList:
    """Every service, sorted by name."""
    redactor = secrets.redactor(store, workspace_id)
    found = see(store, workspace_id, _rows(store, workspace_id))
    shown = [one.shown(workspace_id, redactor) for one in found]
    running = sum(service.state == protocol.SERVICE_RUNNING for service in shown)
    return ServiceList(
        workspace_id=workspace_id, count=len(shown), running_count=running, services=shown
    )


def status(store: Store, workspace_id: str, service_name: str) -> Service:
    """What can be said of a service now."""
    name = naming.clean_service_name(service_name)
    return one(store, workspace_id, name).shown(workspace_id, secrets.redactor(store, workspace_id))


def stop(store: Store, workspace_id: str, service_name: str) -> Service:
    """End a service with all it started: TERM, and five seconds later KILL.

    One that has ended is left as it is.
    """
    name = naming.clean_service_name(service_name)
    found = one(store, workspace_id, name)
    if found.row.state == protocol.SERVICE_RUNNING:
        row = found.row
        found = _asked(store, workspace_id, row, lambda home: agent.stop(home, row.name, row.run))
    return found.shown(workspace_id, secrets.redactor(store, workspace_id))


def _start(store: Store, workspace_id: str, asked: Asked, cancel: Cancel | None) -> Service:
    if cancel is not None:
        cancel.check()
    ports.check_policy(store.row(workspace_id).network_policy, asked.ports)
    variables = secrets.environment(store, workspace_id, asked.secret_env)
    row, redacted = without_secrets(_row(asked), secrets.redactor(store, workspace_id))
    row = replace(row, redacted=int(redacted))
    with store.using(workspace_id) as used:
        with used.place.starting_service():
            _refuse_running(store, workspace_id, asked.name)
            found = _launch(store, used, row, asked, variables)
            if found.row.state == protocol.SERVICE_RUNNING and asked.ports:
                found = _publish(store, used, found, asked)
        if found.row.state == protocol.SERVICE_RUNNING and found.row.ready_at is None:
            limit = asked.ready_timeout_seconds
            found = _asked(
                store, workspace_id, found.row, lambda home: _ready(home, row, limit, cancel)
            )
        shown = found.shown(workspace_id, secrets.redactor(store, workspace_id))
        if shown.state == protocol.SERVICE_FAILED:
            stdout, stderr, cut = service_logs.last_lines(store, workspace_id, found.row)
            shown = replace(
                shown, last_stdout=stdout, last_stderr=stderr, redacted=shown.redacted or cut
            )
        return replace(shown, workspace_started=used.started_now)


def _ready(home: Path, row: ServiceRow, limit: int, cancel: Cancel | None) -> Facts:
    try:
        return agent.wait(home, row.name, row.run, within_seconds=limit, cancel=cancel)
    except CallCancelledError:
        agent.stop(home, row.name, row.run)
        raise


def _launch(
    store: Store, used: InUse, row: ServiceRow, asked: Asked, variables: dict[str, str]
) -> Seen:
    workspace_id = used.row.id
    request: dict[str, object] = {
        "name": row.name,
        "run": row.run,
        "command": asked.command,
        "cwd": asked.cwd,
        "env": variables,
        "ports": [pair.guest_port for pair in asked.ports],
        "readiness": None if asked.readiness is None else asked.readiness.wire,
        "ready_timeout_ms": asked.ready_timeout_seconds * 1000,
        "ready_interval_ms": asked.ready_interval_ms,
    }
    with store.database.changing() as connection:
        former = rows.find(connection, workspace_id, row.name)
        rows.put(connection, workspace_id, row)
    try:
        facts = agent.start(used.place.home, request)
    except (GuestRefusedError, GuestLostError):
        # There is none: what was known of the former one, which had ended, is as true as before.
        with store.database.changing() as connection:
            rows.remove(connection, workspace_id, row.name, row.run)
            if former is not None:
                rows.put(connection, workspace_id, former)
        raise
    return seen(store, workspace_id, row, facts)


def _asked(store: Store, workspace_id: str, row: ServiceRow, ask: Callable[[Path], Facts]) -> Seen:
    """What the guest says of a service, or what became of it when its machine ended meanwhile.

    Raises `UnknownWorkspaceError` or `WorkspaceStateError` if that is gone with it.
    """
    place = store.place(workspace_id)
    try:
        facts = ask(place.home)
    except GuestLostError:
        if not store.wait_until_stopped(place):
            raise
        return one(store, workspace_id, row.name)
    return seen(store, workspace_id, row, facts)


def _publish(store: Store, used: InUse, found: Seen, asked: Asked) -> Seen:
    row, home = found.row, used.place.home
    try:
        try:
            host_ports = ports.publish(home, row.name, row.run, _preferred(asked))
        except ports.PortTakenError:
            if not asked.former_ports:
                raise
            host_ports = ports.publish(home, row.name, row.run, asked.ports)
    except ports.PortTakenError as error:
        facts = agent.stop(home, row.name, row.run, reason=protocol.STOP_PORTS)
        ended = seen(store, used.row.id, row, facts)
        return ended._replace(problem=str(error))
    except BaseException:
        agent.stop(home, row.name, row.run, reason=protocol.STOP_PORTS)
        raise
    row = replace(row, host_ports=json.dumps(host_ports))
    with store.database.changing() as connection:
        rows.update(connection, used.row.id, row)
    return found._replace(row=row)


def _preferred(asked: Asked) -> list[PortPair]:
    if len(asked.former_ports) != len(asked.ports):
        return asked.ports
    return [
        PortPair(pair.guest_port, pair.host_port or former)
        for pair, former in zip(asked.ports, asked.former_ports, strict=True)
    ]


def _refuse_running(store: Store, workspace_id: str, name: str) -> None:
    with store.database.reading() as connection:
        row = rows.find(connection, workspace_id, name)
    if row is None or row.state != protocol.SERVICE_RUNNING:
        return
    (found,) = see(store, workspace_id, [row], starting=True)
    if found.row.state == protocol.SERVICE_RUNNING:
        raise ServiceRunningError(workspace_id, name)


def _row(asked: Asked) -> ServiceRow:
    return ServiceRow(
        name=asked.name,
        run=os.urandom(6).hex(),
        command=asked.command,
        redacted=0,
        cwd=asked.cwd,
        readiness=None if asked.readiness is None else json.dumps(asked.readiness.record),
        ready_timeout_seconds=asked.ready_timeout_seconds,
        ready_interval_ms=asked.ready_interval_ms,
        secret_env=json.dumps(asked.secret_env),
        ports=json.dumps(asked.ports),
        host_ports="[]",
        started_at=time.time(),
        state=protocol.SERVICE_RUNNING,
        ready_at=None,
        ended_at=None,
        exit_code=None,
        stop_reason=None,
    )


def _rows(store: Store, workspace_id: str) -> list[ServiceRow]:
    store.row(workspace_id)
    with store.database.reading() as connection:
        found = rows.all_of(connection, workspace_id)
    if not found and not store.place(workspace_id).running:
        raise stopped(workspace_id)
    return found


def _positive(parameter: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _LONGEST_SECONDS:
        raise InvalidInputError(parameter, f"is {value!r}", hint="Give a whole number above 0.")
    return value
