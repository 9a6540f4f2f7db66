"""Packets in descriptor chains, which a driver may cut up as it likes (Virtio 1.2, 2.7.4).

Linux puts the header into a part of its own, or both into one: callers look for that themselves
where it matters, and come here for the rest.
"""

from __future__ import annotations

from pyro_mcp.vsock.memory import GuestError
from pyro_mcp.vsock.packet import HEADER

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from pyro_mcp.vsock.virtqueue import Virtqueue


def gather_header(parts: list[memoryview]) -> tuple[tuple[int, ...], list[memoryview]]:
    """The header of a packet that is cut up as the driver likes (Virtio 1.2, 2.7.4)."""
    header = bytearray()
    rest = []
    for part in parts:
        missing = HEADER.size - len(header)
        header += part[:missing]
        if len(part) > missing:
            rest.append(part[missing:])
    if len(header) < HEADER.size:
        raise GuestError(f"packet of {len(header)} bytes")
    return HEADER.unpack(header), rest


def trim(parts: list[memoryview], length: int) -> list[memoryview]:
    """The first `length` bytes of what follows a header."""
    if len(parts) == 2 and not parts[0] and len(parts[1]) == length:
        return parts[1:]
    kept = []
    missing = length
    for part in parts:
        if not missing:
            break
        if part:
            kept.append(part[:missing])
            missing -= len(kept[-1])
    if missing:
        raise GuestError(f"packet of {length} bytes in a buffer {missing} too short")
    return kept


def offer(parts: list[memoryview], limit: int, targets: list[memoryview]) -> int:
    """Add to `targets` what of a chain can hold payload, up to `limit` bytes; returns how much."""
    skip = HEADER.size
    offered = 0
    for part in parts:
        body = part[skip:][: limit - offered]
        skip = max(0, skip - len(part))
        if body:
            targets.append(body)
            offered += len(body)
    if not offered:
        raise GuestError("receive buffer without room for payload")
    return offered


def scatter(parts: list[memoryview], header: bytes) -> None:
    """Write a header over the beginning of a chain."""
    at = 0
    for part in parts:
        piece = header[at : at + len(part)]
        part[: len(piece)] = piece
        at += len(piece)
    if at < len(header):
        raise GuestError(f"receive buffer of {at} bytes")


def put(queue: Virtqueue, header: bytes) -> None:
    """Give the guest a packet without payload."""
    head, parts = queue.writable()
    scatter(parts, header)
    queue.finish(head, len(header))
