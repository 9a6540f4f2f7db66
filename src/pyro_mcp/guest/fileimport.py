"""An archive into the workspace: all of it, or nothing.

It is unpacked whole into a staging directory at the workspace's top, the one place from which a
rename into an overlay is possible. Then each part is switched in by one rename: what is new is
moved, what replaces something is exchanged with it. A journal in the staging directory says what
is being done, so that an import cut off by the end of the machine is undone at the next start.
"""

from __future__ import annotations

import _json
import os
import stat

from pyro_mcp import protocol
from pyro_mcp.guest import filetree, system
from pyro_mcp.guest.filetree import STAGING, open_child
from pyro_mcp.guest.filework import path_of
from pyro_mcp.guest.plain_json import decode
from pyro_mcp.guest.requests import RefusedError
from pyro_mcp.guest.tarblocks import Member, Reader, bad_archive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.filelink import Link
    from pyro_mcp.guest.filetree import Tree

    Step = tuple[str, str, int, int]

_NEW, _JOURNAL = b"new", b"journal"
_MOVE, _EXCHANGE, _DRESS = "move", "exchange", "dress"
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_NAMED = 100
_MOST_JOURNAL = 32 * 1024 * 1024


def import_tar(link: Link, tree: Tree, request: dict[str, object]) -> dict[str, object]:
    """`import_tar`: see the module."""
    dest = path_of(request)
    staging = STAGING + os.urandom(6).hex().encode()
    root = tree.directory(b"")
    try:
        os.mkdir(staging, 0o700, dir_fd=root)
        try:
            top = open_child(root, staging)
            try:
                unpacked = _stage(link, top, dest)
                _switch(top, root, unpacked.directories)
            finally:
                os.close(top)
        finally:
            filetree.remove_below(root, staging)
    finally:
        os.close(root)
    return {
        "entries": unpacked.entries,
        "bytes": unpacked.content,
        "skipped": unpacked.skipped,
        "skipped_count": unpacked.skipped_count,
        "artifact_type": "directory",
    }


def recover(root: int) -> None:
    """Undo the imports that the end of the machine cut off; the workspace is not in use yet."""
    for name in map(os.fsencode, os.listdir(root)):
        if not name.startswith(STAGING):
            continue
        try:
            top = open_child(root, name)
            try:
                steps = _read_journal(top)
                if steps:
                    new = open_child(top, _NEW)
                    try:
                        _undo(new, root, steps)
                    finally:
                        os.close(new)
            finally:
                os.close(top)
            filetree.remove_below(root, name)
        except Exception:  # noqa: BLE001 - a command may have forged it, and we must start
            continue


def _stage(link: Link, top: int, dest: bytes) -> _Unpacked:
    os.mkdir(_NEW, 0o755, dir_fd=top)
    new = open_child(top, _NEW)
    try:
        unpacked = _Unpacked(new, dest)
        try:
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
    finally:
        os.close(new)
    # What is switched in must not turn out empty should the machine end before it is written.
    os.sync()
    return unpacked


class _Folders:
    """Directories below one, by path, the last one kept open."""

    def __init__(self, root: int, *, make: bool = False) -> None:
        self._root = root
        self._make = make
        self._path: bytes | None = None
        self._folder = -1

    def __call__(self, path: bytes) -> int:
        if path != self._path:
            self.close()
            open_directory = filetree.made_beneath if self._make else filetree.open_beneath
            self._folder = open_directory(self._root, path)
            self._path = path
        return self._folder

    def close(self) -> None:
        """Give back what is open."""
        if self._path is not None:
            self._path = None
            os.close(self._folder)


class _Unpacked:
    """What was unpacked into a directory, below the path it is for."""

    def __init__(self, new: int, dest: bytes) -> None:
        self._dest = dest
        self._folders = _Folders(new, make=True)
        if dest:
            self._folders(dest)
        self.directories: dict[bytes, tuple[int, int]] = {}
        """Mode and time of those the archive has; others are made only where missing."""
        self.entries = 0
        self.content = 0
        self.skipped: list[str] = []
        self.skipped_count = 0

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


