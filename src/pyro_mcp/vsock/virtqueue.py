"""The device's side of a split virtqueue: Virtio 1.2, 2.7.

    descriptor table   16 bytes each: u64 address, u32 length, u16 flags, u16 next     (2.7.5)
    available ring     u16 flags, u16 idx, u16 ring[size]                              (2.7.6)
    used ring          u16 flags, u16 idx, { u32 id, u32 length } ring[size]           (2.7.8)

All three lie in guest memory and can change at any moment. So every value is read once, checked,
and used from the copy; indices go through `memoryview.cast`, whose items are single machine loads
and stores (`struct` in its "<" form may move byte by byte).
"""

from __future__ import annotations

import _thread
import struct

from pyro_mcp.vsock.memory import GuestError

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from pyro_mcp.vsock.memory import GuestMemory

LARGEST = 1024
"""Entries a queue may have here: one chain then never has more parts than a system call takes."""

_DESCRIPTOR = struct.Struct("<QIHH")
_NEXT = 1
_WRITE = 2
_NO_NOTIFY = 1
_NO_INTERRUPT = 1
_INDEX = 0xFFFF

_barrier = _thread.allocate_lock()


def _fence() -> None:
    # x86 lets a load overtake an older store to another place; "publish, then look whether the
    # other side sleeps" needs them in order. Taking a lock is a locked instruction, which is a
    # full barrier.
    with _barrier:
        pass


class Virtqueue:
    """One live queue: takes what the driver made available, gives it back used.

    Addresses are the front end's. `base` is the available index to go on from.
    """

    __slots__ = (
        "_avail",
        "_elements",
        "_mask",
        "_memory",
        "_table",
        "_told",
        "_used",
        "_view",
        "position",
        "size",
    )

    def __init__(
        self,
        memory: GuestMemory,
        size: int,
        *,
        descriptors: int,
        available: int,
        used: int,
        base: int,
    ) -> None:
        if not 0 < size <= LARGEST or size & (size - 1):
            raise GuestError(f"queue of {size} entries")
        if descriptors % 16 or available % 2 or used % 4:
            raise GuestError("queue that is not aligned")
        self.size = size
        self.position = base & _INDEX
        """The available index that is taken next."""
        self._mask = size - 1
        self._memory = memory
        self._view = memory.view
        self._table = memory.ring(descriptors, 16 * size)
        self._avail = memory.ring(available, 4 + 2 * size).cast("H")
        whole = memory.ring(used, 4 + 8 * size)
        self._used = whole[:4].cast("H")
        self._elements = whole[4:].cast("I")
        self._used[1] = self.position
        self._told = self.position

    def available(self) -> int:
        """How many chains wait to be taken."""
        waiting = (self._avail[1] - self.position) & _INDEX
        if waiting > self.size:
            if -waiting & _INDEX <= self.size:
                # Linux takes unused buffers back when its driver goes, and UML does not tell
                # before that: the index then runs behind what was already used.
                return 0
            raise GuestError(f"available index {waiting} ahead in a queue of {self.size}")
        return waiting

    def readable(self, ahead: int = 0) -> tuple[int, list[memoryview]]:
        """A waiting chain that the device reads: its head, and its parts in guest memory.

        `ahead` looks past the next one; nothing is taken before `finish`.
        """
        return self._chain(self.position + ahead, 0)

    def writable(self, ahead: int = 0) -> tuple[int, list[memoryview]]:
        """The same for a chain that the device writes."""
        return self._chain(self.position + ahead, _WRITE)

    def finish(self, head: int, written: int) -> None:
        """Take the next waiting chain, whose head this is, and give it back."""
        position = self.position
        at = 2 * (position & self._mask)
        self._elements[at] = head
        self._elements[at + 1] = written
        # The element is stored before the index that covers it: x86 keeps stores in order.
        self.position = self._used[1] = (position + 1) & _INDEX

    def want_notifications(self, wanted: bool) -> bool:
        """Ask the driver to notify, or not to; returns whether chains wait now (2.7.10).

        One that became available before the driver saw this may go without notification, so the
        answer has to be looked at.
        """
        self._used[0] = 0 if wanted else _NO_NOTIFY
        if wanted:
            _fence()
        return self.available() > 0

    def driver_waits(self) -> bool:
        """Whether the driver wants an interrupt for what was finished since the last call."""
        if self._told == self.position:
            return False
        self._told = self.position
        _fence()
        # A driver that set the flag looks at the used ring once more after it took it away.
        return not self._avail[0] & _NO_INTERRUPT

    def _chain(self, position: int, direction: int) -> tuple[int, list[memoryview]]:
        size = self.size
        table = self._table
        view = self._view
        index = head = self._avail[2 + (position & self._mask)]
        parts: list[memoryview] = []
        for _ in range(size):
            if index >= size:
                raise GuestError(f"descriptor {index} in a queue of {size}")
            address, length, flags, following = _DESCRIPTOR.unpack_from(table, 16 * index)
            # Also refuses INDIRECT, which was not offered.
            if flags & ~_NEXT != direction:
                raise GuestError(f"descriptor flags {flags:#x}")
            parts.append(view(address, length))
            if not flags & _NEXT:
                return head, parts
            index = following
        raise GuestError("descriptor chain without an end")
