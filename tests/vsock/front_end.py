"""A real vhost-user front end, and a guest's socket driver on top of it, in the test's process.

`FakeFrontEnd` has a memfd as guest memory, real rings in it, and a Unix socket to the device.
`Monitor` is the loop that the device runs in. Nothing runs by itself: after whatever the front end
does, `Monitor.settle` lets the device act until it has nothing more to do.
"""

import mmap
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from pyro_mcp.vsock import messages as vu
from pyro_mcp.vsock import packet
from pyro_mcp.vsock.device import VsockDevice

GUEST_CID = 3
MEMORY_BYTES = 16 * 1024 * 1024
GUEST_BASE = 0x10_0000
USER_BASE = 0x7F00_0000_0000
QUEUE_SIZE = 128
RX_BUFFER_BYTES = 4096
TX_SLOT_BYTES = 64 * 1024 + 64

_NEXT = 1
_WRITE = 2
_DESCRIPTOR = struct.Struct("<QIHH")
_RING_BYTES = 16 * 1024
_BUFFERS_AT = 1024 * 1024
_TX_BUFFERS_AT = 4 * 1024 * 1024


class Packet(NamedTuple):
    """One packet, as the guest sees it."""

    source: int
    target: int
    source_port: int
    target_port: int
    length: int
    kind: int
    operation: int
    flags: int
    alloc: int
    forwarded: int
    payload: bytes = b""


class Monitor:
    """The process that holds the device: its loop, and what the device reported to it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "vsock.sock"
        self.failures: list[str] = []
        self._owned = ExitStack()
        self.selector = self._owned.enter_context(selectors.DefaultSelector())
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen()
        self.device = VsockDevice(
            self.selector, listener, guest_cid=GUEST_CID, on_failure=self.failures.append
        )
        self._owned.callback(self.device.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._owned.close()

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Two ends of a stream: the test's, closed with the monitor, and the device's."""
        ours, theirs = socket.socketpair()
        # Theirs too, for tests that never hand it over; closing a socket twice is nothing.
        self._owned.callback(ours.close)
        self._owned.callback(theirs.close)
        ours.setblocking(False)
        return ours, theirs

    def settle(self) -> None:
        """Let the device act until there is nothing left for it to do."""
        deadline = time.monotonic() + 20
        while self.selector.get_map() and (events := self.selector.select(0)):
            for key, mask in events:
                key.data(mask)
            assert time.monotonic() < deadline, "the device never comes to rest"


class Queue:
    """The driver's side of one virtqueue, at a fixed place of the memory."""

    def __init__(self, memory: mmap.mmap, index: int, size: int = QUEUE_SIZE) -> None:
        self.memory = memory
        self.size = size
        self.index = index
        self.descriptors = index * _RING_BYTES
        self.available = self.descriptors + 16 * size
        self.used = (self.available + 6 + 2 * size + 3) & ~3
        self.kick = os.eventfd(0)
        self.call, self.call_of_device = socket.socketpair()
        self.call.setblocking(False)
        self.added = 0
        self.seen = 0

    def close(self) -> None:
        """Close its descriptors."""
        os.close(self.kick)
        self.call.close()
        self.call_of_device.close()

    def describe(self, slot: int, address: int, length: int, flags: int, following: int) -> None:
        """Write one descriptor."""
        _DESCRIPTOR.pack_into(
            self.memory, self.descriptors + 16 * slot, address, length, flags, following
        )

    def make_available(self, head: int) -> None:
        """Put a chain into the available ring."""
        at = self.available + 4 + 2 * (self.added % self.size)
        struct.pack_into("<H", self.memory, at, head)
        self.added = (self.added + 1) & 0xFFFF
        struct.pack_into("<H", self.memory, self.available + 2, self.added)

    def used_chains(self) -> list[tuple[int, int]]:
        """Chains that came back since the last call: head and length written."""
        chains = []
        (index,) = struct.unpack_from("<H", self.memory, self.used + 2)
        while self.seen != index:
            at = self.used + 4 + 8 * (self.seen % self.size)
            chains.append(struct.unpack_from("<II", self.memory, at))
            self.seen = (self.seen + 1) & 0xFFFF
        return chains

    @property
    def wants_kick(self) -> bool:
        """Whether the device asked to be notified."""
        (flags,) = struct.unpack_from("<H", self.memory, self.used)
        return not flags & 1

    def notify(self) -> None:
        """Kick, as a driver does: only where the device wants it."""
        if self.wants_kick:
            os.eventfd_write(self.kick, 1)

    def interrupts(self) -> int:
        """How often the device has called since the last time."""
        try:
            return len(self.call.recv(65536)) // 8
        except BlockingIOError:
            return 0


