"""A place on this host that gets something new: whole or not at all, and nothing is overwritten."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.boundary import limits
from pyro_mcp.errors import DiskSpaceError, InvalidInputError, OutputExistsError
from pyro_mcp.host.files import free_mib, remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1  # linux/fs.h
_NOT_KNOWN = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_CHECK_EVERY = 64 << 20
_PART = re.compile(r"\.pyro-[0-9a-f]{12}\.part")


def free_place(parameter: str, given: str | Path) -> Path:
    """Where something new can go: absolute, `~` and the links above it resolved.

    Raises:
        InvalidInputError: It is no path, or lies below what is no directory.
        OutputExistsError: Something is there, if only a link that leads nowhere.
    """
    text = str(given)
    if not text.strip() or "\0" in text:
        raise InvalidInputError(parameter, f"is {text!r}", hint="Give a path of this host.")
    try:
        path = Path(text).expanduser()
        place = path.parent.resolve() / path.name
        if path.name in ("", ".."):
            place = path.resolve()
        if os.path.lexists(place):
            raise OutputExistsError(place)
    except (OSError, RuntimeError) as error:
        if isinstance(error, OutputExistsError):
            raise
        raise InvalidInputError(
            parameter, f"{text!r} cannot be used: {error}", hint="Give another path."
        ) from error
    return place


@contextmanager
def scratch(parameter: str, target: Path) -> Iterator[Path]:
    """A directory beside `target` that nobody else can enter, gone after the block.

    Missing parents are made, and are removed again when the block fails. What a killed process
    has left beside `target` goes too.

    Raises:
        InvalidInputError: It cannot be made there.
    """
    made = _missing(target.parent)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target.parent)
        place, lock = _owned(target)
    except OSError as error:
        raise InvalidInputError(
            parameter,
            f"{str(target)!r} cannot be written: {error.strerror}",
            hint="Give a path in a directory that you may write to.",
        ) from error
    try:
        yield place
    except BaseException:
        remove_tree(place)
        for folder in made:
            with suppress(OSError):  # somebody else uses it by now
                folder.rmdir()
        raise
    else:
        remove_tree(place)
    finally:
        os.close(lock)


def _owned(target: Path) -> tuple[Path, int]:
    """A new directory, and the descriptor whose lock says that its owner lives."""
    while True:
        place = target.with_name(f".pyro-{secrets.token_hex(6)}.part")
        place.mkdir(mode=0o700)
        lock = _open(place)
        with suppress(OSError):  # without locks on that file system nobody tidies either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return place, lock
        os.close(lock)  # taken for abandoned before it was locked


def _remove_abandoned(folder: Path) -> None:
    for entry in os.scandir(folder):
        if not _PART.fullmatch(entry.name):
            continue
        try:
            lock = _open(entry.path)
        except OSError:
            continue  # somebody else's, or gone
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(Path(entry.path))
        except OSError:
            continue  # being written, or being removed by another
        finally:
            os.close(lock)


def _open(folder: Path | str) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _missing(folder: Path) -> list[Path]:
    found = []
    while not folder.exists():
        found.append(folder)
        folder = folder.parent
    return found


def publish_new(finished: Path, target: Path) -> None:
    """Give what is finished its name, unless something has that name by now.

    Raises:
        OutputExistsError: Something has.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    source, name = os.fsencode(finished), os.fsencode(target)
    if libc.renameat2(_AT_FDCWD, source, _AT_FDCWD, name, _RENAME_NOREPLACE) == 0:
        return
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        raise OutputExistsError(target)
    if number not in _NOT_KNOWN:
        raise OSError(number, os.strerror(number), str(target))
    # A file system that cannot do both at once: the moment in between is the caller's own.
    if os.path.lexists(target):
        raise OutputExistsError(target)
    finished.rename(target)


class Room:
    """Watches that a file system keeps some room while it is written to."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._left = 0

    def take(self, count: int) -> None:
        """Say that `count` bytes are about to be written.

        Raises:
            DiskSpaceError: They would not leave what an export has to leave.
        """
        self._left -= count
        if self._left >= 0:
            return
        free = free_mib(self._place)
        needed = limits.ROOM_TO_LEAVE_MIB + (count >> 20)
        if free < needed:
            raise DiskSpaceError(
                self._place, needed_mib=needed, free_mib=free, variable="output_path"
            )
        self._left = _CHECK_EVERY
