"""The network of one workspace: its policy, changed while it runs, and its record."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from pyro_mcp.errors import (
    GuestLostError,
    GuestRefusedError,
    GuestUnreachableError,
    InvalidInputError,
    WorkspaceStateError,
)
from pyro_mcp.machines import channel, requests
from pyro_mcp.network import client, told, way
from pyro_mcp.network import policy as policies
from pyro_mcp.network.record import FILE_NAME
from pyro_mcp.results.commands import tried_nothing
from pyro_mcp.results.network import NetworkLog
from pyro_mcp.state import workspaces as rows
from pyro_mcp.workspaces import secret_file, secrets

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from pyro_mcp.boundary.redact import Redactor
    from pyro_mcp.network.policy import Policy
    from pyro_mcp.results.commands import Tried
    from pyro_mcp.state.workspaces import WorkspaceRow
    from pyro_mcp.workspaces.places import Place
    from pyro_mcp.workspaces.store import Store

_MOST_ENTRIES = 1000
_VERDICTS = ("allowed", "denied", "failed")


def policy_of(row: WorkspaceRow) -> Policy:
    """The policy that is stored."""
    return policies.parse(
        row.network_policy, json.loads(row.network_allow), json.loads(row.network_private)
    )


def columns(policy: Policy) -> dict[str, str]:
    """A policy as it is stored."""
    wire = policy.to_wire()
    return {
        "network_policy": policy.mode,
        "network_allow": json.dumps(wire["allow"]),
        "network_private": json.dumps(wire["private"]),
    }


def way_out(store: Store, row: WorkspaceRow) -> way.Way | None:
    """What its machine is booted with."""
    return _way(store, row, policy_of(row))


def _way(store: Store, row: WorkspaceRow, policy: Policy) -> way.Way | None:
    return way.plan(
        policy,
        resolvers=store.settings.resolvers,
        steering=store.settings.steering,
        inherit=bool(row.network_inherit),
    )


def put_in_force(store: Store, row: WorkspaceRow, place: Place, policy: Policy) -> None:
    """Change the policy of a machine, if it runs; the caller holds `changing`.

    Raises:
        GuestLostError: Its gateway does not answer; the former policy is in force.
        NetworkError: This host gives it no network.
        WorkspaceStateError: It cannot be given one while it runs.
    """
    if not place.running:
        return
    # Also to none: its interface stays until it stops, and nothing passes.
    changed = client.change_policy(place.home, _widened(row, policy))
    if policy.outbound and not (changed and policy_of(row).outbound):
        _connect(store, row, place, policy, gateway=changed)


def _connect(
    store: Store, row: WorkspaceRow, place: Place, policy: Policy, *, gateway: bool
) -> None:
    """Give a network to a machine that was started without one; `gateway`: it has that already."""
    way_out = _way(store, row, policy)
    if way_out is None:
        return
    try:
        if not gateway:
            channel.give_network(place.home, way_out.launch)
        requests.show_network(place.home)
    except (GuestLostError, GuestRefusedError) as error:
        # A gateway that is there already lets nothing pass.
        with contextlib.suppress(GuestLostError):
            client.change_policy(place.home, policies.Policy(policies.OFF))
        if not gateway and policy_of(row).outbound:
            raise _gateway_ended(row) from error
        state = f"running, and gets no network interface now ({error.problem.rstrip('.')})"
        raise WorkspaceStateError(
            row.id, state=state, needed="stopped",
            hint=f"Stop it (pyro workspace stop {row.id}), then change the policy.",
        ) from error  # fmt: skip
    if way_out.inherited is not None:
        requests.inherit(place.home, way_out.inherited)


def _gateway_ended(row: WorkspaceRow) -> WorkspaceStateError:
    state = "running, and its gateway has ended, so that nothing passes"
    return WorkspaceStateError(
        row.id, state=state, needed="started anew",
        hint=f"Stop it (pyro workspace stop {row.id}): the next command starts it, with a network. "
        f"Or do without: network_policy {policies.OFF!r}.",
    )  # fmt: skip


def _widened(row: WorkspaceRow, policy: Policy) -> Policy:
    if not row.network_inherit or not policy.outbound:
        return policy
    from pyro_mcp.network import inherit  # few workspaces do

    return inherit.widened(policy, inherit.from_host())


def learned(row: WorkspaceRow, place: Place) -> list[str]:
    """The smallest allow list for all that it has asked for since it was made.

    What commands asked for is all in it; of shells and services, what the record still has.
    """
    found = told.smallest_allow_list(redacted(_entries(place), secret_file.redactor_of(place)))
    return told.merged(json.loads(row.network_learned), found)


def learn(connection: sqlite3.Connection, workspace_id: str, more: Sequence[str]) -> None:
    """Keep what a command asked for, in the transaction that records the command."""
    row = rows.find(connection, workspace_id)
    if row is not None:
        after = json.dumps(told.merged(json.loads(row.network_learned), more))
        if after != row.network_learned:
            rows.set_learned(connection, workspace_id, after)


class Watch:
    """What a workspace tries from now on."""

    def __init__(self, row: WorkspaceRow, place: Place) -> None:
        """Raise `WorkspaceStateError` where its machine runs, and its gateway has ended."""
        self._place = place
        self._mark = None
        if not policy_of(row).outbound:
            return
        try:
            self._mark = client.mark(place.home)
        except GuestUnreachableError as error:
            if not client.nobody_listens(error):
                raise
            channel.connect(place.home).close()  # if that fails too the machine has ended
            raise _gateway_ended(row) from error

    def told(self, redactor: Redactor) -> Tried:
        """What it tried; nothing if its machine has ended meanwhile."""
        if self._mark is None:
            return tried_nothing()
        try:
            attempts = client.since(self._place.home, self._mark)
        except GuestLostError:
            return tried_nothing()
        return told.of(redacted(attempts, redactor))


def log(
    store: Store, workspace_id: str, *, verdict: str | None = None, limit: int = _MOST_ENTRIES
) -> NetworkLog:
    """The record, oldest first: its last `limit` entries, of one verdict if given."""
    if verdict is not None and verdict not in _VERDICTS:
        raise InvalidInputError(
            "verdict", f"is {verdict!r}", hint=f"Give one of: {', '.join(_VERDICTS)}."
        )
    if isinstance(limit, bool) or not 1 <= limit <= _MOST_ENTRIES:
        raise InvalidInputError("limit", f"is {limit!r}", hint=f"Give 1 to {_MOST_ENTRIES}.")
    store.row(workspace_id)
    redactor = secrets.redactor(store, workspace_id)
    found = [
        one for one in _entries(store.place(workspace_id)) if verdict in (None, one["verdict"])
    ]
    entries = redacted(found[-limit:], redactor)
    return NetworkLog(
        workspace_id=workspace_id,
        count=len(entries),
        denied_count=sum(int(one["times"]) for one in entries if one["verdict"] == "denied"),
        entries=[
            one | {"message": told.message(one)} if one["verdict"] == "denied" else one
            for one in entries
        ],
        network_learned=told.smallest_allow_list(entries),
    )


def redacted(attempts: Sequence[dict[str, Any]], redactor: Redactor) -> list[dict[str, Any]]:
    """Without values of secrets: a guest may have tried to look one up."""
    if not redactor:
        return list(attempts)
    return [
        {
            key: redactor.text(value)[0] if isinstance(value, str) else value
            for key, value in one.items()
        }
        for one in attempts
    ]


def _entries(place: Place) -> list[dict[str, Any]]:
    try:
        lines = (place.home / FILE_NAME).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue  # cut off by a full disk, or being written
    return found
