"""What is asked of a guest agent for a copy of its data disk: to write out, to stand still.

And what it wrote meanwhile, where its kernel keeps a record of that. A guest that tells lies about
it gets a wrong copy of its own disk, and nothing else: what it says is bounded and checked.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyro_mcp.errors import GuestLostError, GuestRefusedError
from pyro_mcp.machines import channel
from pyro_mcp.machines.exchange import AgentError, Exchange
from pyro_mcp.machines.file_answers import int_of
from pyro_mcp.machines.files import ask, refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyro_mcp.machines.file_answers import Answer

    Stretches = list[tuple[int, int]]
    """Parts of a disk, first byte and the one after the last, in order."""

FREEZE_SECONDS = 10
_WITHIN_SECONDS = 60
_SMALLEST_BLOCK, _LARGEST_BLOCK = 1 << 12, 1 << 30


class Record:
    """Of what a guest writes to its data disk, from `begin` on; a later one ends it."""

    def __init__(self, home: Path, disk_bytes: int) -> None:
        self.disk_bytes = disk_bytes
        self.name = os.urandom(6).hex()
        self._home = home

    @classmethod
    def begin(cls, home: Path, disk_bytes: int) -> Record | None:
        """Have the guest write out what it holds, and begin; None where its kernel keeps none.

        Raises:
            GuestLostError: The machine ended or stopped answering.
        """
        record = cls(home, disk_bytes)
        try:
            answer = ask(home, {"op": "written", "record": record.name, "begin": True})
        except GuestRefusedError:  # an agent of an earlier version
            ask(home, {"op": "sync"})
            return None
        return record if int_of(answer, "block_bytes") else None

    def written(self) -> Stretches | None:
        """Have it write out, and tell what it wrote since this was asked last; None: it is over.

        Raises:
            GuestLostError: The machine ended or stopped answering: what it wrote is not known.
        """
        told = _Map(self.disk_bytes)
        request: Answer = {"op": "written", "record": self.name, "begin": False}
        return told.stretches(ask(self._home, request, on_data=told.take))


@contextmanager
def frozen(
    home: Path, *, seconds: int = FREEZE_SECONDS, record: Record | None = None
) -> Iterator[Stretches | None]:
    """While the block lasts, the data disk has all that was written and does not change.

    Gives what was written since `record` was asked last; None where nobody knows.

    Raises:
        GuestLostError: The block took longer than `seconds`, after which the guest goes on in
            any case: what was copied is of no use.
    """
    request: Answer = {"op": "freeze", "seconds": seconds}
    if record is not None:
        request["record"] = record.name
    told = _Map(record.disk_bytes if record is not None else 0)
    with channel.connect(home) as client:
        exchange = Exchange(client, request, on_data=told.take)
        try:
            end = exchange.run(within_seconds=_WITHIN_SECONDS)
        except AgentError as error:
            raise refused(error) from None
        since = time.monotonic()
        yield told.stretches(end) if record is not None else None
        client.setblocking(False)
        try:
            ended = not client.recv(1)
        except BlockingIOError:
            ended = False
        except OSError:
            ended = True
        if ended or time.monotonic() - since > seconds - 0.5:
            raise GuestLostError(f"its disk could not be held still for more than {seconds} s")


class _Map:
    """Bits of which each stands for a block of a disk, as they come from a guest."""

    def __init__(self, disk_bytes: int) -> None:
        self._disk_bytes = disk_bytes
        self._bits = bytearray()

    def take(self, _kind: int, data: bytes) -> None:
        self._bits += data
        if len(self._bits) > self._disk_bytes // _SMALLEST_BLOCK // 8 + 1:
            raise GuestLostError("the agent sent more than was asked for")

    def stretches(self, end: Answer) -> Stretches | None:
        """What the bits mean once all have come, and `end` with them."""
        # An agent of an earlier version says nothing about it.
        block = int_of(end, "block_bytes") if "block_bytes" in end else 0
        if block == 0:
            return None
        if not _SMALLEST_BLOCK <= block <= _LARGEST_BLOCK or block & (block - 1):
            raise GuestLostError(f"the agent told of blocks of {block} bytes")
        if len(self._bits) * 8 * block < self._disk_bytes:
            raise GuestLostError("the agent did not tell of all of its disk")
        # Digits, the lowest first: of a large disk there are too many to look at one by one.
        digits = f"{int.from_bytes(self._bits, 'little'):b}"[::-1]
        runs = [(run.start() * block, run.end() * block) for run in re.finditer("1+", digits)]
        return [
            (start, min(stop, self._disk_bytes)) for start, stop in runs if start < self._disk_bytes
        ]
