"""The life of a workspace: created whole or not at all, removed only on purpose."""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from pyro_mcp import config, protocol
from pyro_mcp.config import STATE_VARIABLE
from pyro_mcp.errors import InvalidInputError
from pyro_mcp.host.files import copy_sparse
from pyro_mcp.machines import directory
from pyro_mcp.machines.choose import choose_engine
from pyro_mcp.machines.spec import check_memory, check_range
from pyro_mcp.network import policy as policies
from pyro_mcp.results.workspaces import (
    LastCommand,
    Workspace,
    WorkspaceDeleted,
    WorkspaceList,
    WorkspaceListItem,
    WorkspaceSeed,
)
from pyro_mcp.state import commands, services
from pyro_mcp.state import workspaces as rows
from pyro_mcp.state.workspaces import WorkspaceRow
from pyro_mcp.workspaces import naming, networking, ports, recovery, secret_file, service_view
from pyro_mcp.workspaces.commands import redacted
from pyro_mcp.workspaces.secret_file import Secrets
from pyro_mcp.workspaces.secrets import cleaned
from pyro_mcp.workspaces.store import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pyro_mcp.boundary.source import Source
    from pyro_mcp.workspaces.seed import SeedInfo
    from pyro_mcp.workspaces.store import Progress, Store


def create(
    store: Store,
    *,
    environment: str,
    vcpu_count: int = config.DEFAULT_VCPU_COUNT,
    mem_mib: int = config.DEFAULT_MEM_MIB,
    ttl_seconds: int = config.DEFAULT_TTL_SECONDS,
    network_policy: str = "off",
    network_allow: Sequence[str] = (),
    network_private: Sequence[str] = (),
    network_inherit: bool = False,
    network_learn: bool = False,
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
    seed_path: str | Path | None = None,
    seed_exclude: Sequence[str] = (),
    seed_gitignore: bool = False,
    secrets: Sequence[Mapping[str, str]] | None = None,
    progress: Progress = quiet,
) -> Workspace:
    """Make a workspace and boot it. It is visible once it is whole.

    /workspace begins with what is in `seed_path`, a host directory or archive, but for what the
    patterns of `seed_exclude` match and, on request, its `.gitignore` files name. Each of `secrets`
    is `{"name", "value"}` or `{"name", "file_path"}`.

    Raises:
        InvalidInputError, UnknownEnvironmentError: Nothing was made.
        PyroError: The environment, the host or the guest failed; nothing is left.
    """
    check_range("vcpu_count", vcpu_count, *config.VCPU_RANGE)
    check_range("mem_mib", mem_mib, *config.MEM_MIB_RANGE)
    naming.check_ttl(ttl_seconds)
    policy = policies.parse(naming.clean_policy(network_policy), network_allow, network_private)
    if network_inherit and not policy.outbound:
        raise InvalidInputError(
            "network_inherit", f"was given, and network_policy is {policy.mode!r}",
            hint="Give network_policy 'egress' with it.",
        )  # fmt: skip
    cleaned_name = None if name is None else naming.clean_name(name)
    cleaned_labels = naming.clean_labels(labels or {})
    given = Secrets(current=cleaned(secrets))
    check_memory(mem_mib)
    with _source(seed_path, seed_exclude, gitignore=seed_gitignore) as source:
        recovery.tidy(store)
        images = store.find_images(environment, progress)
        now = time.time()
        row = WorkspaceRow(
            id=os.urandom(6).hex(),
            name=cleaned_name,
            environment=environment,
            environment_version=images.environment_version,
            vcpu_count=vcpu_count,
            mem_mib=mem_mib,
            ttl_seconds=ttl_seconds,
            **networking.columns(policy),
            network_inherit=int(network_inherit),
            network_learn=int(network_learn),
            created_at=now,
            last_activity_at=now,
            generation=0,
            reset_count=0,
            last_reset_at=None,
            last_sequence=0,
            seed_mode="empty",
            seed_path=None,
            seed_entry_count=0,
            seed_bytes=0,
            forked_from=None,
        )
        if source is None:
            return build(
                store, row, cleaned_labels, disk=images.blank_disk, seed=None, secrets=given
            )
        made: list[SeedInfo] = []

        def make_seed(target: Path) -> SeedInfo:
            from pyro_mcp.workspaces import seed as seeds

            tree = images.jail_root.with_name("tree")
            made.append(seeds.build(tree, source, target, progress=progress))
            return made[0]

        workspace = build(
            store, row, cleaned_labels, disk=images.blank_disk, seed=make_seed, secrets=given
        )
        told = replace(workspace.workspace_seed, skipped=made[0].skipped)
        return replace(workspace, workspace_seed=told)


@contextmanager
def _source(
    seed_path: str | Path | None, exclude: Sequence[str], *, gitignore: bool
) -> Iterator[Source | None]:
    if seed_path is None:
        yield None
        return
    from pyro_mcp.workspaces import seed as seeds  # loads much, and most calls have none

    with seeds.opened(seed_path, exclude=exclude, gitignore=gitignore) as source:
        yield source


