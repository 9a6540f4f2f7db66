"""A guest that writes nonsense into its rings ends its machine, and nothing else."""

import os
import socket
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.vsock import packet
from tests.vsock.front_end import (
    GUEST_BASE,
    GUEST_CID,
    MEMORY_BYTES,
    QUEUE_SIZE,
    FakeFrontEnd,
    GuestStream,
    Monitor,
    Queue,
    accept_from_guest,
    has_ended,
)

_NEXT = 1
_WRITE = 2
_INDIRECT = 4
_AT = GUEST_BASE + 0x60_0000
_ALL = 0xFFFF_FFFF_FFFF_FFFF


def _head_out_of_range(queue: Queue, _flag: int) -> None:
    queue.make_available(QUEUE_SIZE)


def _next_out_of_range(queue: Queue, flag: int) -> None:
    queue.describe(0, _AT, 64, flag | _NEXT, 0xFFFF)
    queue.make_available(0)


def _loop_of_one(queue: Queue, flag: int) -> None:
    queue.describe(0, _AT, 64, flag | _NEXT, 0)
    queue.make_available(0)


def _loop_of_all(queue: Queue, flag: int) -> None:
    for slot in range(QUEUE_SIZE):
        queue.describe(slot, _AT, 64, flag | _NEXT, (slot + 1) % QUEUE_SIZE)
    queue.make_available(5)


def _address_below(queue: Queue, flag: int) -> None:
    queue.describe(0, GUEST_BASE - 1, 64, flag, 0)
    queue.make_available(0)


def _address_zero(queue: Queue, flag: int) -> None:
    queue.describe(0, 0, 64, flag, 0)
    queue.make_available(0)


def _end_beyond(queue: Queue, flag: int) -> None:
    queue.describe(0, GUEST_BASE + MEMORY_BYTES - 63, 64, flag, 0)
    queue.make_available(0)


def _length_huge(queue: Queue, flag: int) -> None:
    queue.describe(0, _AT, 0xFFFFFFFF, flag, 0)
    queue.make_available(0)


def _address_wraps(queue: Queue, flag: int) -> None:
    queue.describe(0, _ALL - 31, 64, flag, 0)
    queue.make_available(0)


def _indirect(queue: Queue, flag: int) -> None:
    queue.describe(0, _AT, 64, flag | _INDIRECT, 0)
    queue.make_available(0)


def _wrong_direction(queue: Queue, flag: int) -> None:
    queue.describe(0, _AT, 64, flag ^ _WRITE, 0)
    queue.make_available(0)


def _second_part_wrong(queue: Queue, flag: int) -> None:
    queue.describe(0, _AT, 64, flag | _NEXT, 1)
    queue.describe(1, _AT, 64, flag ^ _WRITE, 0)
    queue.make_available(0)


def _unknown_flags(queue: Queue, flag: int) -> None:
    queue.describe(0, _AT, 64, flag | 0x8000, 0)
    queue.make_available(0)


def _index_far_ahead(queue: Queue, flag: int) -> None:
    queue.describe(0, _AT, 64, flag, 0)
    struct.pack_into("<H", queue.memory, queue.available + 2, queue.added + QUEUE_SIZE + 1)


def _index_far_behind(queue: Queue, flag: int) -> None:
    queue.describe(0, _AT, 64, flag, 0)
    behind = (queue.added - 2 * QUEUE_SIZE - 1) & 0xFFFF
    struct.pack_into("<H", queue.memory, queue.available + 2, behind)


def _too_short(queue: Queue, flag: int) -> None:
    queue.describe(0, _AT, 43, flag, 0)
    queue.make_available(0)


def _empty(queue: Queue, flag: int) -> None:
    queue.describe(0, _AT, 0, flag, 0)
    queue.make_available(0)


_BREAK = [
    _head_out_of_range,
    _next_out_of_range,
    _loop_of_one,
    _loop_of_all,
    _address_below,
    _address_zero,
    _end_beyond,
    _length_huge,
    _address_wraps,
    _indirect,
    _wrong_direction,
    _second_part_wrong,
    _unknown_flags,
    _index_far_ahead,
    _index_far_behind,
    _too_short,
    _empty,
]