def _switch(top: int, root: int, directories: dict[bytes, tuple[int, int]]) -> None:
    new = open_child(top, _NEW)
    try:
        steps: list[Step] = []
        target = os.dup(root)
        try:
            _plan(new, target, b"", directories, steps)
        finally:
            os.close(target)
        _write_journal(top, steps)
        done: list[Step] = []
        try:
            _carry_out(new, root, steps, directories, done)
        except BaseException as error:
            _undo(new, root, done)
            if isinstance(error, FileExistsError | FileNotFoundError):
                raise RefusedError(
                    protocol.ERROR_CONFLICT, "something else changed the same files meanwhile"
                ) from None
            raise
        # From here on it is done: without its journal it is not undone.
        os.unlink(_JOURNAL, dir_fd=top)
    finally:
        os.close(new)


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
            steps.append((_MOVE, os.fsdecode(where), 0, 0))
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
            steps.append((_EXCHANGE, os.fsdecode(where), fresh.st_ino, 0))
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
            steps.append((_DRESS, os.fsdecode(where), mode, there.st_mtime_ns))


def _carry_out(
    new: int,
    root: int,
    steps: list[Step],
    directories: dict[bytes, tuple[int, int]],
    done: list[Step],
) -> None:
    sources, targets = _Folders(new), _Folders(root)
    try:
        for step in steps:
            kind, text, _, _ = step
            path = os.fsencode(text)
            if kind == _DRESS:
                folder = targets(path)
                done.append(step)
                mode, mtime = directories[path]
                os.fchmod(folder, mode)
                os.utime(folder, ns=(mtime, mtime))
                continue
            above, _, name = path.rpartition(b"/")
            flags = system.RENAME_NOREPLACE if kind == _MOVE else system.RENAME_EXCHANGE
            system.renameat2(sources(above), name, targets(above), name, flags)
            done.append(step)
    finally:
        sources.close()
        targets.close()


def _undo(new: int, root: int, steps: list[Step]) -> None:
    """Take back those of the steps that were carried out, the last one first."""
    sources, targets = _Folders(new), _Folders(root)
    try:
        for kind, text, number, mtime in reversed(steps):
            path = os.fsencode(text)
            above, _, name = path.rpartition(b"/")
            try:
                if kind == _DRESS:
                    folder = targets(path)
                    os.fchmod(folder, number)
                    os.utime(folder, ns=(mtime, mtime))
                elif kind == _MOVE:
                    flags = system.RENAME_NOREPLACE
                    system.renameat2(targets(above), name, sources(above), name, flags)
                elif _inode(targets(above), name) == number:
                    flags = system.RENAME_EXCHANGE
                    system.renameat2(targets(above), name, sources(above), name, flags)
            except OSError:
                continue  # not carried out, or removed by a command since
    finally:
        sources.close()
        targets.close()


def _inode(folder: int, name: bytes) -> int:
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino


def _write_journal(top: int, steps: list[Step]) -> None:
    encode: Callable[[str], str] = _json.encode_basestring_ascii
    lines = (f'["{kind}",{encode(path)},{number},{mtime}]' for kind, path, number, mtime in steps)
    data = memoryview(f'{{"steps":[{",".join(lines)}]}}'.encode())
    if len(data) > _MOST_JOURNAL:
        raise RefusedError(protocol.ERROR_CONFLICT, "too many files would be replaced at once")
    descriptor = os.open(_JOURNAL, _FILE, 0o600, dir_fd=top)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_journal(top: int) -> list[Step]:
    try:
        descriptor = os.open(_JOURNAL, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=top)
    except FileNotFoundError:
        return []
    try:
        if os.fstat(descriptor).st_size > _MOST_JOURNAL:
            return []
        with open(descriptor, "rb", closefd=False) as file:
            found = decode(file.read()).get("steps")
        if not isinstance(found, list):
            return []
        steps: list[Step] = []
        for kind, path, number, mtime in found:
            if not filetree.relative(path):
                return []
            steps.append((str(kind), str(path), int(number), int(mtime)))
    except (RefusedError, TypeError, ValueError):
        # Not whole: nothing was switched yet.
        return []
    finally:
        os.close(descriptor)
    return steps