def build(
    store: Store,
    row: WorkspaceRow,
    labels: Mapping[str, str],
    *,
    disk: Path,
    seed: Path | Callable[[Path], SeedInfo] | None,
    secrets: Secrets,
) -> Workspace:
    """Make a workspace's directory from copies of `disk` and `seed`, boot it, make it visible.

    Instead of being copied, a seed may be made, by a function that is given its place.
    """
    place = store.place(row.id)
    with contextlib.ExitStack() as owned:
        with directory.accessing(place.home):
            store.settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.home.parent.mkdir(mode=0o700, exist_ok=True)
            owned.enter_context(place.made())
        try:
            with directory.accessing(place.home):
                secret_file.save(place, secrets)
                copy_sparse(disk, place.disk(row.generation), variable=STATE_VARIABLE)
                if callable(seed):
                    info = seed(place.seed)
                    row = replace(
                        row,
                        seed_mode=info.mode,
                        seed_path=info.seed_path,
                        seed_entry_count=info.entry_count,
                        seed_bytes=info.bytes_written,
                    )
                elif seed is not None:
                    copy_sparse(seed, place.seed, mode=0o644, variable=STATE_VARIABLE)
            store.boot(row, place, generation=row.generation)
            with store.database.changing() as connection:
                rows.insert(connection, row, labels)
        except BaseException:
            recovery.remove(store, place)
            raise
    return look(store, row.id)


def look(store: Store, workspace_id: str) -> Workspace:
    """What can be said of a workspace now."""
    with store.database.reading() as connection:
        row = rows.find(connection, workspace_id)
        labels = rows.labels_of(connection, workspace_id)
        last = commands.last(connection, workspace_id)
    if row is None:
        row = store.row(workspace_id)  # raises, with the nearest ids
    place = store.place(workspace_id)
    policy = networking.policy_of(row)
    engine = choose_engine(store.engine_name)
    secrets = secret_file.load(place)
    if last is not None:
        last = redacted(last, secret_file.redactor_of(place))
    service_count, running_services = service_view.count(store, workspace_id)
    return Workspace(
        workspace_id=row.id,
        name=row.name,
        labels=labels,
        environment=row.environment,
        environment_version=row.environment_version,
        vcpu_count=row.vcpu_count,
        mem_mib=row.mem_mib,
        ttl_seconds=row.ttl_seconds,
        created_at=row.created_at,
        last_activity_at=row.last_activity_at,
        expires_at=_expires_at(row),
        state=_state(place.running),
        network_policy=row.network_policy,
        network_enabled=policy.outbound,
        allow_host_compat=False,
        guest_ip=protocol.GUEST_IP if policy.outbound else None,
        tap_name=protocol.LINK if policy.outbound else None,
        network_allow=[entry.text for entry in policy.allow],
        network_private=[str(network) for network in policy.private],
        network_inherit=bool(row.network_inherit),
        network_learn=bool(row.network_learn),
        network_learned=networking.learned(row, place) if row.network_learn else [],
        execution_mode="guest_vsock",
        workspace_path=protocol.WORKSPACE,
        workspace_seed=WorkspaceSeed(
            mode=row.seed_mode,
            seed_path=row.seed_path,
            destination=protocol.WORKSPACE,
            entry_count=row.seed_entry_count,
            bytes_written=row.seed_bytes,
        ),
        secrets=secrets.public,
        command_count=row.last_sequence,
        last_command=None
        if last is None
        else LastCommand(
            sequence=last.sequence,
            command=last.command,
            cwd=last.cwd,
            exit_code=last.exit_code,
            duration_ms=last.duration_ms,
            execution_mode=last.execution_mode,
            redacted=bool(last.redacted),
        ),
        reset_count=row.reset_count,
        last_reset_at=row.last_reset_at,
        service_count=service_count,
        running_service_count=running_services,
        engine=engine.name,
        isolation=engine.isolation,
        forked_from=row.forked_from,
        metadata={"directory": str(place.home)},
    )


def list_all(store: Store) -> WorkspaceList:
    """Every workspace, the one last used first."""
    recovery.tidy(store)
    with store.database.reading() as connection:
        found = [(row, rows.labels_of(connection, row.id)) for row in rows.all_rows(connection)]
    services = {row.id: service_view.count(store, row.id) for row, _ in found}
    items = [
        WorkspaceListItem(
            workspace_id=row.id,
            name=row.name,
            labels=labels,
            environment=row.environment,
            state=_state(store.place(row.id).running),
            created_at=row.created_at,
            last_activity_at=row.last_activity_at,
            expires_at=_expires_at(row),
            command_count=row.last_sequence,
            service_count=services[row.id][0],
            running_service_count=services[row.id][1],
        )
        for row, labels in found
    ]
    return WorkspaceList(count=len(items), workspaces=items)


