"""The guest's memory as the front end shares it, and the only way this package reaches it.

Every address comes from the guest. `GuestMemory.view` is the one place that turns an address into
bytes: whatever is not inside one shared region is refused.

What no check here can prevent: the kernel process may shrink the shared file afterwards, and a
touch beyond its end then ends this process with SIGBUS. The machine ends with its monitor, so the
guest only harms itself.
"""

from __future__ import annotations

import mmap
import os
import stat

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_REGIONS = 8
"""vhost-user, "Memory regions description": without further negotiation a table has up to 8."""

_LARGEST_REGION = 1 << 40
_ADDRESS_SPACE = 1 << 64


class GuestError(Exception):
    """The front end or the guest's driver broke the rules; the device cannot go on."""


class Region:
    """One row of the memory table: where the guest and the front end see `size` bytes of a file."""

    __slots__ = ("guest_address", "offset", "size", "user_address")

    def __init__(self, guest_address: int, size: int, user_address: int, offset: int) -> None:
        self.guest_address = guest_address
        self.size = size
        self.user_address = user_address
        self.offset = offset


class GuestMemory:
    """The shared regions, mapped. All addresses given to it are untrusted."""

    def __init__(self) -> None:
        self._by_guest: list[tuple[int, int, memoryview]] = []
        self._by_user: list[tuple[int, int, memoryview]] = []

    @classmethod
    def share(cls, regions: Sequence[Region], descriptors: Sequence[int]) -> GuestMemory:
        """Map each region from its descriptor; the descriptors stay the caller's.

        Raises:
            GuestError: the regions overlap, or one is empty, larger than its file, or not of a
                file that may be read and written.
        """
        _check_table(regions, descriptors)
        memory = cls()
        try:
            for region, descriptor in zip(regions, descriptors, strict=True):
                memory._map(region, descriptor)
        except (OSError, ValueError, OverflowError) as error:
            memory.close()
            raise GuestError(f"memory region cannot be mapped: {error}") from error
        except GuestError:
            memory.close()
            raise
        return memory

    def view(self, address: int, length: int) -> memoryview:
        """The bytes at a guest-physical address, as they are and as they change.

        Raises:
            GuestError: not all of them lie in one shared region.
        """
        for start, end, region in self._by_guest:
            if start <= address and address + length <= end:
                at = address - start
                return region[at : at + length]
        raise GuestError(f"no shared memory at {address:#x}, {length} bytes")

    def ring(self, user_address: int, length: int) -> memoryview:
        """The same for an address of the front end: vring addresses are given in those."""
        for start, end, region in self._by_user:
            if start <= user_address and user_address + length <= end:
                at = user_address - start
                return region[at : at + length]
        raise GuestError(f"no shared memory at user address {user_address:#x}, {length} bytes")

    def close(self) -> None:
        """Forget the regions; each is unmapped with the last view of it."""
        self._by_guest.clear()
        self._by_user.clear()

    def _map(self, region: Region, descriptor: int) -> None:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise GuestError("memory region is not a regular file")
        if region.offset + region.size > about.st_size:
            raise GuestError(
                f"memory region of {region.size} bytes at {region.offset} in a file of "
                f"{about.st_size}"
            )
        # mmap wants an offset of whole pages: start earlier and leave the beginning out.
        before = region.offset % mmap.ALLOCATIONGRANULARITY
        mapped = mmap.mmap(
            descriptor,
            before + region.size,
            flags=mmap.MAP_SHARED,
            prot=mmap.PROT_READ | mmap.PROT_WRITE,
            offset=region.offset - before,
        )
        # A process that is forked here has no business with it (a gateway is).
        mapped.madvise(mmap.MADV_DONTFORK)
        view = memoryview(mapped)[before:]
        for start, table in (
            (region.guest_address, self._by_guest),
            (region.user_address, self._by_user),
        ):
            table.append((start, start + region.size, view))


def _check_table(regions: Sequence[Region], descriptors: Sequence[int]) -> None:
    if not 0 < len(regions) <= MOST_REGIONS:
        raise GuestError(f"memory table with {len(regions)} regions")
    if len(descriptors) != len(regions):
        raise GuestError(f"memory table of {len(regions)} with {len(descriptors)} descriptors")
    for region in regions:
        if not 0 < region.size <= _LARGEST_REGION:
            raise GuestError(f"memory region of {region.size} bytes")
    _check_apart([(region.guest_address, region.size) for region in regions])
    _check_apart([(region.user_address, region.size) for region in regions])


def _check_apart(ranges: Sequence[tuple[int, int]]) -> None:
    reached = 0
    for start, size in sorted(ranges):
        if start < reached:
            raise GuestError("memory regions overlap")
        reached = start + size
    if reached > _ADDRESS_SPACE:
        raise GuestError("memory region beyond the address space")
