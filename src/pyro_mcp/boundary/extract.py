"""What comes out of a guest, made into files of this host, or into an archive.

The guest may send anything. Names are checked against all that came before (`members`); links are
made last, when nothing is written any more, so nothing can be written through one; devices and
pipes are left out; setuid, setgid and sticky bits are dropped, and the caller's umask applies.
Links are carried as they are, wherever they point, and never followed.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pyro_mcp.boundary.members import Members, Notes
from pyro_mcp.boundary.paths import MemberError, clean
from pyro_mcp.boundary.tar import END, Member, header, padding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyro_mcp.boundary.output import Room

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = "is a device, socket or pipe"
_COMPRESSION = 1
"""Higher levels save a tenth and take three times as long."""


class Extraction:
    """Base of what takes an export: checks members and counts them."""

    def __init__(self, *, limit_bytes: int, room: Room) -> None:
        self._members = Members(limit_bytes=limit_bytes)
        self._notes = Notes()
        self._room = room

    @property
    def entry_count(self) -> int:
        """Files, directories and links."""
        return self._members.entry_count

    @property
    def bytes_written(self) -> int:
        """Content of files."""
        return self._members.bytes_written

    @property
    def skipped(self) -> list[str]:
        """What was left out, and why."""
        return self._notes.lines

    def member(self, member: Member) -> None:
        """See `tar.Handler`."""
        if member.kind == "special":
            self._notes.add(clean(member.name), _SPECIAL)
            return
        # Before anything is written of a file that would not fit.
        self._room.take(4096 + member.size)
        for taken in self._members.take(member):
            if taken.mode > 0o777:
                taken = taken._replace(mode=taken.mode & 0o777)
            self._make(taken)

    def note_left_out(self, paths: Sequence[bytes], count: int) -> None:
        """Note what the guest left out: so many, the first of them by their paths."""
        for path in paths:
            self._notes.add(path, _SPECIAL)
        self._notes.add_more(count - len(paths))

    def content(self, data: memoryview) -> None:
        """See `tar.Handler`."""
        raise NotImplementedError

    def end(self) -> None:
        """See `tar.Handler`."""
        raise NotImplementedError

    def _make(self, member: Member) -> None:
        raise NotImplementedError


class TreeExtraction(Extraction):
    """Makes files below an empty directory that nobody else writes to."""

    def __init__(self, root: Path, *, limit_bytes: int, room: Room) -> None:
        super().__init__(limit_bytes=limit_bytes, room=room)
        self._mask = 0o777 & ~_umask()
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._file = -1
        self._mtime = 0
        self._folders: list[Member] = []
        self._links: list[Member] = []

    def _make(self, member: Member) -> None:
        if member.kind == "directory":
            os.mkdir(member.name, 0o700, dir_fd=self._root)
            self._folders.append(member)
        elif member.kind == "symlink":
            self._links.append(member)
        elif member.kind == "hardlink":
            os.link(
                member.link,
                member.name,
                src_dir_fd=self._root,
                dst_dir_fd=self._root,
                follow_symlinks=False,
            )
        else:
            self._file = os.open(member.name, _NEW, member.mode, dir_fd=self._root)
            self._mtime = member.mtime

    def content(self, data: memoryview) -> None:
        """See `tar.Handler`."""
        if self._file >= 0:
            while data:
                data = data[os.write(self._file, data) :]

    def end(self) -> None:
        """See `tar.Handler`."""
        if self._file >= 0:
            descriptor, self._file = self._file, -1
            try:
                os.utime(descriptor, (self._mtime, self._mtime))
            finally:
                os.close(descriptor)

    def finish(self, *, mode: int, mtime: int) -> None:
        """Make the links, and give directories their modes and times; those of the root too."""
        for link in self._links:
            os.symlink(link.link, link.name, dir_fd=self._root)
            times = (link.mtime, link.mtime)
            os.utime(link.name, times, dir_fd=self._root, follow_symlinks=False)
        # The innermost first. Their owner can always enter and remove them.
        for folder in reversed(self._folders):
            mode = (folder.mode & self._mask) | 0o700
            os.chmod(folder.name, mode, dir_fd=self._root)
            os.utime(folder.name, (folder.mtime, folder.mtime), dir_fd=self._root)
        os.fchmod(self._root, (mode & self._mask) | 0o700)
        os.utime(self._root, (mtime, mtime))

    def close(self) -> None:
        """Let go of the directory; may be called twice."""
        for descriptor in (self._file, self._root):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._root = -1


class PackedExtraction(Extraction):
    """Writes a `.tar.gz` that holds no more than a `TreeExtraction` would have made."""

    def __init__(self, out: BinaryIO, *, limit_bytes: int, room: Room) -> None:
        super().__init__(limit_bytes=limit_bytes, room=room)
        self._out = out
        self._packer = zlib.compressobj(_COMPRESSION, zlib.DEFLATED, 31)
        self._pad: bytes | None = None

    def _make(self, member: Member) -> None:
        self._write(header(member))
        if member.kind == "file":
            self._pad = padding(member.size)

    def content(self, data: memoryview) -> None:
        """See `tar.Handler`."""
        if self._pad is not None:
            self._write(data)

    def end(self) -> None:
        """See `tar.Handler`."""
        if self._pad is not None:
            self._write(self._pad)
            self._pad = None

    def finish(self) -> None:
        """Write the end."""
        self._write(END)
        self._out.write(self._packer.flush())

    def _write(self, data: bytes | memoryview) -> None:
        self._out.write(self._packer.compress(data))


def single(members: Extraction, folder: Path) -> Path:
    """The one thing that was made in `folder`.

    Raises:
        MemberError: There are several, or none.
    """
    found = list(folder.iterdir())
    if len(found) != 1 or members.entry_count != 1:
        raise MemberError(b"it", f"is {members.entry_count} entries instead of one")
    return found[0]


def _umask() -> int:
    # os.umask can only be asked by setting it, for all threads.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o077
