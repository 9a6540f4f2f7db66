"""What all that is done with workspaces stands on: the database, the directories, the machines."""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from pyro_mcp.config import STATE_VARIABLE
from pyro_mcp.errors import (
    GuestLostError,
    GuestUnreachableError,
    GuestWithoutRoomError,
    UnknownWorkspaceError,
    WorkspaceStateError,
)
from pyro_mcp.host.files import ROOM_TO_LEAVE_MIB, free_mib, require_room
from pyro_mcp.machines import channel, directory, requests
from pyro_mcp.machines.spec import check_memory
from pyro_mcp.state import services
from pyro_mcp.state import workspaces as rows
from pyro_mcp.state.database import Database
from pyro_mcp.workspaces import secret_file
from pyro_mcp.workspaces.places import Place, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pyro_mcp.config import Settings
    from pyro_mcp.machines.spec import Images
    from pyro_mcp.network.way import Way
    from pyro_mcp.state.workspaces import WorkspaceRow

    Progress = Callable[[str, float | None], None]

T = TypeVar("T")

_STOP_SECONDS = 10.0
_ASK_AGAIN_SECONDS = 0.05
_TRIES = 3
# Documentation/filesystems/ext4/super.rst: s_feature_incompat, and its INCOMPAT_RECOVER.
_INCOMPATIBLE, _RECOVER = 1024 + 0x60, 0x4


class FindImages(Protocol):
    """Gives the images of an environment, building what is missing."""

    def __call__(self, environment: str, progress: Progress) -> Images:
        """Raise `UnknownEnvironmentError` before anything is built."""


class InUse(NamedTuple):
    """A workspace that runs, as long as the block lasts."""

    row: WorkspaceRow
    place: Place
    started_now: bool
    """It was stopped and was started for this."""


def quiet(_phase: str, _fraction: float | None) -> None:
    """Progress that nobody watches."""


