"""The small operations on files: look, list, read, write, delete, move, make a directory."""

from __future__ import annotations

import os
import stat

from pyro_mcp import protocol
from pyro_mcp.guest import filetree, system
from pyro_mcp.guest.filetree import Tree, entry
from pyro_mcp.guest.filework import copy_out, flag, number, path_of
from pyro_mcp.guest.requests import RefusedError, bad_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyro_mcp.guest.filelink import Link

    Request = dict[str, object]
    Reply = dict[str, object]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PERMISSIONS = 0o7777


def look(_link: Link, tree: Tree, request: Request) -> Reply:
    """`stat`: one entry, its last name not followed."""
    path = path_of(request)
    folder, name, status = tree.look(path)
    try:
        return entry(path, status, folder, name)
    finally:
        os.close(folder)


def list_(link: Link, tree: Tree, request: Request) -> Reply:
    """`list`: what a directory has, or the entry itself when it is none."""
    path = path_of(request)
    recursive = flag(request, "recursive")
    left = number(request, "limit", 0)
    skipped = 0
    folder, name, status = tree.look(path)
    try:
        if not stat.S_ISDIR(status.st_mode):
            link.line(entry(path, status, folder, name))
            return {"truncated": False, "skipped": 0}
    finally:
        os.close(folder)
    for parent, child, where, found in walk(tree.followed(path), path, recursive=recursive):
        link.check()
        if filetree.kind_of(found.st_mode) == "special":
            skipped += 1
            continue
        if left <= 0:
            return {"truncated": True, "skipped": skipped}
        left -= 1
        try:
            link.line(entry(where, found, parent, child))
        except FileNotFoundError:
            continue  # a link that has gone meanwhile
    return {"truncated": False, "skipped": skipped}


