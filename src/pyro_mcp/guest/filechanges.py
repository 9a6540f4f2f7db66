"""What differs between the seed and the workspace, at a cost of what was changed.

The workspace is an overlay (Documentation/filesystems/overlayfs.rst): all that differs is in its
upper layer. That one says only where to look: each entry there is compared as the overlay shows
it with what the seed has. Below a directory that is not over the seed's directory of the same
path (`opaque`: made anew; `redirect`: moved there) all of both sides is compared.
"""

from __future__ import annotations

import binascii
import os
import stat

from pyro_mcp.guest import filetree
from pyro_mcp.guest.filework import number, path_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyro_mcp.guest.filelink import Link
    from pyro_mcp.guest.filetree import Tree

_PIECE = 256 * 1024
_MOST_CONTENT = 16 * 1024 * 1024
_ELSEWHERE = ("trusted.overlay.opaque", "trusted.overlay.redirect")
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def changes(link: Link, tree: Tree, request: dict[str, object]) -> dict[str, object]:
    """`changes`: a line for each path that is not as it was.

    `path` is where the workspace is: an inspecting guest has it elsewhere.
    """
    content_bytes = min(number(request, "content_bytes", 0), _MOST_CONTENT)
    seed = tree.open_seed()
    upper = None if seed is None else tree.open_upper()
    now = -1
    try:
        now = tree.directory(path_of(request) if "path" in request else b"")
        _Comparison(link, content_bytes).directories(b"", seed, now, upper)
    finally:
        for descriptor in (seed, upper, now):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
    return {"seeded": seed is not None}


class _Comparison:
    def __init__(self, link: Link, content_bytes: int) -> None:
        self._link = link
        self._content_bytes = content_bytes
        self._pieces = (memoryview(bytearray(_PIECE)), memoryview(bytearray(_PIECE)))

    def directories(
        self, path: bytes, base: int | None, now: int | None, upper: int | None
    ) -> None:
        """Compare two directories; with `upper`, only what it names."""
        if upper is not None:
            names = filetree.names_in(upper)
        else:
            found = set(filetree.names_in(base)) if base is not None else set()
            if now is not None:
                found.update(filetree.names_in(now))
            names = sorted(found)
        for name in names:
            self._link.check()
            where = path + b"/" + name if path else name
            self._entry(where, name, base, now, upper)

    def _entry(
        self, path: bytes, name: bytes, base: int | None, now: int | None, upper: int | None
    ) -> None:
        before, after = _status(base, name), _status(now, name)
        if before is None and after is None:
            return
        was_directory = before is not None and stat.S_ISDIR(before.st_mode)
        is_directory = after is not None and stat.S_ISDIR(after.st_mode)
        if before is None or after is None or _differ_in_kind(before, after):
            status = "added" if before is None else "deleted" if after is None else "type_changed"
            self._tell(path, name, status, (base, before), (now, after), content=True)
        elif was_directory:
            if _mode(before) != _mode(after):
                self._tell(path, name, "modified", (base, before), (now, after), content=False)
        else:
            same = self._same(name, base, before, now, after)
            if not same or (_mode(before) != _mode(after) and not stat.S_ISLNK(before.st_mode)):
                sides = (base, before), (now, after)
                self._tell(path, name, "modified", *sides, content=not same)
        if was_directory or is_directory:
            self._below(
                path,
                name,
                base if was_directory else None,
                now if is_directory else None,
                upper,
            )

    def _below(
        self, path: bytes, name: bytes, base: int | None, now: int | None, upper: int | None
    ) -> None:
        opened: list[int | None] = []
        try:
            for folder in (base, now, upper if base is not None and now is not None else None):
                opened.append(_open_directory(folder, name))
            below_base, below_now, below_upper = opened
            if below_upper is not None and _lies_elsewhere(below_upper):
                below_upper = None
            self.directories(path, below_base, below_now, below_upper)
        finally:
            for descriptor in opened:
                if descriptor is not None:
                    os.close(descriptor)

    def _same(
        self,
        name: bytes,
        base: int | None,
        before: os.stat_result,
        now: int | None,
        after: os.stat_result,
    ) -> bool:
        if stat.S_ISLNK(before.st_mode):
            return os.readlink(name, dir_fd=base) == os.readlink(name, dir_fd=now)
        if not stat.S_ISREG(before.st_mode):
            return before.st_rdev == after.st_rdev
        if before.st_size != after.st_size:
            return False
        descriptors: list[int] = []
        try:
            for folder in (base, now):
                descriptors.append(os.open(name, _FILE, dir_fd=folder))
            one, other = self._pieces
            while True:
                size = os.readv(descriptors[0], (one,))
                size_now = os.readv(descriptors[1], (other,))
                if size != size_now or one[:size] != other[:size_now]:
                    return False
                if size == 0:
                    return True
                self._link.check()
        except OSError as error:
            if error.errno in filetree.CHANGED:
                return False
            raise
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _tell(
        self,
        path: bytes,
        name: bytes,
        status: str,
        base: tuple[int | None, os.stat_result | None],
        now: tuple[int | None, os.stat_result | None],
        *,
        content: bool,
    ) -> None:
        self._link.line(
            {
                "path": os.fsdecode(path),
                "status": status,
                "base": self._side(name, *base, content=content),
                "now": self._side(name, *now, content=content),
                "content": content,
            }
        )

    def _side(
        self, name: bytes, folder: int | None, status: os.stat_result | None, *, content: bool
    ) -> dict[str, object] | None:
        if folder is None or status is None:
            return None
        kind = filetree.kind_of(status.st_mode)
        target = data = None
        try:
            if kind == "symlink":
                target = filetree.link_target(folder, name)
            elif kind == "file" and content and status.st_size <= self._content_bytes:
                data = _small(folder, name, self._content_bytes)
        except OSError as error:
            if error.errno not in filetree.CHANGED:
                raise
            target = "" if kind == "symlink" else None
        return {
            "artifact_type": kind,
            "size_bytes": status.st_size if kind == "file" else 0,
            "mode": _mode(status),
            "inode": status.st_ino,
            "changed_ns": status.st_ctime_ns,
            "link_target": target,
            "data": data,
        }


def _small(folder: int, name: bytes, most: int) -> str | None:
    descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        parts = []
        left = most + 1
        while left and (part := os.read(descriptor, min(left, _PIECE))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(descriptor)
    # One byte more than allowed: it has grown meanwhile.
    return None if not left else binascii.b2a_base64(b"".join(parts), newline=False).decode()


def _status(folder: int | None, name: bytes) -> os.stat_result | None:
    if folder is None:
        return None
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _open_directory(folder: int | None, name: bytes) -> int | None:
    if folder is None:
        return None
    try:
        return filetree.open_child(folder, name)
    except OSError as error:
        # Not there: nothing of it was changed, or it has gone since it was looked at.
        if error.errno in filetree.CHANGED:
            return None
        raise


def _lies_elsewhere(upper: int) -> bool:
    for attribute in _ELSEWHERE:
        try:
            os.getxattr(upper, attribute)
        except OSError:
            continue
        return True
    return False


def _differ_in_kind(one: os.stat_result, other: os.stat_result) -> bool:
    return stat.S_IFMT(one.st_mode) != stat.S_IFMT(other.st_mode)


def _mode(status: os.stat_result) -> int:
    return stat.S_IMODE(status.st_mode)