def update(
    store: Store,
    workspace_id: str,
    *,
    name: str | None = None,
    clear_name: bool = False,
    labels: Mapping[str, str] | None = None,
    clear_labels: Iterable[str] | None = None,
    ttl_seconds: int | None = None,
    network_policy: str | None = None,
    network_allow: Sequence[str] | None = None,
    network_private: Sequence[str] | None = None,
) -> Workspace:
    """Change name, labels, time to live and network; what is None stays as it is.

    A network policy is in force at once, also for connections that are open.

    Raises:
        InvalidInputError: Name and `clear_name` together, or nothing that would change.
        NetworkError: This host gives it no network; nothing has changed.
        WorkspaceStateError: It cannot be given a network while it runs.
    """
    if name is not None and clear_name:
        raise InvalidInputError(
            "name", "was given together with clear_name", hint="Give one of the two."
        )
    new_name = None if name is None else naming.clean_name(name)
    new_labels = naming.clean_labels(labels or {})
    gone = [naming.clean_key(key) for key in clear_labels or ()]
    if ttl_seconds is not None:
        naming.check_ttl(ttl_seconds)
    row = store.row(workspace_id)
    place = store.place(workspace_id)
    policy = _changed_policy(row, network_policy, network_allow, network_private)
    with contextlib.ExitStack() as owned:
        if policy is not None:
            owned.enter_context(place.changing())
            networking.put_in_force(store, store.row(workspace_id), place, policy)
            if not ports.allowed_by(policy.mode):
                ports.withdraw(place.home)
        connection = owned.enter_context(store.database.changing())
        before = rows.labels_of(connection, workspace_id)
        after = {k: v for k, v in {**before, **new_labels}.items() if k not in gone}
        renamed = (clear_name and row.name is not None) or new_name not in (None, row.name)
        same_ttl = ttl_seconds in (None, row.ttl_seconds)
        if not renamed and after == before and same_ttl and policy is None:
            raise InvalidInputError(
                "The update", "changes nothing",
                hint="Give a name, labels, ttl_seconds or a network policy that do.",
            )  # fmt: skip
        if renamed:
            rows.set_name(connection, workspace_id, new_name)
        rows.clear_labels(connection, workspace_id, gone)
        rows.set_labels(connection, workspace_id, {k: after[k] for k in new_labels if k in after})
        if ttl_seconds is not None:
            rows.set_ttl(connection, workspace_id, ttl_seconds)
        if policy is not None:
            rows.set_network(connection, workspace_id, **networking.columns(policy))
            if not ports.allowed_by(policy.mode):
                services.forget_ports(connection, workspace_id)
        rows.touch(connection, workspace_id, time.time())
    if ttl_seconds is not None:
        store.place(workspace_id).set_ttl(ttl_seconds)
    return look(store, workspace_id)


def _changed_policy(
    row: WorkspaceRow,
    mode: str | None,
    allow: Sequence[str] | None,
    private: Sequence[str] | None,
) -> policies.Policy | None:
    """The policy after an update; None if it is the one there is."""
    before = networking.policy_of(row)
    wire = before.to_wire()
    new_mode = before.mode if mode is None else naming.clean_policy(mode)
    if not policies.Policy(new_mode).outbound:
        # Lists mean nothing without a network, and go with it unless given: then they are refused.
        wire["allow"] = wire["private"] = ()
    after = policies.parse(
        new_mode,
        wire["allow"] if allow is None else allow,
        wire["private"] if private is None else private,
    )
    return None if after == before else after


def start(store: Store, workspace_id: str) -> Workspace:
    """Boot it, unless it runs."""
    store.start(workspace_id)
    store.touch(workspace_id)
    return look(store, workspace_id)


def stop(store: Store, workspace_id: str) -> Workspace:
    """Flush its disk and end its machine; disk, snapshots and history stay."""
    store.row(workspace_id)
    place = store.place(workspace_id)
    with place.changing():
        store.halt(place)
        store.forget_services(workspace_id)
    store.touch(workspace_id)
    return look(store, workspace_id)


def delete(store: Store, workspace_id: str) -> WorkspaceDeleted:
    """End its machine and remove everything of it."""
    store.row(workspace_id)
    place = store.place(workspace_id)
    with place.changing():
        # The row first: from then on it is gone for everyone, and what is left is tidied.
        with store.database.changing() as connection:
            rows.delete(connection, workspace_id)
        recovery.remove(store, place)
    return WorkspaceDeleted(workspace_id=workspace_id, deleted=True, reason="explicit_delete")


def prune(store: Store, *, older_than_seconds: float) -> list[WorkspaceDeleted]:
    """Remove the stopped workspaces that nobody has used for that long."""
    before = time.time() - older_than_seconds
    with store.database.reading() as connection:
        old = [row.id for row in rows.all_rows(connection) if row.last_activity_at < before]
    return [delete(store, id_) for id_ in old if not store.place(id_).running]


def _state(running: bool) -> str:
    return "started" if running else "stopped"


def _expires_at(row: WorkspaceRow) -> float | None:
    return row.last_activity_at + row.ttl_seconds if row.ttl_seconds else None