class FakeFrontEnd:
    """Front end and guest driver. `set_up` does the whole handshake, as UML does it."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.memory_file = os.memfd_create("guest")
        os.ftruncate(self.memory_file, MEMORY_BYTES)
        self.memory = mmap.mmap(self.memory_file, MEMORY_BYTES)
        self.queues = [Queue(self.memory, index) for index in range(3)]
        self.rx, self.tx = self.queues[0], self.queues[1]
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(monitor.path))
        self.sock.settimeout(20)
        self.free_slots: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()
        for queue in self.queues:
            queue.close()
        self.memory.close()
        os.close(self.memory_file)

    # The vhost-user side.

    def post(
        self,
        request: int,
        payload: bytes = b"",
        descriptors: Sequence[int] = (),
        *,
        flags: int = vu.VERSION,
        size: int | None = None,
    ) -> None:
        """Send one message and let the device see it."""
        header = vu.HEADER.pack(request, flags, len(payload) if size is None else size)
        socket.send_fds(self.sock, [header + payload], list(descriptors))
        self.monitor.settle()

    def ask(self, request: int, payload: bytes = b"") -> bytes:
        """Send a message that has an answer, and return that."""
        self.post(request, payload)
        return self._answer(request)

    def order(self, request: int, payload: bytes = b"", descriptors: Sequence[int] = ()) -> None:
        """Send a message that is acknowledged, and see it succeed."""
        self.post(request, payload, descriptors, flags=vu.VERSION | vu.NEED_REPLY)
        assert self._answer(request) == vu.U64.pack(0)

    def _answer(self, request: int) -> bytes:
        code, flags, size = vu.HEADER.unpack(self.sock.recv(vu.HEADER.size, socket.MSG_WAITALL))
        assert (code, flags) == (request, vu.VERSION | vu.IS_REPLY)
        return self.sock.recv(size, socket.MSG_WAITALL) if size else b""

    def greet(self) -> None:
        """Negotiate, up to where the driver takes over."""
        self.post(vu.SET_OWNER)
        (features,) = vu.U64.unpack(self.ask(vu.GET_FEATURES))
        assert features & vu.FEATURE_VERSION_1
        (protocol,) = vu.U64.unpack(self.ask(vu.GET_PROTOCOL_FEATURES))
        self.post(vu.SET_PROTOCOL_FEATURES, vu.U64.pack(protocol))
        self.order(vu.SET_FEATURES, vu.U64.pack(features))

    def share_memory(self) -> None:
        """Send the memory table."""
        self.order(vu.SET_MEM_TABLE, memory_table((0, MEMORY_BYTES)), [self.memory_file])

    def set_up_queue(self, queue: Queue) -> None:
        """All messages that bring one queue to life."""
        index = queue.index
        self.order(vu.SET_VRING_CALL, vu.U64.pack(index), [queue.call_of_device.fileno()])
        self.order(vu.SET_VRING_NUM, vu.STATE.pack(index, queue.size))
        self.order(vu.SET_VRING_BASE, vu.STATE.pack(index, queue.added))
        self.order(vu.SET_VRING_ADDR, self.ring_addresses(queue))
        self.order(vu.SET_VRING_KICK, vu.U64.pack(index), [queue.kick])
        self.order(vu.SET_VRING_ENABLE, vu.STATE.pack(index, 1))

    def ring_addresses(self, queue: Queue) -> bytes:
        """The payload of SET_VRING_ADDR."""
        return vu.ADDRESSES.pack(
            queue.index,
            0,
            USER_BASE + queue.descriptors,
            USER_BASE + queue.used,
            USER_BASE + queue.available,
            0xFFFF_FFFF_FFFF_FFFF,
        )

    def set_up(self, *, rx_buffers: int = QUEUE_SIZE) -> None:
        """Handshake, queues and receive buffers."""
        self.greet()
        self.bring_up_driver(rx_buffers=rx_buffers)

    def bring_up_driver(self, *, rx_buffers: int = QUEUE_SIZE) -> None:
        """What the guest's driver does when it is loaded."""
        self.share_memory()
        for queue in self.queues:
            self.set_up_queue(queue)
        self.free_slots = list(range(0, QUEUE_SIZE, 2))
        self.add_rx_buffers(range(rx_buffers))

    def take_down_driver(self) -> None:
        """What UML sends when the driver goes."""
        for queue in reversed(self.queues):
            self.order(vu.SET_VRING_ENABLE, vu.STATE.pack(queue.index, 0))
        self.ask(vu.GET_FEATURES)

    # The driver's side.

    def add_rx_buffers(self, slots: Sequence[int]) -> None:
        """Give the device buffers to receive into."""
        for slot in slots:
            at = _BUFFERS_AT + slot * RX_BUFFER_BYTES
            self.rx.describe(slot, GUEST_BASE + at, RX_BUFFER_BYTES, _WRITE, 0)
            self.rx.make_available(slot)
        self.rx.notify()
        self.monitor.settle()

    def received(self, *, again: bool = True) -> list[Packet]:
        """The packets that came; their buffers are given back to the device unless told not to."""
        packets = []
        while chains := self.rx.used_chains():
            for head, length in chains:
                at = _BUFFERS_AT + head * RX_BUFFER_BYTES
                fields = packet.HEADER.unpack_from(self.memory, at)
                payload = self.memory[at + packet.HEADER.size : at + length]
                assert fields[4] == len(payload)
                packets.append(Packet._make((*fields, payload)))
            if again:
                self.add_rx_buffers([head for head, _ in chains])
        return packets

    def transmit(self, header: bytes, payload: bytes = b"", *, notify: bool = True) -> None:
        """Send one packet: a descriptor for the header, one for the payload, as Linux does."""
        if not self.free_slots:
            self.reclaim()
        slot = self.free_slots.pop()
        at = _TX_BUFFERS_AT + slot * TX_SLOT_BYTES
        self.memory[at : at + len(header)] = header
        body = at + len(header)
        self.memory[body : body + len(payload)] = payload
        flags = _NEXT if payload else 0
        self.tx.describe(slot, GUEST_BASE + at, len(header), flags, slot + 1)
        if payload:
            self.tx.describe(slot + 1, GUEST_BASE + body, len(payload), 0, 0)
        self.tx.make_available(slot)
        if notify:
            self.tx.notify()
            self.monitor.settle()
            self.reclaim()

    def reclaim(self) -> None:
        """Take back transmit buffers that the device is done with."""
        self.free_slots += [head for head, _ in self.tx.used_chains()]