@pytest.mark.parametrize("break_it", _BREAK)
def test_a_malformed_transmit_ring_ends_the_machine(
    guest: FakeFrontEnd, break_it: Callable[[Queue, int], None]
) -> None:
    _, host = accept_from_guest(guest)

    break_it(guest.tx, 0)
    guest.tx.notify()
    guest.monitor.settle()

    assert len(guest.monitor.failures) == 1
    assert has_ended(host)
    assert not guest.monitor.selector.get_map()


@pytest.mark.parametrize("break_it", _BREAK)
def test_a_malformed_receive_ring_ends_the_machine(
    front_end: FakeFrontEnd, break_it: Callable[[Queue, int], None]
) -> None:
    front_end.set_up(rx_buffers=1)
    host = _accept_without_more_buffers(front_end)

    break_it(front_end.rx, _WRITE)
    host.send(b"hello")
    front_end.rx.notify()
    front_end.monitor.settle()

    assert len(front_end.monitor.failures) == 1
    assert not front_end.monitor.selector.get_map()


def test_a_driver_that_takes_its_buffers_back_only_has_none_left(guest: FakeFrontEnd) -> None:
    """Linux does so when its driver is unbound, just before the front end says that it goes."""
    _, host = accept_from_guest(guest)
    host.send(b"hello")
    guest.monitor.settle()

    for queue in (guest.rx, guest.tx):
        struct.pack_into("<H", queue.memory, queue.available + 2, queue.seen)
    host.send(b"more")
    guest.tx.notify()
    guest.monitor.settle()
    guest.take_down_driver()

    assert guest.monitor.failures == []
    assert has_ended(host)


def test_a_receive_buffer_without_room_for_payload_ends_the_machine(
    front_end: FakeFrontEnd,
) -> None:
    front_end.set_up(rx_buffers=1)
    host = _accept_without_more_buffers(front_end)
    front_end.rx.describe(0, _AT, packet.HEADER.size, _WRITE, 0)
    front_end.rx.make_available(0)

    host.send(b"hello")
    front_end.monitor.settle()

    assert len(front_end.monitor.failures) == 1


@pytest.mark.parametrize("length", [1, 65536, 0xFFFFFFFF])
def test_a_packet_longer_than_its_buffers_ends_the_machine(
    guest: FakeFrontEnd, length: int
) -> None:
    stream, _ = accept_from_guest(guest)

    guest.transmit(stream.header(packet.RW, length))

    assert len(guest.monitor.failures) == 1


def test_bytes_behind_a_packets_end_are_not_passed_on(guest: FakeFrontEnd) -> None:
    stream, host = accept_from_guest(guest)

    guest.transmit(stream.header(packet.RW, 5), b"hello, and more")

    assert host.recv(100) == b"hello"


def test_a_ring_that_lies_over_its_own_buffers_harms_only_the_guest(guest: FakeFrontEnd) -> None:
    _, host = accept_from_guest(guest)
    for slot in range(QUEUE_SIZE):
        guest.rx.describe(slot, GUEST_BASE, 4096, _WRITE, 0)

    host.send(os.urandom(100_000))
    guest.monitor.settle()

    assert len(guest.monitor.failures) <= 1


_WORDS = st.sampled_from([0, 1, 2, 3, 4, 7, 63, 64, 127, 128, 0x7FFF, 0x8000, 0xFFFF])
_LENGTHS = st.one_of(st.integers(0, 200), st.sampled_from([4096, 65536, 1 << 24, 0xFFFFFFFF]))
_ADDRESSES = st.one_of(
    st.integers(GUEST_BASE, GUEST_BASE + 0x70_0000),
    st.sampled_from([0, GUEST_BASE - 1, GUEST_BASE + MEMORY_BYTES - 10, _ALL]),
)
_DESCRIPTORS = st.tuples(st.integers(0, 7), _ADDRESSES, _LENGTHS, st.integers(0, 7), _WORDS)


