"""Names in the workspace, resolved so that nothing outside of it is ever reached.

The tree is under attack: commands run beside every call here and may replace any directory by a
link at any time. So the kernel resolves (openat2), below a descriptor, and what is done to an
entry is done by its directory's descriptor and its last name.
"""

from __future__ import annotations

import errno
import os
import stat

from pyro_mcp import protocol
from pyro_mcp.guest import system
from pyro_mcp.guest.requests import RefusedError, bad_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# linux/openat2.h
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH, _IN_ROOT = 0x02, 0x04, 0x08, 0x10
# The kernel cannot tell a rename beside it from an escape, and asks to be called again.
_TRIES = 64
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK

STAGING = b".pyro-staging-"
"""How the names of what is under way begin, at the top of the workspace."""

CHANGED = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO))
"""What a walk may meet where somebody has changed the tree since it looked."""

_CODES = {
    errno.ENOENT: (protocol.ERROR_NOT_FOUND, "does not exist"),
    errno.ENOTDIR: (protocol.ERROR_NOT_DIRECTORY, "is not a directory, or lies below a file"),
    errno.ENODEV: (protocol.ERROR_SPECIAL, "is a device, a pipe or a socket"),
    errno.EISDIR: (protocol.ERROR_IS_DIRECTORY, "is a directory"),
    errno.ELOOP: (protocol.ERROR_IS_LINK, "is or lies below a symbolic link"),
    errno.EXDEV: (protocol.ERROR_OUTSIDE, "leads out of /workspace"),
    errno.EEXIST: (protocol.ERROR_EXISTS, "exists already"),
    errno.ENOTEMPTY: (protocol.ERROR_NOT_EMPTY, "is a directory that is not empty"),
    errno.ENOSPC: (protocol.ERROR_NO_SPACE, "does not fit: the workspace's disk is full"),
    errno.EDQUOT: (protocol.ERROR_NO_SPACE, "does not fit: the workspace's disk is full"),
}


