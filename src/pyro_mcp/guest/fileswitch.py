"""Files switched into the workspace one after the other, so that all of them came or none.

What comes is prepared whole in a staging directory at the workspace's top, the one place from
which a rename into an overlay is possible: `new` has it under the paths that it will have. Then
each step is one rename: what is new is moved, what replaces something is exchanged with it, what
goes is moved to `old`. A journal in the staging directory says what is being done, so that a
switch cut off by the end of the machine is undone at the next start.
"""

from __future__ import annotations

import _json
import os

from pyro_mcp import protocol
from pyro_mcp.guest import filetree, system
from pyro_mcp.guest.filetree import STAGING, open_child
from pyro_mcp.guest.requests import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.filelink import Link
    from pyro_mcp.guest.filetree import Tree

    Step = tuple[str, str, int, int]
    """Kind, path, and two numbers: of MOVE none, of EXCHANGE the new file's inode, of REMOVE its
    name in `old`, of DRESS the directory's mode and time before it."""
    Dress = tuple[int, int]

MOVE, EXCHANGE, REMOVE, DRESS = "move", "exchange", "remove", "dress"

_NEW, _OLD, _JOURNAL = b"new", b"old", b"journal"
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_JOURNAL = 32 * 1024 * 1024


class Staging:
    """A staging directory, gone after the block; `switch` brings in what `new` has."""

    def __init__(self, link: Link, tree: Tree) -> None:
        """Whose input `link` has is taken to its end should there be no room."""
        self.root = tree.directory(b"")
        self._name = STAGING + os.urandom(6).hex().encode()
        self._open = [self.root]
        try:
            os.mkdir(self._name, 0o700, dir_fd=self.root)
            try:
                self._top = self._opened(self.root, self._name)
                for name in (_NEW, _OLD):
                    os.mkdir(name, 0o755, dir_fd=self._top)
                self.new = self._opened(self._top, _NEW)
                self.old = self._opened(self._top, _OLD)
            except BaseException:
                filetree.remove_below(self.root, self._name)
                raise
        except BaseException as error:
            self._close()
            if isinstance(error, OSError):
                link.drain()
            raise

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            filetree.remove_below(self.root, self._name)
        finally:
            self._close()

    def switch(
        self,
        steps: list[Step],
        *,
        dresses: dict[bytes, Dress] | None = None,
        check: Callable[[Step], None] | None = None,
    ) -> None:
        """Take all steps, or none.

        What they need must be on the disk. `check` is called after each of them and may refuse.
        `dresses` has mode and time for the directories of DRESS.
        """
        _write_journal(self._top, steps)
        done: list[Step] = []
        try:
            self.carry_out(steps, done, dresses=dresses or {}, check=check)
        except BaseException as error:
            _undo(self.new, self.old, self.root, done)
            if isinstance(error, FileExistsError | FileNotFoundError):
                raise RefusedError(
                    protocol.ERROR_CONFLICT,
                    "something else changed the same files meanwhile; try again",
                ) from None
            raise
        # From here on it is done: without its journal it is not undone.
        os.unlink(_JOURNAL, dir_fd=self._top)

    def carry_out(
        self,
        steps: list[Step],
        done: list[Step],
        *,
        dresses: dict[bytes, Dress],
        check: Callable[[Step], None] | None = None,
    ) -> None:
        """Take the steps, and note each as done; for `switch`."""
        sources, targets = Folders(self.new), Folders(self.root)
        try:
            for step in steps:
                kind, text, number, _ = step
                path = os.fsencode(text)
                if kind == DRESS:
                    folder = targets(path)
                    done.append(step)
                    mode, mtime = dresses[path]
                    os.fchmod(folder, mode)
                    os.utime(folder, ns=(mtime, mtime))
                    continue
                above, _, name = path.rpartition(b"/")
                if kind == REMOVE:
                    flags = system.RENAME_NOREPLACE
                    system.renameat2(targets(above), name, self.old, b"%d" % number, flags)
                else:
                    flags = system.RENAME_NOREPLACE if kind == MOVE else system.RENAME_EXCHANGE
                    system.renameat2(sources(above), name, targets(above), name, flags)
                done.append(step)
                if check is not None:
                    check(step)
        finally:
            sources.close()
            targets.close()

    def _opened(self, folder: int, name: bytes) -> int:
        descriptor = open_child(folder, name)
        self._open.append(descriptor)
        return descriptor

    def _close(self) -> None:
        while self._open:
            os.close(self._open.pop())


def recover(root: int) -> None:
    """Undo what the end of the machine cut off; the workspace is not in use yet."""
    for name in map(os.fsencode, os.listdir(root)):
        if not name.startswith(STAGING):
            continue
        try:
            _undo_of(root, name)
            filetree.remove_below(root, name)
        except Exception:  # noqa: BLE001 - a command may have forged it, and we must start
            continue


class Folders:
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


def _undo_of(root: int, name: bytes) -> None:
    try:
        top = open_child(root, name)
    except NotADirectoryError:
        return  # a file that was being written
    try:
        steps = _read_journal(top)
        if steps:
            _undo_in(top, root, steps)
    finally:
        os.close(top)


def _undo_in(top: int, root: int, steps: list[Step]) -> None:
    new = open_child(top, _NEW)
    try:
        old = open_child(top, _OLD)
        try:
            _undo(new, old, root, steps)
        finally:
            os.close(old)
    finally:
        os.close(new)


def _undo(new: int, old: int, root: int, steps: list[Step]) -> None:
    """Take back those of the steps that were carried out, the last one first."""
    sources, targets = Folders(new), Folders(root)
    try:
        for kind, text, number, mtime in reversed(steps):
            path = os.fsencode(text)
            above, _, name = path.rpartition(b"/")
            try:
                if kind == DRESS:
                    folder = targets(path)
                    os.fchmod(folder, number)
                    os.utime(folder, ns=(mtime, mtime))
                elif kind == REMOVE:
                    flags = system.RENAME_NOREPLACE
                    system.renameat2(old, b"%d" % number, targets(above), name, flags)
                elif kind == MOVE:
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
            found = protocol.decode_object(file.read()).get("steps")
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