@settings(max_examples=200, deadline=None)
@given(
    descriptors=st.lists(_DESCRIPTORS, max_size=8),
    heads=st.lists(st.integers(0, 9), min_size=1, max_size=8),
    queue_index=st.integers(0, 1),
    ahead=st.one_of(st.just(0), _WORDS),
)
def test_no_ring_whatever_makes_more_of_a_failure_than_one(
    descriptors: list[tuple[int, int, int, int, int]],
    heads: list[int],
    queue_index: int,
    ahead: int,
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Monitor(Path(folder)) as monitor,
        FakeFrontEnd(monitor) as guest,
    ):
        guest.set_up(rx_buffers=QUEUE_SIZE if queue_index else 1)
        host = _accept_without_more_buffers(guest)
        queue = guest.queues[queue_index]
        for slot, address, length, flags, following in descriptors:
            queue.describe(slot, address, length, flags, following)
        for head in heads:
            queue.make_available(head)
        at = queue.available + 2
        struct.pack_into("<H", queue.memory, at, (queue.added + ahead) & 0xFFFF)
        host.send(bytes(10_000))
        os.eventfd_write(queue.kick, 1)
        monitor.settle()

        assert len(monitor.failures) <= 1


_PACKETS = st.tuples(
    st.sampled_from([GUEST_CID, 0, 2, _ALL]),
    st.sampled_from([packet.HOST_CID, packet.HOST_CID, GUEST_CID, _ALL]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([0, 0, 5, 100, 3000]),
    st.sampled_from([1, 1, 1, 2, 0xFFFF]),
    st.integers(0, 8),
    st.integers(0, 4),
    st.sampled_from([0, 1, 4096, 0x7FFFFFFF, 0xFFFFFFFF]),
    st.sampled_from([0, 1, 4096, 0x7FFFFFFF, 0xFFFFFFFF]),
)


@settings(max_examples=200, deadline=None)
@given(packets=st.lists(_PACKETS, max_size=30), host_acts=st.lists(st.integers(0, 4), max_size=10))
def test_no_packets_whatever_end_more_than_their_streams(
    packets: list[tuple[int, ...]], host_acts: list[int]
) -> None:
    """Rings that are in order carry any packets without a failure, and every socket is closed."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Monitor(Path(folder)) as monitor,
        FakeFrontEnd(monitor) as guest,
    ):
        guest.set_up()
        hosts: list[socket.socket] = []

        def accept(_port: int) -> socket.socket:
            ours, theirs = monitor.pair()
            hosts.append(ours)
            return theirs

        monitor.device.listen(1, accept)
        for port in (1, 2):
            ours, theirs = monitor.pair()
            hosts.append(ours)
            monitor.device.connect(port, theirs, on_open=lambda _ok: None)
        acts = iter(host_acts)
        for fields in packets:
            guest.transmit(packet.HEADER.pack(*fields), bytes(fields[4]))
            act = next(acts, 9)
            if act < len(hosts) and hosts[act].fileno() >= 0:
                _act(hosts[act], act)
            monitor.settle()
            guest.received()

        assert monitor.failures == []


def _act(host: socket.socket, act: int) -> None:
    with suppress(OSError):
        if act == 0:
            host.close()
        elif act == 1:
            host.shutdown(socket.SHUT_WR)
        elif act == 2:
            host.shutdown(socket.SHUT_RDWR)
        else:
            host.send(bytes(9000))


def _accept_without_more_buffers(front_end: FakeFrontEnd) -> socket.socket:
    """The host's end of a stream that is open; its RESPONSE took a buffer that stays taken."""
    ours, theirs = front_end.monitor.pair()
    front_end.monitor.device.listen(1, lambda _port: theirs)
    stream = GuestStream(front_end, guest_port=1, host_port=1)
    front_end.transmit(stream.header(packet.REQUEST))
    (response,) = front_end.received(again=False)
    assert response.operation == packet.RESPONSE
    return ours
