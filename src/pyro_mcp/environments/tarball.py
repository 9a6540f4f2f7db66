"""Tar archives of whole systems: which members to keep, which to add, how much they need.

Members that are kept are copied as they are, byte for byte, so owners, capabilities and other
extended attributes survive whatever this Python knows about them.
"""

from __future__ import annotations

import io
import tarfile
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from pyro_mcp.host.files import copy_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_BLOCK = 4096
_MAX_LINKS = 16


class Addition(NamedTuple):
    """A member to add, owned by root; replaces one of the same path."""

    path: str
    """Without a leading slash."""
    content: bytes = b""
    mode: int = 0o644
    link_to: str = ""
    """Makes it a symbolic link."""
    directory: bool = False


class Contents(NamedTuple):
    """What an archive needs as a file system."""

    inodes: int
    blocks: int
    """Of 4 KiB."""


class _Member(NamedTuple):
    path: str
    start: int
    end: int
    info: tarfile.TarInfo


def plain_path(name: str) -> str:
    """A member's name as a relative path; the root is the empty string."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def read_member(archive: Path, path: str) -> bytes:
    """Content of one regular file, or nothing if it is not there."""
    with tarfile.open(archive, "r:") as tar:
        for info in tar:
            if plain_path(info.name) == path and info.isreg():
                found = tar.extractfile(info)
                assert found is not None
                return found.read()
    return b""


def rewrite(
    source: Path,
    target: Path,
    *,
    keep: Callable[[str], bool],
    add: Iterable[Addition],
    mtime: int,
) -> Contents:
    """Copy the members that `keep` wants (asked with plain paths), then add others.

    Folders that an addition needs are added too. Paths of additions follow the archive's own
    links, so `bin/tool` lands in `usr/bin` where the one is a link to the other.

    Raises:
        ValueError: an addition cannot be where it should; the message begins with its path.
    """
    with source.open("rb") as raw, target.open("wb") as out:
        members = [member for member in _members(source) if keep(member.path)]
        links = {m.path: m.info.linkname for m in members if m.info.issym()}
        folders = {"", *(m.path for m in members if m.info.isdir())}
        additions = {}
        for item in add:
            path = _resolve(item.path, links)
            additions[path] = item._replace(path=path)
        files = {m.path for m in members if not m.info.isdir()} | {
            path for path, item in additions.items() if not item.directory
        }
        _require_places(additions, files, folders)
        contents = _Count()
        for member in members:
            if member.path in additions and not member.info.isdir():
                continue
            raw.seek(member.start)
            copy_bytes(raw, out, member.end - member.start)
            contents.add(member.info)
        for item in additions.values():
            _append(out, item, folders, contents, mtime)
        out.write(bytes(2 * tarfile.BLOCKSIZE))
    return Contents(contents.inodes, contents.blocks)


def measure(archive: Path) -> Contents:
    """What an archive needs as a file system."""
    contents = _Count()
    for member in _members(archive):
        contents.add(member.info)
    return Contents(contents.inodes, contents.blocks)


class _Count:
    def __init__(self) -> None:
        self.inodes = 0
        self.blocks = 0

    def add(self, info: tarfile.TarInfo) -> None:
        if info.islnk():
            return
        self.inodes += 1
        if info.isdir():
            self.blocks += 1
        elif info.isreg():
            self.blocks += -(-info.size // _BLOCK)
        # A link of 60 bytes or more has a block; extended attributes beyond the inode too.
        if len(info.linkname) >= 60 or any(key.startswith("SCHILY") for key in info.pax_headers):
            self.blocks += 1


def _members(archive: Path) -> list[_Member]:
    found = []
    with closing(tarfile.open(archive, "r:")) as tar:
        # `offset` is where a member's first header begins, extension headers included.
        while (info := tar.next()) is not None:
            found.append(_Member(plain_path(info.name), info.offset, tar.offset, info))
            tar.members.clear()  # type: ignore[attr-defined]
    return found


def _require_places(additions: dict[str, Addition], files: set[str], folders: set[str]) -> None:
    for path, item in additions.items():
        if not item.directory and path in folders:
            raise ValueError(f"{path} is a directory")
        parts = path.split("/")
        for count in range(1, len(parts)):
            parent = "/".join(parts[:count])
            if parent in files:
                raise ValueError(f"{path} would be below {parent}, which is no directory")


def _resolve(path: str, links: dict[str, str]) -> str:
    for _ in range(_MAX_LINKS):
        parts = plain_path(path).split("/")
        for count in range(1, len(parts)):
            parent = "/".join(parts[:count])
            if parent in links:
                base = [] if links[parent].startswith("/") else parts[: count - 1]
                path = "/".join((*base, links[parent], *parts[count:]))
                path = _without_dots(path)
                break
        else:
            return "/".join(parts)
    raise ValueError(f"{path} is below a link that leads to itself")


def _without_dots(path: str) -> str:
    kept: list[str] = []
    for part in plain_path(path).split("/"):
        if part == "..":
            del kept[-1:]
        else:
            kept.append(part)
    return "/".join(kept)


def _append(out: BinaryIO, item: Addition, folders: set[str], contents: _Count, mtime: int) -> None:
    parts = item.path.split("/")
    for count in range(1, len(parts)):
        parent = "/".join(parts[:count])
        if parent not in folders:
            _append(out, Addition(parent, mode=0o755, directory=True), folders, contents, mtime)
    if item.directory:
        if item.path in folders:
            return
        folders.add(item.path)
    info = tarfile.TarInfo(f"./{item.path}")
    info.mode, info.mtime = item.mode, mtime
    info.uname = info.gname = "root"
    if item.directory:
        info.type = tarfile.DIRTYPE
    elif item.link_to:
        info.type, info.linkname = tarfile.SYMTYPE, item.link_to
    else:
        info.size = len(item.content)
    out.write(info.tobuf(tarfile.PAX_FORMAT))
    out.write(item.content)
    out.write(bytes(-len(item.content) % tarfile.BLOCKSIZE))
    contents.add(info)


def write_archive(target: Path, additions: Iterable[Addition], *, mtime: int) -> Contents:
    """An archive of these members alone, in their order."""
    contents = _Count()
    folders = {""}
    with target.open("wb") as out:
        for item in additions:
            _append(out, item, folders, contents, mtime)
        out.write(bytes(2 * tarfile.BLOCKSIZE))
    return Contents(contents.inodes, contents.blocks)


def unpack(archive: Path, target: Path, *, keep: Callable[[str], bool]) -> None:
    """Unpack files, folders and links as this user, readable by all. For trusted archives."""
    with tarfile.open(archive, "r:") as tar:
        for info in tar:
            path = plain_path(info.name)
            if not path or not keep(path):
                continue
            place = target / path
            if info.isdir():
                place.mkdir(parents=True, exist_ok=True)
                place.chmod(0o755)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if info.issym():
                place.symlink_to(info.linkname)
            elif info.islnk():
                place.hardlink_to(target / plain_path(info.linkname))
            elif info.isreg():
                content = tar.extractfile(info)
                assert isinstance(content, io.BufferedReader)
                with place.open("wb") as out:
                    while chunk := content.read(1 << 20):
                        out.write(chunk)
                place.chmod(0o755 if info.mode & 0o111 else 0o644)