class GuestStream:
    """A guest's socket: keeps the credit rules, as Linux does."""

    def __init__(
        self, front_end: FakeFrontEnd, *, guest_port: int, host_port: int, buffer: int = 256 * 1024
    ) -> None:
        self.front_end = front_end
        self.guest_port = guest_port
        self.host_port = host_port
        self.buffer = buffer
        self.data = bytearray()
        self.operations: list[int] = []
        self.shutdown_flags = 0
        self.arrived = 0
        self.forwarded = 0
        self.sent = 0
        self.host_alloc = 0
        self.host_forwarded = 0

    def send(self, operation: int, payload: bytes = b"", *, flags: int = 0) -> None:
        """Send one packet, whatever the credit."""
        self.sent += len(payload)
        self.front_end.transmit(self.header(operation, len(payload), flags), payload)
        self.look()

    def header(self, operation: int, length: int = 0, flags: int = 0) -> bytes:
        """A header of this stream."""
        return packet.HEADER.pack(
            GUEST_CID,
            packet.HOST_CID,
            self.guest_port,
            self.host_port,
            length,
            packet.STREAM,
            operation,
            flags,
            self.buffer,
            self.forwarded & 0xFFFFFFFF,
        )

    @property
    def credit(self) -> int:
        """What may be sent now."""
        return self.host_alloc - ((self.sent - self.host_forwarded) & 0xFFFFFFFF)

    def write(self, data: bytes) -> int:
        """Send as much as credit allows; returns how much that was."""
        at = 0
        while at < len(data) and self.credit > 0:
            piece = data[at : at + min(self.credit, 64 * 1024)]
            self.send(packet.RW, piece)
            at += len(piece)
        return at

    def read(self) -> bytes:
        """Take what has arrived, and say so to the host."""
        data = bytes(self.data)
        self.data.clear()
        self.forwarded += len(data)
        self.send(packet.CREDIT_UPDATE)
        return data

    def look(self) -> None:
        """Take note of packets that came for this stream; there may be no others."""
        for each in self.front_end.received():
            self.take(each)

    def take(self, each: Packet) -> None:
        """Take note of one packet."""
        assert (each.source, each.target) == (packet.HOST_CID, GUEST_CID)
        assert (each.source_port, each.target_port) == (self.host_port, self.guest_port)
        self.operations.append(each.operation)
        if each.operation == packet.RST:
            return
        self.host_alloc = each.alloc
        self.host_forwarded = each.forwarded
        if each.operation == packet.RW:
            self.data += each.payload
            self.arrived += len(each.payload)
            assert self.arrived - self.forwarded <= self.buffer, "more than the guest has room for"
        elif each.operation == packet.SHUTDOWN:
            self.shutdown_flags |= each.flags


