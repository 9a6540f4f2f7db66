"""An archive into the workspace: all of it, or nothing.

It is unpacked whole into a staging directory, and then switched in (`fileswitch`).
"""

from __future__ import annotations

import os
import stat

from pyro_mcp import protocol
from pyro_mcp.guest import filetree
from pyro_mcp.guest.fileswitch import DRESS, EXCHANGE, MOVE, Folders, Staging
from pyro_mcp.guest.filetree import STAGING, open_child
from pyro_mcp.guest.filework import path_of
from pyro_mcp.guest.requests import RefusedError
from pyro_mcp.guest.tarblocks import Member, Reader, bad_archive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyro_mcp.guest.filelink import Link
    from pyro_mcp.guest.fileswitch import Step
    from pyro_mcp.guest.filetree import Tree

_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_NAMED = 100


def import_tar(link: Link, tree: Tree, request: dict[str, object]) -> dict[str, object]:
    """`import_tar`: see the module."""
    dest = path_of(request)
    with Staging(link, tree) as staging:
        unpacked = _unpack(link, staging.new, dest)
        steps: list[Step] = []
        _plan(staging.new, staging.root, b"", unpacked.directories, steps)
        staging.switch(steps, dresses=unpacked.directories)
    return {
        "entries": unpacked.entries,
        "bytes": unpacked.content,
        "skipped": unpacked.skipped,
        "skipped_count": unpacked.skipped_count,
        "artifact_type": "directory",
    }


def _unpack(link: Link, new: int, dest: bytes) -> _Unpacked:
    unpacked = _Unpacked(new, dest)
    try:
        unpacked.begin()
        reader = Reader(link.input)
        for member in reader.members():
            unpacked.add(member, reader)
        reader.finish()
        unpacked.dress()
    except (RefusedError, OSError):
        link.drain()
        raise
    finally:
        unpacked.close()
    # What is switched in must not turn out empty should the machine end before it is written.
    os.sync()
    return unpacked


class _Unpacked:
    """What was unpacked into a directory, below the path it is for."""

    def __init__(self, new: int, dest: bytes) -> None:
        self._dest = dest
        self._folders = Folders(new, make=True)
        self.directories: dict[bytes, tuple[int, int]] = {}
        """Mode and time of those the archive has; others are made only where missing."""
        self.entries = 0
        self.content = 0
        self.skipped: list[str] = []
        self.skipped_count = 0

    def begin(self) -> None:
        """Make the directory that it is for."""
        if self._dest:
            self._folders(self._dest)

    def add(self, member: Member, reader: Reader) -> None:
        """Unpack one member."""
        path = _place(self._dest, member.name)
        if member.kind == "special":
            self.skipped_count += 1
            if len(self.skipped) < _MOST_NAMED:
                self.skipped.append(os.fsdecode(member.name))
            return
        self.entries += 1
        if member.kind == "directory":
            self._directory(path, member)
            return
        if path == self._dest:
            raise bad_archive(f"{os.fsdecode(member.name)!r} is not a name for a file")
        above, _, name = path.rpartition(b"/")
        try:
            folder = self._folders(above)
            try:
                self._make(folder, name, member, reader)
            except FileExistsError:
                # Twice in the archive: the last one holds.
                os.unlink(name, dir_fd=folder)
                self._make(folder, name, member, reader)
        except (NotADirectoryError, IsADirectoryError):
            raise bad_archive(
                f"{os.fsdecode(member.name)!r} lies below a file of its own"
            ) from None
        except OSError as error:
            raise filetree.refusal(error, path) from None

    def _directory(self, path: bytes, member: Member) -> None:
        try:
            self._folders(path)
        except OSError as error:
            raise filetree.refusal(error, path) from None
        if path != self._dest or not path:
            self.directories[path] = (member.mode, member.mtime)

    def _make(self, folder: int, name: bytes, member: Member, reader: Reader) -> None:
        if member.kind == "symlink":
            if not member.link:
                raise bad_archive(f"the link {os.fsdecode(member.name)!r} points nowhere")
            os.symlink(member.link, name, dir_fd=folder)
        elif member.kind == "hardlink":
            self._hard_link(folder, name, member)
            return
        else:
            descriptor = os.open(name, _FILE, 0o600, dir_fd=folder)
            try:
                for piece in reader.content():
                    view = piece
                    while view:
                        view = view[os.write(descriptor, view) :]
                self.content += member.size
                os.fchmod(descriptor, member.mode)
                os.utime(descriptor, ns=(member.mtime, member.mtime))
            finally:
                os.close(descriptor)
            return
        times = (member.mtime, member.mtime)
        os.utime(name, ns=times, dir_fd=folder, follow_symlinks=False)

    def _hard_link(self, folder: int, name: bytes, member: Member) -> None:
        above, _, target = _place(self._dest, member.link).rpartition(b"/")
        own = os.dup(folder)
        try:
            source = self._folders(above)
            os.link(target, name, src_dir_fd=source, dst_dir_fd=own, follow_symlinks=False)
        except FileNotFoundError:
            raise bad_archive(
                f"{os.fsdecode(member.name)!r} is a hard link to {os.fsdecode(member.link)!r}, "
                "which does not come before it"
            ) from None
        finally:
            os.close(own)

    def dress(self) -> None:
        """Give directories their modes and times, now that nothing comes into them any more."""
        for path, (mode, mtime) in reversed(self.directories.items()):
            folder = self._folders(path)
            os.fchmod(folder, mode)
            os.utime(folder, ns=(mtime, mtime))

    def close(self) -> None:
        """Give back what is open."""
        self._folders.close()


def _place(dest: bytes, name: bytes) -> bytes:
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if name.startswith(b"/") or b".." in parts or b"\0" in name:
        raise bad_archive(f"the name {os.fsdecode(name)!r} leads out of it")
    if dest:
        parts.insert(0, dest)
    elif parts and parts[0].startswith(STAGING):
        raise bad_archive(f"the name {os.fsdecode(name)!r} is one of pyro's own")
    return b"/".join(parts)


def _plan(
    new: int,
    old: int,
    path: bytes,
    directories: dict[bytes, tuple[int, int]],
    steps: list[Step],
) -> None:
    """The steps that bring `new` into `old`, or a refusal; changes nothing."""
    for name in map(os.fsencode, os.listdir(new)):
        where = path + b"/" + name if path else name
        fresh = os.stat(name, dir_fd=new, follow_symlinks=False)
        try:
            there = os.stat(name, dir_fd=old, follow_symlinks=False)
        except FileNotFoundError:
            steps.append((MOVE, os.fsdecode(where), 0, 0))
            continue
        kind, former = filetree.kind_of(fresh.st_mode), filetree.kind_of(there.st_mode)
        if kind != former:
            what = {"file": "a file", "directory": "a directory", "symlink": "a link"}
            raise RefusedError(
                protocol.ERROR_CONFLICT,
                f"{os.fsdecode(where)} is {what.get(former, 'a special file')} in the workspace "
                f"and {what[kind]} in what is brought in",
            )
        if kind != "directory":
            steps.append((EXCHANGE, os.fsdecode(where), fresh.st_ino, 0))
            continue
        below = open_child(new, name)
        try:
            target = open_child(old, name)
            try:
                _plan(below, target, where, directories, steps)
            finally:
                os.close(target)
        finally:
            os.close(below)
        if where in directories:
            mode = stat.S_IMODE(there.st_mode)
            steps.append((DRESS, os.fsdecode(where), mode, there.st_mtime_ns))
