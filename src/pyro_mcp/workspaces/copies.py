"""A copy of a workspace's disk as it is at one moment, also while its machine runs and writes.

The guest stands still for that moment only. Most of its disk is copied before, while it goes on;
then what it wrote meanwhile, again and again until that is little; and the rest when it stands
still. A kernel that keeps no record of what was written has all of it compared instead.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pyro_mcp.config import STATE_VARIABLE
from pyro_mcp.errors import GuestLostError
from pyro_mcp.host.files import copy_sparse, copy_stretches, refresh_copy
from pyro_mcp.machines import directory
from pyro_mcp.machines.stillness import FREEZE_SECONDS, Record, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyro_mcp.machines.stillness import Stretches
    from pyro_mcp.workspaces.places import Place
    from pyro_mcp.workspaces.store import Store

_COPIED_AT_ONCE_MIB = 32
"""Less than that takes no longer to copy than the guest may stand still."""
_STILL_SECONDS = 60
_ROUNDS = 4
_LITTLE = 4 << 20


def save(store: Store, place: Place, disk: Path, target: Path) -> None:
    """Copy the disk to the new file `target`; the caller holds `changing`.

    Raises:
        GuestLostError: The machine stopped answering, or could not be held still for long enough.
        DiskSpaceError: It does not fit.
    """
    with directory.accessing(target):
        _save(store, place, disk, target)


def _save(store: Store, place: Place, disk: Path, target: Path) -> None:
    record = _begin(place, disk)
    if disk.stat().st_blocks >> 11 < _COPIED_AT_ONCE_MIB or not place.running:
        with _still(store, place):
            copy_sparse(disk, target, variable=STATE_VARIABLE)
        return
    if copy_sparse(disk, target, variable=STATE_VARIABLE):
        # It shares its blocks, which takes no time: better done when the disk is still.
        target.unlink()
        with _still(store, place, seconds=_STILL_SECONDS):
            copy_sparse(disk, target, variable=STATE_VARIABLE)
        return
    if record is not None and not _follow(record, disk, target):
        record = None
    with _still(store, place, seconds=_STILL_SECONDS, record=record) as written:
        if written is None:
            refresh_copy(disk, target, variable=STATE_VARIABLE)
        else:
            copy_stretches(disk, target, written, variable=STATE_VARIABLE)


def _begin(place: Place, disk: Path) -> Record | None:
    """Have what the guest holds written out now: it would stand still for that too."""
    if place.running:
        with contextlib.suppress(GuestLostError):
            return Record.begin(place.home, disk.stat().st_size)
    return None


def _follow(record: Record, disk: Path, target: Path) -> bool:
    """Copy what is written meanwhile, until it is little; False: not all of it is known."""
    for _ in range(_ROUNDS):
        try:
            written = record.written()
        except GuestLostError:
            return False
        if written is None:
            return False
        copy_stretches(disk, target, written, variable=STATE_VARIABLE)
        if sum(end - start for start, end in written) <= _LITTLE:
            break
    return True


@contextlib.contextmanager
def _still(
    store: Store, place: Place, *, seconds: int = FREEZE_SECONDS, record: Record | None = None
) -> Iterator[Stretches | None]:
    """The disk does not change within the block: frozen when it runs, at rest when not.

    Gives what `frozen` does.
    """
    with contextlib.ExitStack() as owned:
        written = None
        if place.running:
            try:
                written = owned.enter_context(frozen(place.home, seconds=seconds, record=record))
            except GuestLostError:
                # On its way down: soon the disk is at rest by itself.
                if not store.wait_until_stopped(place):
                    raise
        yield written