def memory_table(*regions: tuple[int, int]) -> bytes:
    """A memory table of regions of the file, given as offset and size."""
    rows = [
        vu.REGION.pack(GUEST_BASE + offset, size, USER_BASE + offset, offset)
        for offset, size in regions
    ]
    return vu.TABLE.pack(len(rows), 0) + b"".join(rows)


def accept_from_guest(
    front_end: FakeFrontEnd, *, host_port: int = 1025, guest_port: int = 5000, buffer: int = 262144
) -> tuple[GuestStream, socket.socket]:
    """A stream that the guest opened: its end, and the host's."""
    monitor = front_end.monitor
    ours, theirs = monitor.pair()
    monitor.device.listen(host_port, lambda _port: theirs)
    stream = GuestStream(front_end, guest_port=guest_port, host_port=host_port, buffer=buffer)
    stream.send(packet.REQUEST)
    assert stream.operations == [packet.RESPONSE]
    return stream, ours


def connect_to_guest(
    front_end: FakeFrontEnd, *, port: int = 1024, buffer: int = 262144
) -> tuple[GuestStream, socket.socket]:
    """A stream that the host opened and the guest accepted: its end, and the host's."""
    stream, ours, _ = request_to_guest(front_end, port=port, buffer=buffer)
    stream.send(packet.RESPONSE)
    return stream, ours


def request_to_guest(
    front_end: FakeFrontEnd,
    *,
    port: int = 1024,
    buffer: int = 262144,
    ready: bytes = b"",
    on_open: Callable[[bool], None] = lambda _ok: None,
) -> tuple[GuestStream, socket.socket, Packet]:
    """A stream that the host asks for, before the guest has answered."""
    monitor = front_end.monitor
    ours, theirs = monitor.pair()
    monitor.device.connect(port, theirs, on_open=on_open, ready=ready)
    monitor.settle()
    (request,) = front_end.received()
    assert (request.operation, request.target_port) == (packet.REQUEST, port)
    stream = GuestStream(front_end, guest_port=port, host_port=request.source_port, buffer=buffer)
    stream.host_alloc = request.alloc
    return stream, ours, request


def drain(sock: socket.socket) -> bytes:
    """All bytes that wait in a non-blocking socket."""
    data = bytearray()
    while True:
        try:
            piece = sock.recv(1 << 20)
        except BlockingIOError:
            return bytes(data)
        if not piece:
            return bytes(data)
        data += piece


def fill(sock: socket.socket) -> None:
    """Write into a non-blocking socket until it takes no more."""
    try:
        while True:
            sock.send(bytes(64 * 1024))
    except BlockingIOError:
        return


def has_ended(sock: socket.socket) -> bool:
    """Whether the socket's peer sends nothing any more, and all it sent was read."""
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
