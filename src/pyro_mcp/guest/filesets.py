"""Several files at once: looked at in one request, and changed all or not at all."""

from __future__ import annotations

import os
import stat

from pyro_mcp import protocol
from pyro_mcp.guest import filetree, system
from pyro_mcp.guest.filetree import Tree, entry
from pyro_mcp.guest.requests import RefusedError, bad_request, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.filelink import Link

_ABSENT = (FileNotFoundError, NotADirectoryError)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST_STEP = 64 * 1024


def look(link: Link, tree: Tree, request: dict[str, object]) -> dict[str, object]:
    """`look`: entries of those paths that exist; nothing is followed."""
    paths = request.get("paths")
    if not isinstance(paths, list):
        raise bad_request("paths is not a list")
    for value in paths:
        path = filetree.relative(value)
        try:
            folder, name = tree.parent(path)
        except OSError:
            continue  # below a link or a file, which is looked at on its own
        try:
            link.line(entry(path, _status(folder, name), folder, name))
        except _ABSENT:
            continue
        finally:
            os.close(folder)
    return {}


def commit(link: Link, tree: Tree, _request: dict[str, object]) -> dict[str, object]:
    """`commit`: steps, each of which replaces, makes or removes one file or link.

    All contents are on the disk before the first step; a step that fails undoes those before it.
    """
    staging = filetree.STAGING + os.urandom(8).hex().encode()
    try:
        os.mkdir(staging, 0o700, dir_fd=tree.root)
    except OSError:
        link.drain()
        raise
    stage = -1
    try:
        stage = filetree.open_child(tree.root, staging)
        steps = _received(link, stage)
        with _Undoing() as undoing:
            for number, step in enumerate(steps):
                _take(tree, stage, number, step, undoing)
            undoing.forget()
        return {"steps": len(steps)}
    finally:
        if stage >= 0:
            os.close(stage)
        filetree.remove_below(tree.root, staging)


class _Step:
    def __init__(self, fields: dict[str, object]) -> None:
        self.path = filetree.relative(fields.get("path"))
        self.mtime = fields.get("mtime")
        self.kind = fields.get("kind")
        mode, size = fields.get("mode", 0), fields.get("size_bytes", 0)
        if (
            type(mode) is not int
            or type(size) is not int
            or not 0 <= mode <= 0o7777
            or size < 0
            or self.kind not in ("file", "symlink", None)
        ):
            raise bad_request("a step is not understood")
        self.mode = mode
        self.size = size


def _received(link: Link, stage: int) -> list[_Step]:
    """Contents, as files of the staging directory named by their step's number."""
    source = _Input(link)
    steps: list[_Step] = []
    try:
        while line := source.line():
            step = _Step(decode(line))
            name = b"new%d" % len(steps)
            if step.kind == "symlink":
                os.symlink(source.all(step.size), name, dir_fd=stage)
            elif step.kind == "file":
                descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=stage)
                try:
                    source.copy(step.size, descriptor)
                    os.chmod(descriptor, step.mode)  # noqa: PTH101
                finally:
                    os.close(descriptor)
            steps.append(step)
    except (RefusedError, OSError):
        source.drain()
        raise
    return steps


