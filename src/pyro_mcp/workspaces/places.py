"""Where a workspace's files lie, and the locks on them.

`<state>/workspaces/<id>/` holds:

    lock             held by the monitor as long as the machine runs
    change           held by whoever starts, stops, resets or removes it
    services         held by whoever starts a service in it
    activity         its time to live and last use, see `machines.monitor.idleness`
    data-N.ext4      its disk; N is the generation in the database
    seed.ext4        the immutable baseline of /workspace, when it has one
    secrets.json     its secrets, see `secret_file`; absent when it has none
    snapshots/       disks of named snapshots
    booted           generation of the machine that runs, or ran last
    ready            there once that machine's guest has answered
    cpu              host CPU of the machine that runs, or ran last
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp.errors import UnknownWorkspaceError
from pyro_mcp.machines import directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TRIES = 100


class Place(NamedTuple):
    """The directory of one workspace."""

    home: Path

    @property
    def seed(self) -> Path:
        """The seed's image; need not exist."""
        return self.home / "seed.ext4"

    @property
    def secrets(self) -> Path:
        """File of its secrets; need not exist."""
        return self.home / "secrets.json"

    @property
    def snapshots(self) -> Path:
        """Directory of the named snapshots' disks."""
        return self.home / "snapshots"

    @property
    def activity(self) -> Path:
        """File of its time to live and last use."""
        return self.home / "activity"

    @property
    def booted(self) -> Path:
        """What was booted last."""
        return self.home / "booted"

    @property
    def ready(self) -> Path:
        """There once the machine's guest has answered, gone before it is stopped or started."""
        return self.home / "ready"

    def disk(self, generation: int) -> Path:
        """The data disk of that generation."""
        return self.home / f"data-{generation}.ext4"

    @property
    def running(self) -> bool:
        """Whether its machine runs."""
        return directory.is_running(self.home)

    @property
    def up(self) -> bool:
        """Whether its machine runs and its start was seen through."""
        return self.running and self.ready.exists()

    @contextmanager
    def made(self) -> Iterator[None]:
        """Make the directory, and be alone with it as in `changing`.

        Until it is locked it is nobody's, and whoever tidies may have removed it again.
        """
        for _ in range(_TRIES):
            self.home.mkdir(mode=0o700, exist_ok=True)
            descriptor = self._take_change()
            if descriptor is None:
                continue
            try:
                yield
            finally:
                os.close(descriptor)
            return
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(self.home))

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Alone among those who start, stop, reset or remove it.

        Raises:
            UnknownWorkspaceError: It was removed meanwhile.
        """
        descriptor = self._take_change()
        if descriptor is None:
            raise UnknownWorkspaceError(self.home.name, [])
        try:
            yield
        finally:
            os.close(descriptor)

    def _take_change(self) -> int | None:
        """Lock the file `change`; None when it was removed before that."""
        path = self.home / "change"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold off the end of its time to live; when done, it counts from then."""
        try:
            descriptor = os.open(self.activity, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as error:
            raise UnknownWorkspaceError(self.home.name, []) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield
            os.utime(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def starting_service(self) -> Iterator[None]:
        """Alone among those who start services in it.

        Raises:
            UnknownWorkspaceError: It was removed meanwhile.
        """
        path = self.home / "services"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError as error:
            raise UnknownWorkspaceError(self.home.name, []) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def set_ttl(self, ttl_seconds: int) -> None:
        """Say how long it may stay unused, and count from now. 0: for ever."""
        descriptor = os.open(self.activity, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # In place, since users hold locks on this very file; of one width, so that a reader
            # never sees half of one number and half of another.
            os.pwrite(descriptor, b"%020d" % ttl_seconds, 0)
            os.utime(descriptor)
        finally:
            os.close(descriptor)


def place_of(state_dir: Path, workspace_id: str) -> Place:
    """The directory of the workspace of that id; need not exist."""
    return Place(state_dir / directory.WORKSPACES / workspace_id)
