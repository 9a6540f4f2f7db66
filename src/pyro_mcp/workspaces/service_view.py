"""What can be said of services: the rows of the database, as far as the guest confirms them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp import protocol
from pyro_mcp.errors import GuestLostError, WorkspaceStateError
from pyro_mcp.errors.services import UnknownServiceError
from pyro_mcp.machines import services as agent
from pyro_mcp.results.services import Service
from pyro_mcp.state import services as rows
from pyro_mcp.state.services import ServiceRow
from pyro_mcp.workspaces import ports
from pyro_mcp.workspaces.ports import PortPair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyro_mcp.boundary.redact import Redactor
    from pyro_mcp.machines.services import Facts
    from pyro_mcp.workspaces.store import Store

_COUNT_SECONDS = 3.0
"""A guest that is slow to answer must not hold up the list of all workspaces."""
_STOP_REASONS = frozenset(
    (
        *("process_exited_before_ready", "sigterm", "sigkill"),
        *(protocol.STOP_READINESS, protocol.STOP_PORTS, protocol.STOP_FAULT),
    )
)


class Seen(NamedTuple):
    """One service, as it was seen now."""

    row: ServiceRow
    pid: int | None = None
    problem: str | None = None

    def shown(self, workspace_id: str, redactor: Redactor) -> Service:
        """As a result, without values that became secrets after it was recorded."""
        row, redacted = without_secrets(self.row, redactor)
        problem, told = (None, False) if self.problem is None else redactor.text(self.problem)
        asked = [PortPair(guest, host) for guest, host in json.loads(row.ports)]
        running = row.state == protocol.SERVICE_RUNNING
        return Service(
            workspace_id=workspace_id,
            service_name=row.name,
            state=row.state,
            command=row.command,
            cwd=row.cwd,
            started_at=row.started_at,
            ended_at=row.ended_at,
            exit_code=row.exit_code,
            pid=self.pid,
            execution_mode="guest_vsock",
            readiness=None if row.readiness is None else json.loads(row.readiness),
            ready_at=row.ready_at,
            stop_reason=row.stop_reason,
            published_ports=ports.shown(asked, json.loads(row.host_ports)) if running else [],
            problem=problem,
            redacted=bool(row.redacted) or redacted or told,
        )


def without_secrets(row: ServiceRow, redactor: Redactor) -> tuple[ServiceRow, bool]:
    """A row without values of secrets in what was asked for, and whether there was any."""
    if not redactor:
        return row, False
    command, one = redactor.text(row.command)
    cwd, two = redactor.text(row.cwd)
    record, three = row.readiness, False
    if record is not None:
        texts = {key: redactor.text(text) for key, text in json.loads(record).items()}
        three = any(found for _, found in texts.values())
        record = json.dumps({key: text for key, (text, _) in texts.items()})
    return replace(row, command=command, cwd=cwd, readiness=record), one or two or three


def one(store: Store, workspace_id: str, name: str) -> Seen:
    """The service of that name, as it is now.

    Raises:
        UnknownServiceError: There is none.
        WorkspaceStateError: There is none, because the workspace is stopped.
    """
    store.row(workspace_id)
    with store.database.reading() as connection:
        row = rows.find(connection, workspace_id, name)
        known = [other.name for other in rows.all_of(connection, workspace_id)]
    if row is None:
        if not known and not store.place(workspace_id).running:
            raise stopped(workspace_id)
        raise UnknownServiceError(workspace_id, name, known)
    (found,) = see(store, workspace_id, [row])
    return found


def see(
    store: Store, workspace_id: str, found: Sequence[ServiceRow], *, starting: bool = False
) -> list[Seen]:
    """These services as they are now; the guest is asked if one of them may run.

    `starting`: the caller holds `Place.starting_service`.
    """
    if all(row.state != protocol.SERVICE_RUNNING for row in found):
        return [Seen(row) for row in found]
    facts = _ask(store, workspace_id)
    if facts is not None and not starting and any(_missing(row, facts) for row in found):
        # One that is just being started is recorded a moment before the guest knows of it.
        with store.place(workspace_id).starting_service():
            with store.database.reading() as connection:
                now = [rows.find(connection, workspace_id, row.name) for row in found]
            latest = [row for row in now if row is not None]
            return see(store, workspace_id, latest, starting=True)
    return [
        Seen(row)
        if row.state != protocol.SERVICE_RUNNING
        else _gone(store, workspace_id, row)
        if facts is None
        else seen(store, workspace_id, row, facts.get(row.run))
        for row in found
    ]


def seen(store: Store, workspace_id: str, row: ServiceRow, facts: Facts | None) -> Seen:
    """A running service's row brought up to date with what its guest says of it."""
    if facts is None:
        # Whoever was starting it was killed before the guest heard of it.
        never = replace(row, state=protocol.SERVICE_FAILED, ended_at=row.started_at)
        _note(store, workspace_id, never)
        return Seen(never, problem="it was never started: who started it was ended before")
    now = replace(
        row,
        state=facts.state,
        ready_at=_after(row, facts.ready_ms),
        ended_at=_after(row, facts.ended_ms),
        exit_code=facts.exit_code,
        stop_reason=facts.stop_reason if facts.stop_reason in _STOP_REASONS else None,
    )
    if now != row:
        _note(store, workspace_id, now)
    return Seen(now, pid=facts.pid, problem=facts.problem)


def count(store: Store, workspace_id: str) -> tuple[int, int]:
    """How many services a workspace has, and how many of them run."""
    with store.database.reading() as connection:
        found = rows.all_of(connection, workspace_id)
    running = {row.run for row in found if row.state == protocol.SERVICE_RUNNING}
    if not running or not store.place(workspace_id).up:
        return len(found), 0
    try:
        facts = agent.list_all(store.place(workspace_id).home, within_seconds=_COUNT_SECONDS)
    except GuestLostError:
        return len(found), 0
    return len(found), sum(
        run in facts and facts[run].state == protocol.SERVICE_RUNNING for run in running
    )


def stopped(workspace_id: str) -> WorkspaceStateError:
    """The error for a question about services of a stopped workspace."""
    return WorkspaceStateError(
        workspace_id, state="stopped", needed="started",
        hint="Its services ended with it; start them again, which starts the workspace too.",
    )  # fmt: skip


def _ask(store: Store, workspace_id: str) -> dict[str, Facts] | None:
    """What the guest knows; None if the machine has ended."""
    place = store.place(workspace_id)
    if not place.running:
        return None
    try:
        return agent.list_all(place.home)
    except GuestLostError:
        if store.wait_until_stopped(place):
            return None
        raise


def _missing(row: ServiceRow, facts: dict[str, Facts]) -> bool:
    return row.state == protocol.SERVICE_RUNNING and row.run not in facts


def _gone(store: Store, workspace_id: str, row: ServiceRow) -> Seen:
    ended = replace(row, state=protocol.SERVICE_STOPPED, stop_reason="workspace_stopped")
    _note(store, workspace_id, ended)
    return Seen(ended)


def _note(store: Store, workspace_id: str, row: ServiceRow) -> None:
    with store.database.changing(lasting=False) as connection:
        rows.update(connection, workspace_id, row)


def _after(row: ServiceRow, ms: int | None) -> float | None:
    return None if ms is None else row.started_at + ms / 1000