class Tree:
    """The workspace as one request sees it. `close` gives back its descriptors."""

    def __init__(self, system_root: str, seed: str, upper: str) -> None:
        """`system_root` holds the workspace; `seed` and `upper` are what an overlay was made of.

        `seed` need not exist; `upper` is where changes are.
        """
        self._top = os.open(system_root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._place = f"{system_root}{protocol.WORKSPACE}".encode()
        self._seed = seed
        self._upper = upper
        try:
            # A link there, made by a command, would lead into the agent's own root.
            self.root = os.open(
                self._place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
            )
        except OSError:
            os.close(self._top)
            raise

    def close(self) -> None:
        """Give back the descriptors."""
        os.close(self.root)
        os.close(self._top)

    def open_seed(self) -> int | None:
        """Its root, or None when the workspace began empty."""
        try:
            return os.open(self._seed, _DIRECTORY)
        except FileNotFoundError:
            return None

    def open_upper(self) -> int:
        """Root of what an overlay keeps of changes."""
        return os.open(self._upper, _DIRECTORY)

    def directory(self, path: bytes) -> int:
        """A directory, no part of whose path is a link."""
        return open_beneath(self.root, path)

    def parent(self, path: bytes) -> tuple[int, bytes]:
        """The directory and the last name of a path, no part of it a link but perhaps the last."""
        folder, _, name = path.rpartition(b"/")
        if not name:
            raise RefusedError(protocol.ERROR_IS_DIRECTORY, "/workspace itself stays as it is")
        return self.directory(folder), name

    def made_parent(self, path: bytes) -> tuple[int, bytes]:
        """The same, and what is missing of the directories is made."""
        folder, _, _ = path.rpartition(b"/")
        if folder:
            os.close(self.made_directory(folder))
        return self.parent(path)

    def made_directory(self, path: bytes) -> int:
        """The directory; what is missing of its path is made."""
        return made_beneath(self.root, path)

    def look(self, path: bytes) -> tuple[int, bytes, os.stat_result]:
        """Directory, name and status of an entry; links in its directory's path are followed.

        For the workspace itself and below it only; the name is "." for the workspace.
        """
        folder, _, name = path.rpartition(b"/")
        parent = self.followed(folder)
        try:
            status = os.stat(name or b".", dir_fd=parent, follow_symlinks=False)
        except BaseException:
            os.close(parent)
            raise
        return parent, name or b".", status

    def followed(self, path: bytes) -> int:
        """A directory, links followed as a command would, but only while inside."""
        handle = self._followed(path)
        try:
            return os.open(f"/proc/self/fd/{handle}", _DIRECTORY)
        finally:
            os.close(handle)

    def content(self, path: bytes) -> tuple[int, os.stat_result]:
        """A regular file for reading, links followed while inside."""
        handle = self._followed(path)
        try:
            return _regular(handle)
        finally:
            os.close(handle)

    def seed_content(self, path: bytes) -> tuple[int, os.stat_result]:
        """A regular file of the seed, without following links."""
        seed = self.open_seed()
        if seed is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        try:
            handle = open_beneath(seed, path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
        finally:
            os.close(seed)
        try:
            return _regular(handle)
        finally:
            os.close(handle)

    def _followed(self, path: bytes) -> int:
        below = protocol.WORKSPACE.encode() + b"/" + path
        handle = _openat2(
            self._top, below.strip(b"/"), os.O_PATH | os.O_CLOEXEC, _IN_ROOT | _NO_MAGICLINKS
        )
        try:
            # The workspace is a mount: what is in it now cannot be moved out of it later.
            where = os.readlink(f"/proc/self/fd/{handle}".encode())  # noqa: PTH115
            if where != self._place and not where.startswith(self._place + b"/"):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        except BaseException:
            os.close(handle)
            raise
        return handle


def relative(value: object) -> bytes:
    """The bytes of a path of the host's, relative to the workspace. Raises `RefusedError`."""
    if not isinstance(value, str):
        raise bad_request("a path is not text")
    try:
        path = os.fsencode(value)
    except UnicodeEncodeError:
        raise bad_request("a path has characters that no name can have") from None
    if b"\0" in path:
        raise bad_request("a path contains a zero byte")
    base = protocol.WORKSPACE.encode()
    if path == base or path.startswith(base + b"/"):
        path = path[len(base) :]
    elif path.startswith(b"/"):
        raise RefusedError(protocol.ERROR_OUTSIDE, f"{value!r} is outside /workspace")
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise RefusedError(protocol.ERROR_OUTSIDE, f"{value!r} contains '..'")
    return b"/".join(parts)


def refusal(error: OSError, path: bytes) -> RefusedError:
    """What the host is told of a failed system call."""
    code, wrong = _CODES.get(
        error.errno or 0, (protocol.ERROR_FAILED, f"failed: {error.strerror or error}")
    )
    return RefusedError(code, f"{os.fsdecode(path) or protocol.WORKSPACE!s} {wrong}")


def kind_of(mode: int) -> str:
    """The artifact type of a file mode."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(mode) else "special"


def entry(path: bytes, status: os.stat_result, folder: int, name: bytes) -> dict[str, object]:
    """What is told of one entry."""
    kind = kind_of(status.st_mode)
    return {
        "path": os.fsdecode(path),
        "artifact_type": kind,
        "size_bytes": status.st_size if kind == "file" else 0,
        "mode": stat.S_IMODE(status.st_mode),
        "mtime": status.st_mtime,
        "link_target": link_target(folder, name) if kind == "symlink" else None,
    }


def link_target(folder: int, name: bytes) -> str:
    """Where a link points, unresolved."""
    return os.fsdecode(os.readlink(name, dir_fd=folder))


def open_child(folder: int, name: bytes) -> int:
    """A directory in a directory, never through a link."""
    return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)


def names_in(folder: int) -> list[bytes]:
    """Sorted names of a directory; imports under way are nobody's business."""
    return sorted(
        name for name in map(os.fsencode, os.listdir(folder)) if not name.startswith(STAGING)
    )


def remove_below(folder: int, name: bytes) -> int:
    """Remove an entry with all below it; returns how many went."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        pass
    else:
        return 1
    # One descriptor a level: a tree may be deep, but no deeper than a path is long.
    count = 0
    levels: list[tuple[int, bytes, Iterator[bytes]]] = []
    current, last = folder, name
    try:
        while True:
            below = open_child(current, last)
            levels.append((below, last, iter(list(map(os.fsencode, os.listdir(below))))))  # noqa: PTH208
            while levels:
                below, own, names = levels[-1]
                deeper = None
                for child in names:
                    try:
                        os.unlink(child, dir_fd=below)
                        count += 1
                    except IsADirectoryError:
                        deeper = child
                        break
                    except FileNotFoundError:
                        continue
                if deeper is not None:
                    current, last = below, deeper
                    break
                levels.pop()
                os.close(below)
                above = levels[-1][0] if levels else folder
                os.rmdir(own, dir_fd=above)
                count += 1
            else:
                return count
    finally:
        for below, _, _ in levels:
            os.close(below)


def made_beneath(root: int, path: bytes) -> int:
    """The same for a directory; what is missing of its path is made."""
    try:
        return open_beneath(root, path)
    except FileNotFoundError:
        current = open_beneath(root, b"")
    try:
        for name in path.split(b"/"):
            try:  # noqa: SIM105 - contextlib costs start-up time
                os.mkdir(name, 0o755, dir_fd=current)
            except FileExistsError:
                pass
            below = open_beneath(current, name)
            os.close(current)
            current = below
    except BaseException:
        os.close(current)
        raise
    return current


def open_beneath(folder: int, path: bytes, flags: int = _DIRECTORY) -> int:
    """Open what lies below a directory, no part of its path being a link."""
    path = path or b"."
    return _openat2(folder, path, flags, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)


def _openat2(folder: int, path: bytes, flags: int, resolve: int) -> int:
    for _ in range(_TRIES):
        try:
            return system.openat2(folder, path, flags, resolve)
        except BlockingIOError:
            continue
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _regular(handle: int) -> tuple[int, os.stat_result]:
    status = os.fstat(handle)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    # Opened only now that it is known to be no device: opening one can have effects.
    return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC), status
