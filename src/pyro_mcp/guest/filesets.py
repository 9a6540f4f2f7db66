"""Several files at once: looked at in one request, and changed all or not at all."""

from __future__ import annotations

import os
import stat

from pyro_mcp import protocol
from pyro_mcp.guest import filetree
from pyro_mcp.guest.fileops import walk
from pyro_mcp.guest.fileswitch import EXCHANGE, MOVE, REMOVE, Folders, Staging
from pyro_mcp.guest.filetree import Tree, entry, open_beneath, open_child
from pyro_mcp.guest.requests import RefusedError, bad_request, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyro_mcp.guest.filelink import Link
    from pyro_mcp.guest.fileswitch import Step

_ABSENT = (FileNotFoundError, NotADirectoryError)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LONGEST_STEP = 64 * 1024
_FLUSHED_ALONE = 16
"""More files than that are flushed together with everything else that is to be written."""


def look(link: Link, tree: Tree, request: dict[str, object]) -> dict[str, object]:
    """`look`: entries of those paths that exist; nothing is followed."""
    for path, folder, name in _places(tree, request):
        try:
            link.line(entry(path, _status(folder, name), folder, name))
        except _ABSENT:
            continue
    return {}


def digests(link: Link, tree: Tree, request: dict[str, object]) -> dict[str, object]:
    """`digests`: of those paths that are regular files; nothing is followed."""
    for path, folder, name in _places(tree, request):
        try:
            descriptor = os.open(name, _FILE, dir_fd=folder)
        except OSError as error:
            if error.errno not in filetree.CHANGED:
                raise
            continue
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                link.line({"path": os.fsdecode(path), "digest": _digest(link, descriptor)})
        finally:
            os.close(descriptor)
    return {}


def _digest(link: Link, descriptor: int) -> str:
    from _blake2 import blake2b  # hashlib is much to load

    digest = blake2b(digest_size=32)
    scratch = link.scratch
    while size := os.readv(descriptor, (scratch,)):
        digest.update(scratch[:size])
        link.check()
    return str(digest.hexdigest())


def _places(tree: Tree, request: dict[str, object]) -> Iterator[tuple[bytes, int, bytes]]:
    """Path, directory and name of each, while it is looked at."""
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
            yield path, folder, name
        finally:
            os.close(folder)


def commit(link: Link, tree: Tree, _request: dict[str, object]) -> dict[str, object]:
    """`commit`: steps, each of which replaces, makes or removes one file or link.

    They are switched in as an import is (`fileswitch`): all, or none.
    """
    with Staging(link, tree) as staging:
        steps = _received(link, staging.new)
        plan = _Plan(staging, tree)
        for step in steps:
            plan.add(step)
        staging.switch(plan.steps, check=plan.check)
    return {"steps": len(steps)}


class _Step:
    def __init__(self, fields: dict[str, object]) -> None:
        self.path = filetree.relative(fields.get("path"))
        self.mtime = fields.get("mtime")
        self.kind = fields.get("kind")
        self.replaces_directory = fields.get("replaces_directory") is True
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


def _received(link: Link, new: int) -> list[_Step]:
    """The steps; their contents are on the disk, under their paths below `new`."""
    source = _Input(link)
    steps: list[_Step] = []
    folders = Folders(new, make=True)
    try:
        while line := source.line():
            step = _Step(decode(line))
            above, _, name = step.path.rpartition(b"/")
            if not name:
                raise RefusedError(protocol.ERROR_IS_DIRECTORY, "/workspace itself is no file")
            if step.kind == "symlink":
                os.symlink(source.all(step.size), name, dir_fd=folders(above))
            elif step.kind == "file":
                descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=folders(above))
                try:
                    source.copy(step.size, descriptor)
                    os.chmod(descriptor, step.mode)  # noqa: PTH101
                    if len(steps) < _FLUSHED_ALONE:
                        os.fsync(descriptor)
                finally:
                    os.close(descriptor)
            steps.append(step)
        if len(steps) > _FLUSHED_ALONE:
            os.sync()
    except (RefusedError, OSError):
        source.drain()
        raise
    finally:
        folders.close()
    # What goes makes room for what comes.
    return sorted(steps, key=lambda step: step.kind is not None)


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


