"""Secrets in the guest: files in memory, the whole set at once."""

from __future__ import annotations

import os

from pyro_mcp import protocol
from pyro_mcp.guest import filetree, mounts, system
from pyro_mcp.guest.requests import RefusedError, bad_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyro_mcp.guest.filelink import Link
    from pyro_mcp.guest.filetree import Tree

_RUN, _NAME = protocol.SECRETS.rsplit("/", 1)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def install(link: Link, _tree: Tree, request: dict[str, object]) -> dict[str, object]:
    """`secrets`: these files and no others; whoever looks sees the old set or the new one."""
    entries = _entries(request.get("entries"))
    data = b"".join(iter(link.input, b""))
    if sum(size for _, size in entries) != len(data):
        raise bad_request("the content is not as long as its entries say")
    try:
        _replace(entries, data)
    except OSError as error:
        raise filetree.refusal(error, protocol.SECRETS.encode()) from None
    return {"count": len(entries)}


def _replace(entries: list[tuple[bytes, int]], data: bytes) -> None:
    run = _memory()
    fresh = b".secrets-" + os.urandom(6).hex().encode()
    try:
        os.mkdir(fresh, 0o700, dir_fd=run)
        try:
            _fill(run, fresh, entries, data)
            try:
                system.renameat2(run, fresh, run, _NAME.encode(), system.RENAME_EXCHANGE)
            except FileNotFoundError:
                os.rename(fresh, _NAME, src_dir_fd=run, dst_dir_fd=run)
        finally:
            # What was there before, or what could not be finished.
            _remove(run, fresh)
    finally:
        os.close(run)


def _entries(value: object) -> list[tuple[bytes, int]]:
    if not isinstance(value, list):
        raise bad_request("entries is not a list")
    entries = []
    for item in value:
        name, size = item if isinstance(item, list) and len(item) == 2 else ("", 0)
        if not isinstance(name, str) or not name.replace("_", "a").isalnum():
            raise bad_request("an entry has no name")
        if type(size) is not int or size < 0:
            raise bad_request("an entry has no size")
        entries.append((name.encode(), size))
    return entries


def _memory() -> int:
    """The directory /run of commands, which must still be a file system of its own.

    Root in the guest can take that away, and what is then called /run lies on the disk.
    """
    run = os.open(mounts.ROOT + _RUN, _DIRECTORY)
    if os.fstat(run).st_dev == os.stat(mounts.ROOT).st_dev:  # noqa: PTH116
        os.close(run)
        raise RefusedError(
            protocol.ERROR_FAILED,
            f"{_RUN} of the guest is not in memory any more, and secrets go nowhere else",
        )
    return run


def _fill(run: int, folder: bytes, entries: list[tuple[bytes, int]], data: bytes) -> None:
    directory = os.open(folder, _DIRECTORY, dir_fd=run)
    try:
        os.fchmod(directory, 0o700)
        at = 0
        for name, size in entries:
            file = os.open(name, _NEW_FILE, 0o400, dir_fd=directory)
            try:
                left = memoryview(data)[at : at + size]
                while left:
                    left = left[os.write(file, left) :]
            finally:
                os.close(file)
            at += size
    finally:
        os.close(directory)


def _remove(run: int, name: bytes) -> None:
    try:
        filetree.remove_below(run, name)
    except FileNotFoundError:
        return
