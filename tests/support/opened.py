"""Which entries of a directory are opened: what a program looks into, and what it leaves alone."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_OPEN = 0x20  # linux/inotify.h
_EVENT = struct.Struct("iIII")


@contextmanager
def opened(*folders: Path) -> Iterator[set[str]]:
    """Names that are opened in these directories within the block, "" for one of them itself.

    Complete after the block.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    found: set[str] = set()
    try:
        for folder in folders:
            assert libc.inotify_add_watch(watch, os.fsencode(folder), _IN_OPEN) >= 0
        yield found
        while True:
            try:
                data = os.read(watch, 1 << 16)
            except BlockingIOError:
                return
            while data:
                _, _, _, size = _EVENT.unpack_from(data)
                name = data[_EVENT.size : _EVENT.size + size].rstrip(b"\0")
                found.add(os.fsdecode(name))
                data = data[_EVENT.size + size :]
    finally:
        os.close(watch)