class _Plan:
    """The renames that steps amount to; nothing is changed by planning."""

    def __init__(self, staging: Staging, tree: Tree) -> None:
        self._staging = staging
        self._tree = tree
        self._gone: set[bytes] = set()
        self._whole: set[bytes] = set()
        """Directories that come as a whole, with all that is new below them."""
        self._expected: dict[str, _Step] = {}
        self.steps: list[Step] = []

    def add(self, step: _Step) -> None:
        """Plan one step; those that remove come first. Raises `RefusedError`, `OSError`."""
        if step.kind is None:
            _check(step, self._found(step.path))
            self._remove(step)
            return
        if step.replaces_directory:
            there = self._found(step.path)
            if there is None or not stat.S_ISDIR(there.st_mode):
                raise _changed(step.path)
            self._remove(step)
        path = self._first_missing(step.path)
        if path is None:
            self._exchange(step)
            return
        if step.mtime is not None and not step.replaces_directory:
            raise _changed(step.path)
        if path not in self._whole:
            self._whole.add(path)
            self.steps.append((MOVE, os.fsdecode(path), 0, 0))

    def check(self, done: Step) -> None:
        """Refuse if what a step has displaced is not what the host has seen."""
        kind, text, number, _ = done
        if kind == MOVE:
            return
        path = os.fsencode(text)
        step = self._expected[text]
        # Out of everybody's reach now, so this is what was there.
        if kind == EXCHANGE:
            above, _, name = path.rpartition(b"/")
            folder = open_beneath(self._staging.new, above)
            try:
                _check(step, _status(folder, name))
            finally:
                os.close(folder)
        elif step.replaces_directory:
            _check_empty(self._staging.old, b"%d" % number, path)
        else:
            _check(step, _status(self._staging.old, b"%d" % number))

    def _remove(self, step: _Step) -> None:
        text = os.fsdecode(step.path)
        self._gone.add(step.path)
        self._expected[text] = step
        self.steps.append((REMOVE, text, len(self.steps), 0))

    def _exchange(self, step: _Step) -> None:
        folder, name = self._tree.parent(step.path)
        try:
            there = _status(folder, name)
            _check(step, there)
        finally:
            os.close(folder)
        above, _, name = step.path.rpartition(b"/")
        fresh = open_beneath(self._staging.new, above)
        try:
            if step.kind == "file" and stat.S_ISREG(there.st_mode):
                _own(fresh, name, there, step.mode)
            number = _status(fresh, name).st_ino
        finally:
            os.close(fresh)
        text = os.fsdecode(step.path)
        self._expected[text] = step
        self.steps.append((EXCHANGE, text, number, 0))

    def _first_missing(self, path: bytes) -> bytes | None:
        """Of a path and those above it the first one that is not there; None: all are."""
        at = path.find(b"/")
        while at > 0:
            if path[:at] in self._whole or self._found(path[:at]) is None:
                return path[:at]
            at = path.find(b"/", at + 1)
        return path if self._found(path) is None else None

    def _found(self, path: bytes) -> os.stat_result | None:
        if path in self._gone:
            return None
        folder, name = self._tree.parent(path)
        try:
            return _found(folder, name)
        finally:
            os.close(folder)


def _check(step: _Step, there: os.stat_result | None) -> None:
    mtime = None if there is None else there.st_mtime
    if mtime != step.mtime or (there is not None and stat.S_ISDIR(there.st_mode)):
        raise _changed(step.path)


def _check_empty(folder: int, name: bytes, path: bytes) -> None:
    for _, _, where, status in walk(open_child(folder, name), path):
        if not stat.S_ISDIR(status.st_mode):
            shown = os.fsdecode(where)
            raise RefusedError(protocol.ERROR_CONFLICT, f"{shown} is in the way of a file")


def _changed(path: bytes) -> RefusedError:
    shown = os.fsdecode(path)
    return RefusedError(protocol.ERROR_CONFLICT, f"{shown} was changed in the meantime")


def _own(folder: int, name: bytes, like: os.stat_result, mode: int) -> None:
    os.chown(name, like.st_uid, like.st_gid, dir_fd=folder, follow_symlinks=False)
    # Changing the owner takes setuid bits off.
    os.chmod(name, mode, dir_fd=folder)


def _found(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return _status(folder, name)
    except FileNotFoundError:
        return None


def _status(folder: int, name: bytes) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


OPERATIONS = {"look": look, "digests": digests, "commit": commit}