def walk(
    folder: int,
    path: bytes,
    *,
    recursive: bool = True,
    enter: Callable[[bytes, bytes], bool] = lambda _path, _name: True,
) -> Iterator[tuple[int, bytes, bytes, os.stat_result]]:
    """Entries below a directory, depth-first and sorted: (directory, name, path, status).

    Closes `folder`. What disappears meanwhile is left out. `enter` says of a directory's path and
    name whether to descend.
    """
    levels = [(folder, path, iter(filetree.names_in(folder)))]
    try:
        while levels:
            current, above, names = levels[-1]
            name = next(names, None)
            if name is None:
                os.close(levels.pop()[0])
                continue
            where = above + b"/" + name if above else name
            try:
                status = os.stat(name, dir_fd=current, follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield current, name, where, status
            if recursive and stat.S_ISDIR(status.st_mode) and enter(where, name):
                try:
                    below = filetree.open_child(current, name)
                except OSError as error:
                    if error.errno not in filetree.CHANGED:
                        raise
                    continue
                levels.append((below, where, iter(filetree.names_in(below))))
    finally:
        for level in levels:
            os.close(level[0])


def read(link: Link, tree: Tree, request: Request) -> Reply:
    """`read`: content of a regular file, then its entry."""
    return _send(link, request, *tree.content(path_of(request)))


def read_base(link: Link, tree: Tree, request: Request) -> Reply:
    """`read_base`: the same of the seed."""
    return _send(link, request, *tree.seed_content(path_of(request)))


def _send(link: Link, request: Request, descriptor: int, status: os.stat_result) -> Reply:
    length = None if request.get("length") is None else number(request, "length", 0)
    try:
        copy_out(link, descriptor, number(request, "offset", 0), length)
    finally:
        os.close(descriptor)
    return entry(path_of(request), status, -1, b"")


def write(link: Link, tree: Tree, request: Request) -> Reply:
    """`write`: a whole new file, or new content of one, at once."""
    try:
        path = path_of(request)
        given = request.get("mode")
        mode = None if given is None else number(request, "mode", 0)
        if mode is not None and mode > _PERMISSIONS:
            raise bad_request("mode is not one")
        parents = flag(request, "parents", default=True)
        folder, name = tree.made_parent(path) if parents else tree.parent(path)
    except (RefusedError, OSError):
        link.drain()
        raise
    try:
        return _write(link, tree, folder, name, mode)
    finally:
        os.close(folder)


def _write(link: Link, tree: Tree, folder: int, name: bytes, mode: int | None) -> Reply:
    try:
        before = _replaceable(folder, name)
    except (RefusedError, OSError):
        link.drain()
        raise
    # Nobody sees what has this name, and the machine's next start removes what it left of it.
    temporary = filetree.STAGING + os.urandom(6).hex().encode()
    descriptor = -1
    try:
        try:
            descriptor = os.open(temporary, _NEW_FILE, 0o600, dir_fd=tree.root)
            size = _fill(link, descriptor)
        except OSError:
            link.drain()
            raise
        if mode is None:
            mode = 0o644 if before is None else stat.S_IMODE(before.st_mode)
        if before is not None:
            os.chown(descriptor, before.st_uid, before.st_gid)
        os.chmod(descriptor, mode)  # noqa: PTH101
        # Or the end of the machine could leave the new name without the content.
        os.fsync(descriptor)
        # Looked at again: the time between is short now.
        _replaceable(folder, name)
        os.rename(temporary, name, src_dir_fd=tree.root, dst_dir_fd=folder)
    except BaseException:
        _unlink(tree.root, temporary)
        raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return {"size_bytes": size, "created": before is None, "mode": mode}


def _fill(link: Link, descriptor: int) -> int:
    size = 0
    while content := link.input():
        view = memoryview(content)
        size += len(view)
        while view:
            view = view[os.write(descriptor, view) :]
    return size


def _replaceable(folder: int, name: bytes) -> os.stat_result | None:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    kind = filetree.kind_of(status.st_mode)
    if kind == "file":
        return status
    what = {
        "directory": (protocol.ERROR_IS_DIRECTORY, "is a directory"),
        "symlink": (protocol.ERROR_IS_LINK, "is a symbolic link"),
        "special": (protocol.ERROR_SPECIAL, "is a device, a pipe or a socket"),
    }
    code, wrong = what[kind]
    raise RefusedError(code, f"{os.fsdecode(name)} {wrong}")


def _unlink(folder: int, name: bytes) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def delete(_link: Link, tree: Tree, request: Request) -> Reply:
    """`delete`: an entry, a link itself and not what it points to."""
    folder, name = tree.parent(path_of(request))
    try:
        if flag(request, "recursive"):
            return {"deleted": filetree.remove_below(folder, name)}
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(name, dir_fd=folder)
        else:
            os.unlink(name, dir_fd=folder)
        return {"deleted": 1}
    finally:
        os.close(folder)


def move(_link: Link, tree: Tree, request: Request) -> Reply:
    """`move`: to another name; what has that name is replaced only on request."""
    source, target = path_of(request), path_of(request, "to")
    replace = flag(request, "replace")
    if target == source or target.startswith(source + b"/"):
        raise RefusedError(
            protocol.ERROR_CONFLICT, f"{os.fsdecode(source)} cannot be moved to below itself"
        )
    folder, name = tree.parent(source)
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)  # before directories are made
        try:
            to_folder, to_name = tree.made_parent(target)
        except OSError as error:
            raise filetree.refusal(error, target) from None
        try:
            if replace:
                os.rename(name, to_name, src_dir_fd=folder, dst_dir_fd=to_folder)
            else:
                flags = system.RENAME_NOREPLACE
                system.renameat2(folder, name, to_folder, to_name, flags)
        except OSError as error:
            raise filetree.refusal(error, target) from None
        finally:
            os.close(to_folder)
    finally:
        os.close(folder)
    return {}


def mkdir(_link: Link, tree: Tree, request: Request) -> Reply:
    """`mkdir`: a directory; one that is there is an error unless `parents`."""
    path = path_of(request)
    parents = flag(request, "parents")
    if parents:
        try:
            os.close(tree.directory(path))
        except FileNotFoundError:
            os.close(tree.made_directory(path))
            return {"created": True}
        return {"created": False}
    folder, name = tree.parent(path)
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
    finally:
        os.close(folder)
    return {"created": True}


OPERATIONS = {
    "stat": look,
    "list": list_,
    "read": read,
    "read_base": read_base,
    "write": write,
    "delete": delete,
    "move": move,
    "mkdir": mkdir,
}
