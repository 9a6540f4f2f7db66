"""Giving memory back to the host.

What was read of a disk stays in the guest's memory, and so in the host's, which has a cache of
its own: a machine that rests is better off without it. The kernel gives the pages that are free
to the host.
"""

from __future__ import annotations

import os

from pyro_mcp.guest import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PAGES_OF_FILES = "1"  # Documentation/admin-guide/sysctl/vm.rst: drop_caches


def give_back(log: Callable[[str], None]) -> None:
    """Let go of what was read of disks, the agent's own program included.

    The pages that the agent still uses are back with their first use.
    """
    try:
        system.unlock_memory()
        try:
            for start, length in _mapped_files():
                system.page_out(start, length)
        finally:
            system.keep_in_memory()
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(_PAGES_OF_FILES)
    except OSError as error:
        log(f"memory could not be given back: {error.strerror}")


def _mapped_files() -> list[tuple[int, int]]:
    """Start and length of the agent's mappings of files that are not written to; proc(5), maps."""
    descriptor = os.open("/proc/self/maps", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = bytearray()
        while part := os.read(descriptor, 65536):
            text += part
    finally:
        os.close(descriptor)
    found = []
    for line in text.splitlines():
        addresses, permissions, _, _, inode, *_ = line.split()
        if inode != b"0" and permissions[1:2] == b"-":
            start, end = (int(address, 16) for address in addresses.split(b"-"))
            found.append((start, end - start))
    return found
