"""Files of this host: whole or not at all, copied without their holes, and room for them."""

from __future__ import annotations

import contextlib
import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from pyro_mcp.errors import DiskSpaceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_FICLONE = 0x40049409  # linux/fs.h
_NO_REFLINK = frozenset(
    (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.EPERM, errno.ENOSYS)
)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CHUNK = 1 << 30
_COMPARED = 1 << 18
_BETWEEN_LOOKS = 4 << 20
_STRETCH = 64 << 20
_COMPARED_AT_ONCE = 2

ROOM_TO_LEAVE_MIB = 64
"""What copies leave free: machines that run write to their disks too."""


def write_whole(
    path: Path, content: bytes, *, mode: int = 0o644, owner: tuple[int, int] | None = None
) -> None:
    """Replace `path` by `content`; readers see the old file or the new one, also after a crash.

    `owner` is a uid and a gid, given to it where this user may.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            if owner is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)  # whatever the umask
            out.write(content)
            out.flush()
            os.fsync(descriptor)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make names in this directory survive a crash of the host."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make the content of this file survive a crash of the host."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(finished: Path, target: Path) -> None:
    """Give a finished file or directory its name, on the same file system.

    A directory that is there already is moved aside first, so what replaces it is never mixed
    with it; it is removed by the caller's next clean-up if this process dies in between.
    """
    aside = finished.with_name(f"{finished.name}.old")
    if target.is_dir():
        target.rename(aside)
    finished.rename(target)
    sync_directory(target.parent)
    remove_tree(aside)


def remove_tree(path: Path) -> None:
    """Remove a file or directory tree if it is there."""
    import shutil

    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    shutil.rmtree(path)


def copy_sparse(source: Path, target: Path, *, variable: str, mode: int = 0o600) -> bool:
    """Copy a file to the new file `target`, holes as holes; shares blocks where possible.

    Says whether it could, so that nothing had to be read or written. `variable` as for
    `require_room`.

    Raises:
        FileExistsError: `target` is there.
        DiskSpaceError: It does not fit, or would leave less than `ROOM_TO_LEAVE_MIB`.
    """
    with_source = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with_target = os.open(target, flags, mode)
        try:
            shared = _share_blocks(with_source, with_target)
            if not shared:
                needed = _needed_mib(with_source)
                require_room(target.parent, needed_mib=needed, variable=variable)
                with room_explained(target.parent, needed_mib=needed, variable=variable):
                    _copy_data(with_source, with_target)
        except BaseException:
            os.unlink(target)  # noqa: PTH108
            raise
        finally:
            os.close(with_target)
    finally:
        os.close(with_source)
    return shared


def refresh_copy(source: Path, target: Path, *, variable: str) -> None:
    """Make an earlier copy equal to its source again: all is compared, what differs is copied.

    Both are of one size. Many times faster than a copy that would have to be written anew.

    Raises:
        DiskSpaceError: What is new in the source does not fit.
    """
    with _copy_and_source(target, source, variable) as (ours, theirs):
        size = os.fstat(theirs).st_size
        from concurrent.futures import ThreadPoolExecutor  # loads much, and few need it

        # Several at once: a guest stands still meanwhile, and its CPU with it.
        with ThreadPoolExecutor(_COMPARED_AT_ONCE) as pool:
            starts = range(0, size, _STRETCH)
            list(
                pool.map(
                    lambda start: _refresh(ours, theirs, start, min(start + _STRETCH, size)), starts
                )
            )


def copy_stretches(
    source: Path, target: Path, stretches: Iterable[tuple[int, int]], *, variable: str
) -> None:
    """Copy parts of a file, first byte and the one after the last, over those of an earlier copy.

    Raises:
        DiskSpaceError: What is new in the source does not fit.
    """
    with _copy_and_source(target, source, variable) as (ours, theirs):
        for start, end in stretches:
            at = start
            while (at := min(_next_data(theirs, at, end), _next_data(ours, at, end))) < end:
                piece = memoryview(bytearray(min(_COMPARED, end - at)))
                _read_at(theirs, at, piece)
                _write_at(ours, at, piece)
                at += len(piece)


@contextmanager
def _copy_and_source(target: Path, source: Path, variable: str) -> Iterator[tuple[int, int]]:
    """Descriptors of an earlier copy, to be changed, and of its source."""
    with (
        source.open("rb", buffering=0) as original,
        target.open("r+b", buffering=0) as copy,
        room_explained(target, needed_mib=_needed_mib(original.fileno()), variable=variable),
    ):
        yield copy.fileno(), original.fileno()


def _refresh(ours: int, theirs: int, at: int, end: int) -> None:
    was, now = bytearray(_COMPARED), bytearray(_COMPARED)
    while at < end:
        at = min(_next_data(theirs, at, end), _next_data(ours, at, end))
        # Where there is data there is more: looking for each hole takes longer than reading some.
        look_again = min(at + _BETWEEN_LOOKS, end)
        while at < look_again:
            if look_again - at < _COMPARED:
                was, now = bytearray(look_again - at), bytearray(look_again - at)
            _read_at(ours, at, memoryview(was))
            _read_at(theirs, at, memoryview(now))
            if was != now:
                _write_at(ours, at, memoryview(now))
            at += len(now)


def _needed_mib(descriptor: int) -> int:
    return (os.fstat(descriptor).st_blocks >> 11) + ROOM_TO_LEAVE_MIB


def _next_data(descriptor: int, at: int, end: int) -> int:
    try:
        return min(os.lseek(descriptor, at, os.SEEK_DATA), end)
    except OSError as error:
        if error.errno == errno.ENXIO:  # only a hole is left
            return end
        raise


def _read_at(descriptor: int, at: int, room: memoryview) -> None:
    while room:
        done = os.preadv(descriptor, (room,), at)
        if done == 0:
            raise OSError(errno.EIO, "the file became shorter while it was compared")
        at += done
        room = room[done:]


def _write_at(descriptor: int, at: int, data: memoryview) -> None:
    while data:
        done = os.pwrite(descriptor, data, at)
        at += done
        data = data[done:]


def _share_blocks(source: int, target: int) -> bool:
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _NO_REFLINK:
            return False
        raise
    return True


def _copy_data(source: int, target: int) -> None:
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        at = os.lseek(source, start, os.SEEK_HOLE)
        while start < at:
            start += _copy_range(source, target, start, min(at - start, _CHUNK))


def _copy_range(source: int, target: int, offset: int, count: int) -> int:
    try:
        done = os.copy_file_range(source, target, count, offset, offset)
    except OSError as error:
        if error.errno not in _NO_REFLINK:
            raise
        done = os.pwrite(target, os.pread(source, min(count, 1 << 20), offset), offset)
    if done == 0:
        raise OSError(errno.EIO, "the source became shorter while it was copied")
    return done


def free_mib(path: Path) -> int:
    """MiB that this user may still write where `path` is, or will be."""
    while not path.exists() and path != path.parent:
        path = path.parent
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize >> 20


def require_room(path: Path, *, needed_mib: int, variable: str) -> None:
    """Raise `DiskSpaceError` unless `needed_mib` MiB can be written below `path`.

    `variable` is the environment variable that moves it elsewhere.
    """
    free = free_mib(path)
    if free < needed_mib:
        raise DiskSpaceError(path, needed_mib=needed_mib, free_mib=free, variable=variable)


@contextmanager
def room_explained(path: Path, *, needed_mib: int, variable: str) -> Iterator[None]:
    """Within, a file system without room is a `DiskSpaceError`; arguments as for `require_room`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        free = free_mib(path)
        raise DiskSpaceError(
            path, needed_mib=needed_mib, free_mib=free, variable=variable
        ) from error


def copy_bytes(source: BinaryIO, target: BinaryIO, count: int) -> None:
    """Copy the next `count` bytes of one file to another.

    Raises:
        EOFError: the source has fewer.
    """
    while count:
        chunk = source.read(min(count, 1 << 20))
        if not chunk:
            raise EOFError("the source is shorter than expected")
        target.write(chunk)
        count -= len(chunk)
