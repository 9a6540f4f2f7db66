"""Snapshots, reset and fork: copies of a workspace's disk, made beside it and then switched to.

A workspace's disk holds everything it ever changed, inside /workspace and outside, so a copy of it
is a snapshot. Copies keep holes and share blocks where the file system can (`copy_sparse`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.config import STATE_VARIABLE
from pyro_mcp.errors import (
    InvalidInputError,
    NameTakenError,
    UnknownSnapshotError,
)
from pyro_mcp.host.files import copy_sparse
from pyro_mcp.machines.choose import choose_engine
from pyro_mcp.machines.inspection import inspecting
from pyro_mcp.results.snapshots import (
    ResetSummary,
    Snapshot,
    SnapshotCreateResult,
    SnapshotDeleted,
    SnapshotList,
    WorkspaceResetResult,
)
from pyro_mcp.results.workspaces import Workspace
from pyro_mcp.state import snapshots as saved
from pyro_mcp.state import workspaces as rows
from pyro_mcp.state.snapshots import SnapshotRow
from pyro_mcp.workspaces import copies, lifecycle, naming, recovery, secret_file
from pyro_mcp.workspaces.naming import BASELINE
from pyro_mcp.workspaces.secret_file import Secrets
from pyro_mcp.workspaces.store import quiet, seed_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pyro_mcp.state.workspaces import WorkspaceRow
    from pyro_mcp.workspaces.places import Place
    from pyro_mcp.workspaces.store import Store


def create(store: Store, workspace_id: str, snapshot_name: str) -> SnapshotCreateResult:
    """Save everything the workspace changed under a new name; it goes on running.

    Raises:
        NameTakenError: It has a snapshot of that name.
    """
    name = naming.clean_snapshot_name(snapshot_name)
    store.row(workspace_id)
    place = store.place(workspace_id)
    with place.changing():
        # Only now: a reset may have ended while this waited, and its disk is another.
        row = store.row(workspace_id)
        _refuse_taken(store, workspace_id, name)
        now = time.time()
        file = f"{os.urandom(6).hex()}.ext4"
        place.snapshots.mkdir(mode=0o700, exist_ok=True)
        target = place.snapshots / file
        try:
            store.settle(row, place)
            copies.save(store, place, place.disk(row.generation), target)
            size = target.stat().st_blocks * 512
            entry = SnapshotRow(
                name=name, file=file, created_at=now, entry_count=0, bytes_written=size
            )
            with store.database.changing() as connection:
                saved.insert(connection, workspace_id, entry)
                rows.touch(connection, workspace_id, now)
        except sqlite3.IntegrityError as error:
            target.unlink(missing_ok=True)
            raise _taken(name) from error
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    return SnapshotCreateResult(
        workspace_id=workspace_id,
        snapshot=_named(workspace_id, entry),
        execution_mode="guest_vsock",
    )


def list_all(store: Store, workspace_id: str) -> SnapshotList:
    """The baseline, then the named ones, newest first."""
    row = store.row(workspace_id)
    with store.database.reading() as connection:
        named = [_named(workspace_id, entry) for entry in saved.all_of(connection, workspace_id)]
    snapshots = [_baseline(row), *named]
    return SnapshotList(workspace_id=workspace_id, count=len(snapshots), snapshots=snapshots)


def delete(store: Store, workspace_id: str, snapshot_name: str) -> SnapshotDeleted:
    """Forget a named snapshot."""
    if snapshot_name.strip() == BASELINE:
        raise InvalidInputError(
            "snapshot_name",
            "is 'baseline', which stays with its workspace",
            hint="'pyro workspace delete' removes both.",
        )
    store.row(workspace_id)
    place = store.place(workspace_id)
    with place.changing():
        entry = _find(store, workspace_id, snapshot_name)
        with store.database.changing() as connection:
            saved.delete(connection, workspace_id, entry.name)
            rows.touch(connection, workspace_id, time.time())
        (place.snapshots / entry.file).unlink(missing_ok=True)
    return SnapshotDeleted(workspace_id=workspace_id, snapshot_name=entry.name, deleted=True)


def reset(store: Store, workspace_id: str, snapshot_name: str = BASELINE) -> WorkspaceResetResult:
    """Put the whole computer back to a snapshot; ends running, with an empty history.

    The new disk is made and booted beside the old one, and only then is it the workspace's: when
    that fails, the workspace is as it was.
    """
    row = store.row(workspace_id)
    place = store.place(workspace_id)
    with place.changing():
        row = store.row(workspace_id)
        source, summary = _source(store, row, place, snapshot_name)
        generation = row.generation + 1
        was_running = place.running
        fresh = place.disk(generation)
        fresh.unlink(missing_ok=True)
        try:
            copy_sparse(source, fresh, variable=STATE_VARIABLE)
            store.halt(place)
            store.boot(row, place, generation=generation)
            with store.database.changing() as connection:
                rows.switch_generation(
                    connection, workspace_id, generation=generation, now=time.time()
                )
                rows.touch(connection, workspace_id, time.time())
        except BaseException:
            _back(store, row, place, fresh, restart=was_running)
            raise
        place.disk(row.generation).unlink(missing_ok=True)
    now = lifecycle.look(store, workspace_id)
    return WorkspaceResetResult(**vars(now), workspace_reset=summary)


LOOKING_AT = protocol.WORKSPACE.strip("/")
"""Where the guest of `looking` has the workspace, relative to all that it shows."""


@contextlib.contextmanager
def looking(store: Store, workspace_id: str, snapshot_name: str) -> Iterator[Path]:
    """A guest that only looks at a named snapshot; gives the directory to connect to."""
    row = store.row(workspace_id)
    place = store.place(workspace_id)
    with place.changing():
        entry = _find(store, workspace_id, snapshot_name)
        with inspecting(
            store.settings.state_dir,
            store.find_images(row.environment, quiet),
            choose_engine(store.engine_name),
            data_disk=place.snapshots / entry.file,
            seed_image=seed_of(row, place),
        ) as home:
            yield home


def fork(
    store: Store,
    workspace_id: str,
    *,
    snapshot_name: str | None = None,
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Workspace:
    """A new workspace that begins as this one is now, or as it was at a snapshot.

    The original goes on as it was. Seed, environment, limits and secrets are the original's; the
    baseline of the new one is the original's too.
    """
    cleaned_name = None if name is None else naming.clean_name(name)
    cleaned_labels = naming.clean_labels(labels or {})
    row = store.row(workspace_id)
    place = store.place(workspace_id)
    now = time.time()
    copy = replace(
        row,
        id=os.urandom(6).hex(),
        name=cleaned_name,
        created_at=now,
        last_activity_at=now,
        generation=0,
        reset_count=0,
        last_reset_at=None,
        last_sequence=0,
        forked_from=workspace_id,
    )
    seed = seed_of(row, place)
    with _source_for_fork(store, row, place, snapshot_name) as disk:
        # Loaded within: nobody changes them while the copy is made.
        secrets = Secrets(current=secret_file.load(place).current)
        return lifecycle.build(store, copy, cleaned_labels, disk=disk, seed=seed, secrets=secrets)


@contextlib.contextmanager
def _source_for_fork(
    store: Store, row: WorkspaceRow, place: Place, snapshot_name: str | None
) -> Iterator[Path]:
    """A disk that stays as it is for the length of the block."""
    with place.changing():
        # Once more: a reset may have ended while this waited, and its disk is another.
        row = store.row(row.id)
        if snapshot_name is not None:
            yield _source(store, row, place, snapshot_name)[0]
            return
        # Frozen only while it is copied, not while the copy boots.
        still = place.home / f"fork-{os.urandom(6).hex()}.ext4"
        try:
            store.settle(row, place)
            copies.save(store, place, place.disk(row.generation), still)
            yield still
        finally:
            still.unlink(missing_ok=True)


def _source(
    store: Store, row: WorkspaceRow, place: Place, snapshot_name: str
) -> tuple[Path, ResetSummary]:
    if snapshot_name.strip() == BASELINE:
        blank = store.find_images(row.environment, lambda _phase, _part: None).blank_disk
        summary = ResetSummary(
            snapshot_name=BASELINE,
            kind=BASELINE,
            destination=protocol.WORKSPACE,
            entry_count=row.seed_entry_count,
            bytes_written=row.seed_bytes,
        )
        return blank, summary
    entry = _find(store, row.id, snapshot_name)
    summary = ResetSummary(
        snapshot_name=entry.name,
        kind="named",
        destination=protocol.WORKSPACE,
        entry_count=entry.entry_count,
        bytes_written=entry.bytes_written,
    )
    return place.snapshots / entry.file, summary


def _back(store: Store, row: WorkspaceRow, place: Place, fresh: Path, *, restart: bool) -> None:
    if recovery.booted(place) != row.generation:
        store.kill(place)
    fresh.unlink(missing_ok=True)
    if restart and not place.running:
        store.boot(row, place, generation=row.generation)


def _find(store: Store, workspace_id: str, snapshot_name: str) -> SnapshotRow:
    with store.database.reading() as connection:
        entry = saved.find(connection, workspace_id, snapshot_name.strip())
        known = [BASELINE, *(row.name for row in saved.all_of(connection, workspace_id))]
    if entry is None:
        raise UnknownSnapshotError(workspace_id, snapshot_name, known)
    return entry


def _refuse_taken(store: Store, workspace_id: str, name: str) -> None:
    with store.database.reading() as connection:
        if saved.find(connection, workspace_id, name) is not None:
            raise _taken(name)


def _taken(name: str) -> NameTakenError:
    return NameTakenError(
        "snapshot", name, hint="Choose another name, or delete that snapshot first."
    )


def _baseline(row: WorkspaceRow) -> Snapshot:
    return Snapshot(
        workspace_id=row.id,
        snapshot_name=BASELINE,
        kind=BASELINE,
        created_at=row.created_at,
        entry_count=row.seed_entry_count,
        bytes_written=row.seed_bytes,
        deletable=False,
    )


def _named(workspace_id: str, entry: SnapshotRow) -> Snapshot:
    return Snapshot(
        workspace_id=workspace_id,
        snapshot_name=entry.name,
        kind="named",
        created_at=entry.created_at,
        entry_count=entry.entry_count,
        bytes_written=entry.bytes_written,
        deletable=True,
    )
