"""Standing still, so that the host can copy the data disk, and what was written to it meanwhile."""

from __future__ import annotations

import _thread
import errno
import fcntl
import os

from pyro_mcp.guest import mounts
from pyro_mcp.guest.filelink import HostGoneError
from pyro_mcp.guest.filework import flag, number
from pyro_mcp.guest.requests import bad_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyro_mcp.guest.filelink import Link
    from pyro_mcp.guest.filetree import Tree

# linux/fs.h
_FIFREEZE, _FITHAW = 0xC0045877, 0xC0045878
_DATA = "/data"
_LONGEST_SECONDS = 60
# UBD_TAKE_WRITTEN and struct ubd_written in linux/ubd.h of the kernel that comes with pyro: the
# first byte asked about, the bytes that a bit stands for, the bits.
_TAKE_WRITTEN = 0xE0006262
_WRITTEN_BYTES, _WRITTEN_HEAD = 8192, 16
_NO_RECORD = (errno.EINVAL, errno.ENOTTY, errno.EOPNOTSUPP)

_taking = _thread.allocate_lock()
_record: list[str] = [""]
"""Whose record it is: one that lost it is not to take what another one is to see."""


def freeze(link: Link, _tree: Tree, request: dict[str, object]) -> dict[str, object]:
    """`freeze`: what was written is on the disk, and nothing more comes to it.

    Until the host closes the connection or the time is over; the answer is sent in between.
    """
    seconds = min(number(request, "seconds", 10), _LONGEST_SECONDS)
    record = _record_of(request) if "record" in request else ""
    descriptor = os.open(_DATA, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _FIFREEZE, 0)
        try:
            link.reply({"block_bytes": _tell(link, record) if record else 0})
            link.wait_until_gone(seconds)
            # The host learns of it before the disk changes again.
            link.close()
        finally:
            fcntl.ioctl(descriptor, _FITHAW, 0)
    finally:
        os.close(descriptor)
    raise HostGoneError  # it has its answer


def written(link: Link, _tree: Tree, request: dict[str, object]) -> dict[str, object]:
    """`written`: flush, then say which blocks of the data disk were written since the last time."""
    record = _record_of(request)
    os.sync()
    if not flag(request, "begin"):
        return {"block_bytes": _tell(link, record)}
    with _taking:
        _record[0] = record
        return {"block_bytes": _take()[1]}


def _record_of(request: dict[str, object]) -> str:
    record = request.get("record")
    if type(record) is not str or not record:
        raise bad_request("record is not a name")
    return record


def _tell(link: Link, record: str) -> int:
    """Send the map and forget it; returns how many bytes a bit stands for, 0 without a record."""
    with _taking:
        if _record[0] != record:
            return 0
        maps, block_bytes = _take()
    for part in maps:
        link.data(part)
    return block_bytes


def _take() -> tuple[list[memoryview], int]:
    maps, start, block_bytes = [], 0, 0
    disk = os.open(mounts.DATA_DISK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.lseek(disk, 0, os.SEEK_END)
        while start < size:
            answer = bytearray(start.to_bytes(8, "little").ljust(_WRITTEN_BYTES, b"\0"))
            fcntl.ioctl(disk, _TAKE_WRITTEN, answer)
            block_bytes = int.from_bytes(answer[8:_WRITTEN_HEAD], "little")
            asked = (_WRITTEN_BYTES - _WRITTEN_HEAD) * 8 * block_bytes
            bits = -(-min(asked, size - start) // block_bytes)
            maps.append(memoryview(answer)[_WRITTEN_HEAD : _WRITTEN_HEAD + -(-bits // 8)])
            start += asked
    except OSError as error:
        if error.errno not in _NO_RECORD:
            raise
        return [], 0
    finally:
        os.close(disk)
    return maps, block_bytes
