"""A directory of this host, read as a stream of tar members.

It is scanned first, so its size is known and nothing is made of a source that cannot be used.
Links are carried as they are: every directory and file is opened by its name in the directory
above it, and a link in that place is an error, so reading never leaves the source.

A directory that changes meanwhile: what came after the scan is not carried; a file that grew is
carried as long as it was; one that is gone or became something else is left out with a note; one
that became shorter while it was read ends the transfer, since what was read of it is no state it
ever had.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp.boundary import limits
from pyro_mcp.boundary.ignore import Excludes, IgnoreRules
from pyro_mcp.boundary.members import Notes
from pyro_mcp.boundary.paths import LOST_AND_FOUND, MemberError, shown
from pyro_mcp.boundary.tar import END, Member, header, padding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A file that has become a pipe must not be waited for.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BATCH = 256 * 1024
_SPECIAL = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a pipe",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class _Entry(NamedTuple):
    path: bytes
    mode: int
    """With the type's bits."""
    size: int
    mtime: int
    link: bytes
    inode: tuple[int, int] | None
    """Of a file that has several names."""


class Tree:
    """A scanned directory. `chunks` may be called once; it holds descriptors as long as it runs."""

    mode = "directory"

    def __init__(self, path: Path, *, exclude: Sequence[str] = (), gitignore: bool = False) -> None:
        """Scan it.

        Raises:
            MemberError: An entry that cannot be carried.
            OSError: A directory that cannot be read.
        """
        self.path = path
        self._excludes = Excludes(exclude)
        self._gitignore = gitignore
        self._notes = Notes()
        self._entries: list[_Entry] = []
        self._seen: set[tuple[int, int]] = set()
        self.entry_count = 0
        self.bytes_written = 0
        """Content of files, once for all names of one; at most, as long as `chunks` runs."""
        self.directory_bytes = 0
        """What the names take in directories, for the size of an image."""
        self._root = os.open(path, _FOLDER)
        try:
            self._scan(self._root, b"", IgnoreRules(), depth=0)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the directory."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    @property
    def skipped(self) -> list[str]:
        """What was left out, and why."""
        return self._notes.lines

    @property
    def has_lost_and_found(self) -> bool:
        """Whether it has an entry `lost+found` of its own."""
        return any(entry.path == LOST_AND_FOUND for entry in self._entries)

    @property
    def index_blocks(self) -> int:
        """Blocks of 4 KiB that an image needs beside the content."""
        return self.directory_bytes // 4096

    def _scan(self, folder: int, path: bytes, rules: IgnoreRules, *, depth: int) -> None:
        if depth > limits.DEPTH_LIMIT:
            raise MemberError(path, f"lies more than {limits.DEPTH_LIMIT} directories deep")
        with os.scandir(folder) as found:
            names = sorted((os.fsencode(entry.name), entry) for entry in found)
        if self._gitignore:
            rules = self._rules(folder, path, rules, [name for name, _ in names])
        prefix = path + b"/" if path else b""
        used = 4096
        for name, entry in names:
            used += 12 + len(name)
            child = prefix + name
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                self._notes.add(child, "vanished while the directory was read")
                continue
            self._take(folder, name, child, status, rules, depth)
        self.directory_bytes += used * 9 // 8 + 4096

    def _take(
        self,
        folder: int,
        name: bytes,
        path: bytes,
        status: os.stat_result,
        rules: IgnoreRules,
        depth: int,
    ) -> None:
        directory = stat.S_ISDIR(status.st_mode)
        if self._excludes.match(path, directory=directory):
            return
        if self._gitignore and rules.match(path, directory=directory):
            return
        if len(path) > limits.PATH_LIMIT_BYTES:
            raise MemberError(path, "has a name longer than Linux allows")
        link, size, inode = b"", 0, None
        if stat.S_ISREG(status.st_mode):
            size = status.st_size
            if status.st_nlink > 1:
                inode = (status.st_dev, status.st_ino)
        elif stat.S_ISLNK(status.st_mode):
            try:
                link = os.readlink(name, dir_fd=folder)
            except OSError:
                self._notes.add(path, "changed while the directory was read")
                return
        elif not directory:
            self._notes.add(path, f"is {_SPECIAL.get(stat.S_IFMT(status.st_mode), 'special')}")
            return
        self._entries.append(_Entry(path, status.st_mode, size, int(status.st_mtime), link, inode))
        self._count(path, size, inode)
        if directory:
            try:
                below = os.open(name, _FOLDER, dir_fd=folder)
            except (FileNotFoundError, NotADirectoryError):
                self._notes.add(path, "changed while the directory was read")
                return
            try:
                # git has no rules for its own directory.
                self._gitignore, before = self._gitignore and name != b".git", self._gitignore
                self._scan(below, path, rules, depth=depth + 1)
                self._gitignore = before
            finally:
                os.close(below)

    def _count(self, path: bytes, size: int, inode: tuple[int, int] | None) -> None:
        self.entry_count += 1
        if self.entry_count > limits.ENTRY_LIMIT:
            raise MemberError(path, f"takes it beyond the limit of {limits.ENTRY_LIMIT} entries")
        if inode is None or inode not in self._seen:
            self.bytes_written += size
        if inode is not None:
            self._seen.add(inode)
        if self.bytes_written > limits.SOURCE_LIMIT_BYTES:
            limit = limits.SOURCE_LIMIT_BYTES >> 20
            raise MemberError(path, f"takes it beyond the limit of {limit} MiB")

    def _rules(
        self, folder: int, path: bytes, rules: IgnoreRules, names: list[bytes]
    ) -> IgnoreRules:
        files = [b".gitignore"] if b".gitignore" in names else []
        if not path and b".git" in names:
            # The weakest of them, so it comes first.
            files.insert(0, b".git/info/exclude")
        for file in files:
            with suppress(OSError):
                descriptor = os.open(file, _FILE, dir_fd=folder)
                with os.fdopen(descriptor, "rb") as source:
                    if stat.S_ISREG(os.fstat(descriptor).st_mode):
                        rules = rules.below(path, source.read(1 << 20))
        return rules

    def chunks(self) -> Iterator[bytes]:
        """The tar stream, its end included.

        Raises:
            MemberError: A file became shorter while it was read.
            OSError: A file cannot be read; `filename` says which.
        """
        with _Folders(self._root) as folders:
            names: dict[tuple[int, int], bytes] = {}
            waiting = bytearray()
            self.entry_count = self.bytes_written = 0
            for entry in self._entries:
                if stat.S_ISREG(entry.mode):
                    yield from self._file(entry, folders, names, waiting)
                else:
                    member = Member(
                        entry.path,
                        "directory" if stat.S_ISDIR(entry.mode) else "symlink",
                        stat.S_IMODE(entry.mode),
                        entry.mtime,
                        link=entry.link,
                    )
                    self.entry_count += 1
                    waiting += header(member)
                if len(waiting) >= _BATCH:
                    yield bytes(waiting)
                    waiting.clear()
            waiting += END
            yield bytes(waiting)

    def _file(
        self,
        entry: _Entry,
        folders: _Folders,
        names: dict[tuple[int, int], bytes],
        waiting: bytearray,
    ) -> Iterator[bytes]:
        first = names.get(entry.inode) if entry.inode is not None else None
        member = Member(entry.path, "file", stat.S_IMODE(entry.mode), entry.mtime, entry.size)
        if first is not None:
            waiting += header(member._replace(kind="hardlink", size=0, link=first))
            self.entry_count += 1
            return
        try:
            descriptor = folders.open(entry.path, _FILE)
        except (FileNotFoundError, NotADirectoryError):
            self._notes.add(entry.path, "vanished while the directory was read")
            return
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # it is a link, or a socket, now
                self._notes.add(entry.path, "changed while the directory was read")
                return
            raise OSError(error.errno, error.strerror, entry.path) from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                self._notes.add(entry.path, "changed while the directory was read")
                return
            left = min(entry.size, status.st_size)
            waiting += header(member._replace(size=left))
            self.bytes_written += left
            self.entry_count += 1
            if entry.inode is not None:
                names[entry.inode] = entry.path
            pad = padding(left)
            while left:
                data = os.read(descriptor, min(left, limits.CHUNK))
                if not data:
                    raise MemberError(entry.path, "became shorter while it was read")
                left -= len(data)
                if len(data) < _BATCH:
                    waiting += data
                else:
                    yield bytes(waiting)
                    waiting.clear()
                    yield data
            waiting += pad
        finally:
            os.close(descriptor)


class _Folders:
    """Descriptors of the directory that is being read and of those above it."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._open: list[tuple[bytes, int]] = []

    def open(self, path: bytes, flags: int) -> int:
        """Open a path below the root; no part of it may be a link."""
        parts = path.split(b"/")
        name = parts.pop()
        same = 0
        for (there, _), wanted in zip(self._open, parts, strict=False):
            if there != wanted:
                break
            same += 1
        self._close(same)
        for part in parts[same:]:
            self._open.append((part, os.open(part, _FOLDER, dir_fd=self._current())))
        return os.open(name, flags, dir_fd=self._current())

    def _current(self) -> int:
        return self._open[-1][1] if self._open else self._root

    def _close(self, keep: int) -> None:
        while len(self._open) > keep:
            os.close(self._open.pop()[1])

    def __enter__(self) -> _Folders:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close(0)


def describe(error: OSError) -> str:
    """What an error of the host's file system means, with the name it is about."""
    name = error.filename
    if name is None or isinstance(name, int):
        return error.strerror or str(error)
    return f"{shown(os.fsencode(name))}: {error.strerror}"
