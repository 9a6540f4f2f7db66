"""Tidying what processes left that died in the middle.

A directory without a row is a workspace that was never finished, or whose removal was begun. A
row's directory may hold disks of other generations than the row's: a reset that was not finished;
or half a file of secrets.
Whoever still works on one holds its `change` lock.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from pyro_mcp.machines import directory
from pyro_mcp.state import snapshots
from pyro_mcp.state import workspaces as rows
from pyro_mcp.workspaces import secret_file
from pyro_mcp.workspaces.places import Place

if TYPE_CHECKING:
    from pyro_mcp.workspaces.store import Store


def tidy(store: Store) -> None:
    """Remove what nobody works on and no row names. Cheap when there is nothing to do."""
    with directory.accessing(store.settings.state_dir):
        try:
            entries = list((store.settings.state_dir / directory.WORKSPACES).iterdir())
        except FileNotFoundError:
            return
    with store.database.reading() as connection:
        known = {row.id: row for row in rows.all_rows(connection)}
        files = {
            id_: {snapshot.file for snapshot in snapshots.all_of(connection, id_)} for id_ in known
        }
    for entry in entries:
        row = known.get(entry.name)
        if row is None:
            _remove_if_abandoned(store, Place(entry))
        elif _has_strays(Place(entry), row.generation, files[row.id]):
            _remove_strays(store, Place(entry), row.id)


def remove(store: Store, place: Place) -> None:
    """End its machine and remove its directory; the caller holds `changing` or made it."""
    store.kill(place)
    if not place.running:  # else its directory stays, for the next to find it
        directory.remove(place.home)


def _remove_if_abandoned(store: Store, place: Place) -> None:
    try:
        lock = os.open(place.home / "change", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with store.database.reading() as connection:
            # It may have been finished between our look at the rows and this lock.
            if rows.find(connection, place.home.name) is not None:
                return
        remove(store, place)
    except BlockingIOError:
        return  # being made, or being removed
    finally:
        os.close(lock)


def _has_strays(place: Place, generation: int, snapshot_files: set[str]) -> bool:
    try:
        disks = {path.name for path in place.home.glob("*-*.ext4")}
        saved = {path.name for path in place.snapshots.glob("*")}
    except FileNotFoundError:
        return False
    wrong_boot = place.running and booted(place) != generation
    halves = secret_file.leftovers(place)
    wrong_disks = disks != {place.disk(generation).name} or bool(saved - snapshot_files)
    return wrong_boot or wrong_disks or bool(halves)


def _remove_strays(store: Store, place: Place, workspace_id: str) -> None:
    try:
        lock = os.open(place.home / "change", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with store.database.reading() as connection:
            row = rows.find(connection, workspace_id)
            if row is None:
                return
            keep = {s.file for s in snapshots.all_of(connection, workspace_id)}
        if place.running and booted(place) != row.generation:
            store.kill(place)
        for pattern in ("data-*", "fork-*"):
            for disk in place.home.glob(pattern):
                if disk != place.disk(row.generation):
                    disk.unlink(missing_ok=True)
        for half in secret_file.leftovers(place):
            half.unlink(missing_ok=True)
        for saved in place.snapshots.glob("*"):
            if saved.name not in keep:
                saved.unlink(missing_ok=True)
    except BlockingIOError:
        return  # being reset, or a snapshot is being taken
    finally:
        os.close(lock)


def booted(place: Place) -> int | None:
    """The generation its machine was booted from last."""
    try:
        return int(place.booted.read_text())
    except (FileNotFoundError, ValueError):
        return None