class Store:
    """All workspaces of one state directory; any number of processes may have one."""

    def __init__(
        self, settings: Settings, find_images: FindImages, *, engine_name: str | None = None
    ) -> None:
        self.settings = settings
        self.database = Database(settings.state_dir)
        self.find_images = find_images
        self.engine_name = engine_name

    def place(self, workspace_id: str) -> Place:
        """Its directory; need not exist."""
        return place_of(self.settings.state_dir, workspace_id)

    def row(self, workspace_id: str) -> WorkspaceRow:
        """What is stored of it.

        Raises:
            UnknownWorkspaceError: Nothing.
        """
        with self.database.reading() as connection:
            found = rows.find(connection, workspace_id)
            if found is None:
                known = [row.id for row in rows.all_rows(connection)]
                raise UnknownWorkspaceError(workspace_id, known)
            return found

    @contextmanager
    def using(self, workspace_id: str) -> Iterator[InUse]:
        """Have it running for the length of the block; starts it when it is stopped.

        Counts as activity: its time to live counts from the end of the block.
        """
        row = self.row(workspace_id)
        place = self.place(workspace_id)
        with place.in_use(), secret_file.redacted_errors(place), _loss_explained(place):
            started_now = self._reach(workspace_id, place)
            self.touch(workspace_id)
            yield InUse(row, place, started_now)
            self.touch(workspace_id)

    def asking(self, workspace_id: str, ask: Callable[[InUse], T]) -> T:
        """One question to a workspace; starts it when it is stopped.

        Asked again when the machine ended before it was asked. Holds off the end of its time to
        live; noting the activity is left to the caller.
        """
        row = self.row(workspace_id)
        place = self.place(workspace_id)
        started_now = False
        with place.in_use(), secret_file.redacted_errors(place), _loss_explained(place):
            for _ in range(_TRIES - 1):
                if not place.up:
                    started_now = self.start(workspace_id) or started_now
                try:
                    return ask(InUse(row, place, started_now))
                except GuestUnreachableError:
                    self.wait_until_stopped(place)
            started_now = self._reach(workspace_id, place) or started_now
            return ask(InUse(row, place, started_now))

    def _reach(self, workspace_id: str, place: Place) -> bool:
        """See that its agent answers; returns whether that took a start.

        A machine whose lock is held may be on its way down, or may never come up because whoever
        was starting it was killed. Nothing was asked of it yet, so starting anew is safe.
        """
        started_now = False
        for _ in range(_TRIES):
            if not place.up:
                # Also when another process starts, stops or resets it just now: waits for that.
                started_now = self.start(workspace_id) or started_now
            try:
                channel.connect(place.home).close()
            except GuestLostError:
                self.wait_until_stopped(place)
            else:
                return started_now
        raise GuestLostError("its machine ended three times before it answered")

    def touch(self, workspace_id: str) -> None:
        """Note activity in the database."""
        with self.database.changing(lasting=False) as connection:
            rows.touch(connection, workspace_id, time.time())

    def start(self, workspace_id: str) -> bool:
        """Start its machine; False if it ran already.

        Raises:
            HostMemoryError: More memory than this host has free; nothing was started.
            PyroError: As for `machines.launching.boot`.
        """
        self.row(workspace_id)  # what is no id names no file
        place = self.place(workspace_id)
        with place.changing():
            row = self.row(workspace_id)
            if place.running:
                if place.ready.exists():
                    return False
                try:
                    self._furnish(place)  # its starter may have died just before
                    return False
                except GuestUnreachableError:
                    if not self.wait_until_stopped(place):
                        raise
            self.boot(row, place, generation=row.generation)
            return True

    def boot(self, row: WorkspaceRow, place: Place, *, generation: int) -> None:
        """Boot a stopped workspace from one of its disks; the caller holds `changing`."""
        # All that starts a machine is much to load, and most calls find one that runs.
        from pyro_mcp.machines.choose import choose_engine
        from pyro_mcp.machines.launching import Boot, boot

        check_memory(row.mem_mib)
        # A guest's disk grows as it is written to: without room its machine would soon end.
        require_room(place.home, needed_mib=ROOM_TO_LEAVE_MIB, variable=STATE_VARIABLE)
        way_out = self._way_out(row)
        engine = choose_engine(self.engine_name)
        images = self.find_images(row.environment, quiet)
        place.ready.unlink(missing_ok=True)
        place.set_ttl(row.ttl_seconds)
        place.booted.write_text(str(generation))
        with contextlib.ExitStack() as owned:
            lock = directory.take_lock(place.home)
            # The monitor has its share by the time the guest answers; ours goes in any case.
            owned.callback(os.close, lock)
            started = boot(
                Boot(
                    home=place.home,
                    data_disk=place.disk(generation),
                    seed_image=seed_of(row, place),
                    mem_mib=row.mem_mib,
                    vcpu_count=row.vcpu_count,
                    cpu=directory.assign_cpu(self.settings.state_dir, place.home),
                    owner_pid=os.getpid(),
                    kept=True,
                    life_seconds=0,
                    idle_file=place.activity,
                    network=way_out.launch if way_out else None,
                    network_later=True,
                ),
                images,
                engine,
                lock=lock,
            )
            # The process we started has handed over to the monitor and ended.
            started.monitor.end()
        self._furnish(place)
        if way_out is not None and way_out.inherited is not None:
            requests.inherit(place.home, way_out.inherited)
        # A machine begins without services; what is recorded was another's.
        self.forget_services(row.id)
        place.ready.touch()

    def _furnish(self, place: Place) -> None:
        """What a guest needs before anything may be asked of it."""
        secrets = secret_file.forget_former(place)
        if secrets.current:
            from pyro_mcp.machines import files  # as in `boot`

            files.put_secrets(place.home, secrets.contents)

    def forget_services(self, workspace_id: str) -> None:
        """Drop the records of services whose machine has ended."""
        with self.database.reading() as connection:
            if not services.all_of(connection, workspace_id):
                return
        with self.database.changing() as connection:
            services.remove_all(connection, workspace_id)

    def _way_out(self, row: WorkspaceRow) -> Way | None:
        if row.network_policy == "off":
            return None
        from pyro_mcp.workspaces import networking  # most workspaces have none

        return networking.way_out(self, row)

    def settle(self, row: WorkspaceRow, place: Place) -> None:
        """See that the disk of a stopped machine, which may have been killed, is at rest.

        Its own kernel replays the journal; the caller holds `changing`.
        """
        if not place.running and _needs_recovery(place.disk(row.generation)):
            self.boot(row, place, generation=row.generation)
            self.halt(place)

    def halt(self, place: Place) -> None:
        """Flush and end the machine, if it runs; the caller holds `changing`."""
        if not place.running:
            return
        place.ready.unlink(missing_ok=True)
        with contextlib.suppress(GuestLostError, OSError):
            requests.halt(place.home, timeout_seconds=_STOP_SECONDS)
            if self.wait_until_stopped(place):
                return
        channel.stop(place.home)
        self.wait_until_stopped(place)

    def kill(self, place: Place) -> None:
        """End the machine at once; what it had not written is lost."""
        if not place.running:
            return
        place.ready.unlink(missing_ok=True)
        deadline = time.monotonic() + _STOP_SECONDS
        # More than once: a monitor that is only starting its machine does not listen yet.
        while time.monotonic() < deadline:
            channel.stop(place.home)
            if self.wait_until_stopped(place, _ASK_AGAIN_SECONDS):
                return

    def wait_until_stopped(self, place: Place, seconds: float = _STOP_SECONDS) -> bool:
        """Wait for the end of a machine that is ending; False if it still runs after that time."""
        # An flock cannot be waited for with a limit, and what holds it is not our child.
        deadline = time.monotonic() + seconds
        while place.running:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True


def seed_of(row: WorkspaceRow, place: Place) -> Path | None:
    """The image that /workspace began with; None when it began empty.

    Raises:
        WorkspaceStateError: It had one, and that is gone: what was changed since is not all.
    """
    if place.seed.exists():
        return place.seed
    if row.seed_mode == "empty":
        return None
    raise WorkspaceStateError(
        row.id,
        state=f"without the files that it began with ({place.seed} is missing)",
        needed="whole",
        hint=f"Put that file back; or give the rest up (pyro workspace delete {row.id}).",
    )


@contextmanager
def _loss_explained(place: Place) -> Iterator[None]:
    """Say so when what ended the machine was a full file system of the host."""
    try:
        yield
    except GuestUnreachableError:
        raise
    except GuestLostError as error:
        free = free_mib(place.home)
        if free >= ROOM_TO_LEAVE_MIB:
            raise
        raise GuestWithoutRoomError(place.home.parent.parent, free_mib=free) from error


def _needs_recovery(disk: Path) -> bool:
    """The flag of ext4's superblock; all else of a guest's disk is for guests to read."""
    with disk.open("rb", buffering=0) as file:
        file.seek(_INCOMPATIBLE)
        return bool(int.from_bytes(file.read(4), "little") & _RECOVER)
