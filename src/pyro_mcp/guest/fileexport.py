"""A part of the workspace as a tar archive."""

from __future__ import annotations

import os
import stat

from pyro_mcp.guest import filetree, tarblocks
from pyro_mcp.guest.filework import path_of
from pyro_mcp.guest.tarblocks import Member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyro_mcp.guest.filelink import Link
    from pyro_mcp.guest.filetree import Tree

_MOST_NAMED = 100
_ZEROS = bytes(tarblocks.BLOCK)
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def export_tar(link: Link, tree: Tree, request: dict[str, object]) -> dict[str, object]:
    """`export_tar`: members are named relative to the directory; a file alone by its name."""
    path = path_of(request)
    folder, name, status = tree.look(path)
    archive = _Archive(link)
    try:
        if not stat.S_ISDIR(status.st_mode):
            archive.add(folder, name, name)
    finally:
        os.close(folder)
    if stat.S_ISDIR(status.st_mode):
        _directory(link, archive, tree.followed(path))
    archive.end()
    return {
        "entries": archive.entries,
        "bytes": archive.content,
        "skipped": archive.skipped,
        "skipped_count": archive.skipped_count,
        "artifact_type": filetree.kind_of(status.st_mode),
    }


def _directory(link: Link, archive: _Archive, top: int) -> None:
    """All below a directory, sorted and depth-first; closes it.

    What is a file is known from the directory that names it: one look less at each, and a guest's
    looks are what an export takes its time for.
    """
    levels = [(top, b"", iter(_entries(top)))]
    try:
        while levels:
            folder, above, entries = levels[-1]
            name, is_file = next(entries, (b"", False))
            if not name:
                os.close(levels.pop()[0])
                continue
            link.check()
            where = above + b"/" + name if above else name
            if is_file:
                archive.add_file(folder, name, where)
            elif archive.add(folder, name, where) == "directory":
                below = _open(folder, name)
                if below is not None:
                    levels.append((below, where, iter(_entries(below))))
    finally:
        for level in levels:
            os.close(level[0])


def _entries(folder: int) -> list[tuple[bytes, bool]]:
    with os.scandir(folder) as entries:
        return sorted(
            (name, entry.is_file(follow_symlinks=False))
            for entry in entries
            if not (name := os.fsencode(entry.name)).startswith(filetree.STAGING)
        )


def _open(folder: int, name: bytes) -> int | None:
    try:
        return filetree.open_child(folder, name)
    except OSError as error:
        if error.errno not in filetree.CHANGED:
            raise
        return None


class _Archive:
    """An archive on its way to the host, in frames that are full."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._view = link.scratch
        self._at = 0
        self._linked: dict[tuple[int, int], bytes] = {}
        self.entries = 0
        self.content = 0
        self.skipped: list[str] = []
        self.skipped_count = 0

    def add_file(self, folder: int, name: bytes, path: bytes) -> None:
        """Add what was a file; if it is something else or gone by now it is left out."""
        try:
            self._file(folder, name, path)
        except OSError as error:
            if error.errno not in filetree.CHANGED:
                raise

    def add(self, folder: int, name: bytes, path: bytes) -> str:
        """Add an entry under a name; what has gone meanwhile is left out. Gives its kind."""
        kind = ""
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            kind = filetree.kind_of(status.st_mode)
            if kind == "file":
                self._file(folder, name, path)
            elif kind == "special":
                self.skipped_count += 1
                if len(self.skipped) < _MOST_NAMED:
                    self.skipped.append(os.fsdecode(path))
            else:
                target = b""
                if kind == "symlink":
                    target = os.readlink(name, dir_fd=folder)
                self._member(path, kind, status, link=target)
        except OSError as error:
            if error.errno not in filetree.CHANGED:
                raise
        return kind

    def end(self) -> None:
        """Send the rest."""
        self._put(tarblocks.END)
        self._flush()

    def _file(self, folder: int, name: bytes, path: bytes) -> None:
        descriptor = os.open(name, _FILE, dir_fd=folder)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return
            if status.st_nlink > 1:
                first = self._linked.setdefault((status.st_dev, status.st_ino), path)
                if first != path:
                    self._member(path, "hardlink", status, link=first)
                    return
            self.entries += 1
            size = status.st_size
            mode = stat.S_IMODE(status.st_mode)
            self._put(tarblocks.file_header(path, mode, status.st_mtime_ns, size))
            self._content(descriptor, size)
        finally:
            os.close(descriptor)

    def _member(self, path: bytes, kind: str, status: os.stat_result, *, link: bytes = b"") -> None:
        self.entries += 1
        member = Member(
            path,
            kind,
            mode=stat.S_IMODE(status.st_mode),
            mtime=status.st_mtime_ns,
            link=link,
        )
        self._put(tarblocks.header(member))

    def _content(self, descriptor: int, size: int) -> None:
        left = size
        while left:
            if self._at == len(self._view):
                self._flush()
            room = self._view[self._at : self._at + left]
            got = os.readv(descriptor, (room,))
            if got == 0:
                break
            self._at += got
            left -= got
        self.content += size
        # Zeros for what was cut off since its size was announced.
        while left:
            step = min(left, len(self._view))
            self._put(bytes(step))
            left -= step
        self._put(_ZEROS[: -size % tarblocks.BLOCK])

    def _put(self, data: bytes) -> None:
        end = self._at + len(data)
        if end <= len(self._view):
            self._view[self._at : end] = data
            self._at = end
            return
        view = memoryview(data)
        while view:
            if self._at == len(self._view):
                self._flush()
            piece = view[: len(self._view) - self._at]
            self._view[self._at : self._at + len(piece)] = piece
            self._at += len(piece)
            view = view[len(piece) :]

    def _flush(self) -> None:
        if self._at:
            self._link.data(self._view[: self._at])
            self._at = 0
