"""What a terminal said, as far back as can be kept."""

from __future__ import annotations

from pyro_mcp import protocol

_KEPT = protocol.SHELL_WINDOW + protocol.SHELL_CONTEXT
_SLACK = 128 * 1024
"""How much more there may be before the oldest goes: less work than byte by byte."""


class History:
    """The end of an endless stream of bytes; positions are offsets in the whole stream."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._first = 0

    def add(self, data: memoryview) -> None:
        """What came next; nothing is kept by reference."""
        self._kept += data
        if len(self._kept) > _KEPT + _SLACK:
            gone = len(self._kept) - _KEPT
            del self._kept[:gone]
            self._first += gone

    @property
    def end(self) -> int:
        """Bytes that ever came."""
        return self._first + len(self._kept)

    @property
    def oldest(self) -> int:
        """From where on it can be read: the last SHELL_WINDOW bytes."""
        return max(self.end - protocol.SHELL_WINDOW, 0)

    def within(self, position: int) -> int:
        """The position nearest to this one that can be read from."""
        return min(max(position, self.oldest), self.end)

    def context_before(self, position: int, wanted: int) -> int:
        """How many of the `wanted` bytes before a position are still there."""
        return min(wanted, position - self._first)

    def piece(self, start: int, stop: int) -> bytes:
        """Bytes from one position to another, both of which are there."""
        return bytes(self._kept[start - self._first : stop - self._first])