class _Input:
    """The input of a request as lines and counted bytes."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._rest = b""
        self._ended = False

    def line(self) -> bytes:
        """Without its end; empty when there is no more."""
        while b"\n" not in self._rest:
            if len(self._rest) > _LONGEST_STEP:
                raise bad_request("a step is too long")
            if not self._more():
                if self._rest:
                    raise bad_request("a step has no end")
                return b""
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def all(self, size: int) -> bytes:
        """So many bytes, few."""
        if size > _LONGEST_STEP:
            raise bad_request("a symlink's target is too long")
        while len(self._rest) < size:
            self._must_have_more()
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def copy(self, size: int, descriptor: int) -> None:
        """So many bytes, into a file."""
        while size:
            if not self._rest:
                self._must_have_more()
            view = memoryview(self._rest)[:size]
            self._rest = self._rest[len(view) :]
            size -= len(view)
            while view:
                view = view[os.write(descriptor, view) :]

    def drain(self) -> None:
        """To the end of the input."""
        while self._more():
            self._rest = b""

    def _must_have_more(self) -> None:
        if not self._more():
            raise bad_request("a step's content is too short")

    def _more(self) -> bool:
        if not self._ended:
            content = self._link.input()
            self._ended = not content
            self._rest += content
        return not self._ended


class _Undoing:
    """What takes steps back, the last one first, unless it is told to forget them."""

    def __init__(self) -> None:
        self._ways: list[Callable[[], None]] = []

    def __enter__(self) -> _Undoing:
        return self

    def keep(self, undo: Callable[[], None]) -> None:
        """One thing was done."""
        self._ways.append(undo)

    def forget(self) -> None:
        """All went well."""
        self._ways.clear()

    def __exit__(self, *_: object) -> None:
        for undo in reversed(self._ways):
            try:  # noqa: SIM105 - contextlib costs start-up time
                undo()
            except (OSError, RefusedError):
                # A command has put something else there meanwhile: that is its own now.
                pass


def _take(tree: Tree, stage: int, number: int, step: _Step, undoing: _Undoing) -> None:
    if step.kind is not None:
        _make_directories(tree, step.path, undoing)
    folder, name = tree.parent(step.path)
    try:
        there = _found(folder, name)
        _check(step, there)
        new = b"new%d" % number
        if there is None:
            system.renameat2(stage, new, folder, name, system.RENAME_NOREPLACE)
            undoing.keep(lambda: _remove(tree, step.path))
            return
        old = b"old%d" % number
        if step.kind is None:
            os.rename(name, old, src_dir_fd=folder, dst_dir_fd=stage)
            undoing.keep(lambda: _put_back(tree, stage, old, step.path, system.RENAME_NOREPLACE))
        else:
            if step.kind == "file" and stat.S_ISREG(there.st_mode):
                _own(stage, new, there, step.mode)
            # Readers see the one or the other, never neither.
            system.renameat2(stage, new, folder, name, system.RENAME_EXCHANGE)
            undoing.keep(lambda: _put_back(tree, stage, new, step.path, system.RENAME_EXCHANGE))
            old = new
        # Out of everybody's reach now, so this is what was there.
        _check(step, _found(stage, old))
    finally:
        os.close(folder)


def _check(step: _Step, there: os.stat_result | None) -> None:
    mtime = None if there is None else there.st_mtime
    if mtime != step.mtime or (there is not None and stat.S_ISDIR(there.st_mode)):
        shown = os.fsdecode(step.path)
        raise RefusedError(protocol.ERROR_CONFLICT, f"{shown} was changed in the meantime")


def _own(stage: int, name: bytes, like: os.stat_result, mode: int) -> None:
    os.chown(name, like.st_uid, like.st_gid, dir_fd=stage, follow_symlinks=False)
    # Changing the owner takes setuid bits off.
    os.chmod(name, mode, dir_fd=stage)


def _put_back(tree: Tree, stage: int, name: bytes, path: bytes, flags: int) -> None:
    folder, last = tree.parent(path)
    try:
        system.renameat2(stage, name, folder, last, flags)
    finally:
        os.close(folder)


def _remove(tree: Tree, path: bytes) -> None:
    folder, name = tree.parent(path)
    try:
        os.unlink(name, dir_fd=folder)
    finally:
        os.close(folder)


def _make_directories(tree: Tree, path: bytes, undoing: _Undoing) -> None:
    at = path.find(b"/")
    while at > 0:
        folder, name = tree.parent(path[:at])
        try:
            os.mkdir(name, 0o755, dir_fd=folder)
            undoing.keep(_removing(tree, path[:at]))
        except FileExistsError:
            pass
        finally:
            os.close(folder)
        at = path.find(b"/", at + 1)


def _removing(tree: Tree, path: bytes) -> Callable[[], None]:
    def remove() -> None:
        folder, name = tree.parent(path)
        try:
            os.rmdir(name, dir_fd=folder)
        finally:
            os.close(folder)

    return remove


def _found(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return _status(folder, name)
    except FileNotFoundError:
        return None


def _status(folder: int, name: bytes) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)
