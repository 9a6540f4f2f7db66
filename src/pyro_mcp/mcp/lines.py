"""Messages of a client on standard input: lines, of bounded length, read without a thread."""

from __future__ import annotations

import os
from typing import Self

import anyio
import anyio.lowlevel

LONGEST_BYTES = 8 * 1024 * 1024
"""A line beyond this is read past, and stands as one that cannot be understood."""
_AT_ONCE = 64 * 1024
_TOO_LONG = "this message was longer than 8 MiB\n"


class Lines:
    """Lines of a descriptor.

    No thread waits in a read that nothing could end, so that a server can leave while its client
    keeps the pipe open.
    """

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is closed with this."""
        self._descriptor = descriptor
        self._from_standard_input = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._ready: list[str] = []
        self._ended = False

    @classmethod
    def of_standard_input(cls) -> Self:
        """What a client writes; children that we start find nothing there."""
        own = os.dup(0)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(nothing, 0)
        os.close(nothing)
        lines = cls(own)
        lines._from_standard_input = True
        return lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._from_standard_input:
            os.dup2(self._descriptor, 0)
        os.close(self._descriptor)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            self._take(await self._read())
        return self._ready.pop(0)

    async def _read(self) -> bytes:
        try:
            await anyio.wait_readable(self._descriptor)
        except (PermissionError, ValueError):
            await anyio.lowlevel.checkpoint()  # a file, which never makes anybody wait
        return os.read(self._descriptor, _AT_ONCE)

    def _take(self, data: bytes) -> None:
        if not data:
            self._ended = True
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._add(piece)
            self._finish()
        self._add(rest)
        if self._ended and self._size:
            self._finish()

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= LONGEST_BYTES:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    def _finish(self) -> None:
        if self._size > LONGEST_BYTES:
            self._ready.append(_TOO_LONG)
        else:
            self._ready.append(b"".join(self._pieces).decode("utf-8", "replace") + "\n")
        self._pieces, self._size = [], 0
