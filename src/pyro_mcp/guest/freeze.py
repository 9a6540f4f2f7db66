"""Standing still, so that the host can copy the data disk."""

from __future__ import annotations

import fcntl
import os

from pyro_mcp.guest.filelink import HostGoneError
from pyro_mcp.guest.filework import number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyro_mcp.guest.filelink import Link
    from pyro_mcp.guest.filetree import Tree

# linux/fs.h
_FIFREEZE, _FITHAW = 0xC0045877, 0xC0045878
_DATA = "/data"
_LONGEST_SECONDS = 60


def freeze(link: Link, _tree: Tree, request: dict[str, object]) -> dict[str, object]:
    """`freeze`: what was written is on the disk, and nothing more comes to it.

    Until the host closes the connection or the time is over; the answer is sent in between.
    """
    seconds = min(number(request, "seconds", 10), _LONGEST_SECONDS)
    descriptor = os.open(_DATA, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _FIFREEZE, 0)
        try:
            link.reply({})
            link.wait_until_gone(seconds)
            # The host learns of it before the disk changes again.
            link.close()
        finally:
            fcntl.ioctl(descriptor, _FITHAW, 0)
    finally:
        os.close(descriptor)
    raise HostGoneError  # it has its answer
