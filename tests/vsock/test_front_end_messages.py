"""What the front end may say to the device, and what ends the machine."""

import os
import socket
import struct
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.vsock import messages as vu
from pyro_mcp.vsock import packet
from tests.vsock.front_end import (
    GUEST_BASE,
    GUEST_CID,
    MEMORY_BYTES,
    USER_BASE,
    FakeFrontEnd,
    GuestStream,
    Monitor,
    accept_from_guest,
    connect_to_guest,
    fill,
    has_ended,
    memory_table,
    request_to_guest,
)

_ALL = 0xFFFF_FFFF_FFFF_FFFF


def test_the_guest_reads_its_cid_from_the_configuration(front_end: FakeFrontEnd) -> None:
    front_end.greet()

    answer = front_end.ask(vu.GET_CONFIG, vu.CONFIG.pack(0, 8, 0) + bytes(8))

    assert answer == vu.CONFIG.pack(0, 8, 0) + vu.U64.pack(GUEST_CID)


def test_a_message_that_comes_in_pieces_is_obeyed_when_it_is_whole(
    front_end: FakeFrontEnd,
) -> None:
    message = vu.HEADER.pack(vu.GET_CONFIG, vu.VERSION, 20) + vu.CONFIG.pack(0, 8, 0) + bytes(8)

    for at in range(len(message)):
        front_end.sock.send(message[at : at + 1])
        front_end.monitor.settle()

    assert len(front_end.sock.recv(4096)) == vu.HEADER.size + 20


def test_only_one_front_end_is_let_in(front_end: FakeFrontEnd) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as second, pytest.raises(ConnectionRefusedError):
        second.connect(str(front_end.monitor.path))


def test_a_front_end_that_goes_is_a_failure_and_ends_all_streams(guest: FakeFrontEnd) -> None:
    _, theirs = accept_from_guest(guest)

    guest.sock.close()
    guest.monitor.settle()

    assert guest.monitor.failures == ["the guest kernel closed its end"]
    assert has_ended(theirs)


def test_what_the_guest_sent_before_it_went_still_arrives(guest: FakeFrontEnd) -> None:
    """A command's last words must not be lost when the guest powers off right after them."""
    stream, theirs = accept_from_guest(guest)

    guest.transmit(stream.header(packet.RW, 5), b"bye\r\n", notify=False)
    guest.sock.close()
    guest.monitor.settle()

    assert theirs.recv(100) == b"bye\r\n"
    assert has_ended(theirs)


def test_the_driver_can_go_and_come_back(guest: FakeFrontEnd) -> None:
    """Its streams end with it, and new ones work on new rings."""
    _, old = connect_to_guest(guest)

    guest.take_down_driver()
    assert has_ended(old)
    for queue in guest.queues:
        queue.added = queue.seen = 0
        guest.memory[queue.available : queue.used + 4] = bytes(queue.used + 4 - queue.available)
    guest.bring_up_driver()
    stream, theirs = connect_to_guest(guest)
    stream.write(b"again")

    assert theirs.recv(100) == b"again"
    assert guest.monitor.failures == []


def test_a_queue_that_is_stopped_tells_where_it_was(guest: FakeFrontEnd) -> None:
    connect_to_guest(guest)

    answer = guest.ask(vu.GET_VRING_BASE, vu.STATE.pack(1, 0))

    assert vu.STATE.unpack(answer) == (1, guest.tx.added)


def test_a_guest_whose_driver_is_not_up_refuses(front_end: FakeFrontEnd) -> None:
    ours, theirs = front_end.monitor.pair()
    answers: list[bool] = []

    front_end.monitor.device.connect(1024, theirs, on_open=answers.append)

    assert answers == [False]
    assert has_ended(ours)


def test_closing_twice_releases_everything_once(guest: FakeFrontEnd) -> None:
    _, theirs = accept_from_guest(guest)
    answers: list[bool] = []
    request_to_guest(guest, on_open=answers.append)

    guest.monitor.device.close()
    guest.monitor.device.close()

    assert has_ended(theirs)
    assert answers == [False]
    assert guest.monitor.failures == []
    assert not guest.monitor.selector.get_map()


def test_the_device_may_be_closed_from_its_own_callbacks(guest: FakeFrontEnd) -> None:
    _, theirs = guest.monitor.pair()

    def refuse_all(_port: int) -> socket.socket:
        guest.monitor.device.close()
        return theirs

    guest.monitor.device.listen(7, refuse_all)
    stream = GuestStream(guest, guest_port=5, host_port=7)
    guest.transmit(stream.header(packet.REQUEST))

    assert guest.monitor.failures == []
    assert theirs.fileno() == -1


def test_a_guest_that_holds_its_interrupt_socket_full_stalls_nobody(guest: FakeFrontEnd) -> None:
    stream, theirs = connect_to_guest(guest)
    guest.rx.call_of_device.setblocking(False)
    fill(guest.rx.call_of_device)
    # The guest may well take away what keeps its own end from blocking.
    guest.rx.call_of_device.setblocking(True)

    theirs.send(b"hello")
    guest.monitor.settle()

    stream.look()
    assert stream.read() == b"hello"


_MALFORMED: dict[str, tuple[int, bytes]] = {
    "unknown request": (99, b""),
    "request zero": (0, b""),
    "features with a payload": (vu.GET_FEATURES, b"x"),
    "features never offered": (vu.SET_FEATURES, vu.U64.pack(_ALL)),
    "legacy features": (vu.SET_FEATURES, vu.U64.pack(0)),
    "protocol features never offered": (vu.SET_PROTOCOL_FEATURES, vu.U64.pack(_ALL)),
    "short integer": (vu.SET_FEATURES, b"1234"),
    "owner with a payload": (vu.SET_OWNER, b"x"),
    "configuration beyond its end": (vu.GET_CONFIG, vu.CONFIG.pack(0xFFFFFFFF, 0xFFFFFFFF, 0)),
    "configuration too short": (vu.GET_CONFIG, b"1234"),
    "memory table too short": (vu.SET_MEM_TABLE, b"1234"),
    "memory table without rows": (vu.SET_MEM_TABLE, vu.TABLE.pack(0, 0)),
    "memory table of many rows": (vu.SET_MEM_TABLE, vu.TABLE.pack(9, 0) + bytes(9 * 32)),
    "memory table without its rows": (vu.SET_MEM_TABLE, vu.TABLE.pack(2, 0) + bytes(32)),
    "memory table without descriptors": (vu.SET_MEM_TABLE, memory_table((0, MEMORY_BYTES))),
    "number of no queue": (vu.SET_VRING_NUM, vu.STATE.pack(3, 128)),
    "base of no queue": (vu.SET_VRING_BASE, vu.STATE.pack(0xFFFFFFFF, 0)),
    "base beyond 16 bits": (vu.SET_VRING_BASE, vu.STATE.pack(0, 0x10000)),
    "address of no queue": (vu.SET_VRING_ADDR, vu.ADDRESSES.pack(3, 0, 0, 0, 0, 0)),
    "address with a log": (vu.SET_VRING_ADDR, vu.ADDRESSES.pack(0, 1, 0, 0, 0, 0)),
    "enable of no queue": (vu.SET_VRING_ENABLE, vu.STATE.pack(3, 1)),
    "position of no queue": (vu.GET_VRING_BASE, vu.STATE.pack(3, 0)),
    "kick of no queue": (vu.SET_VRING_KICK, vu.U64.pack(3)),
    "kick without a descriptor": (vu.SET_VRING_KICK, vu.U64.pack(0)),
    "kick by polling": (vu.SET_VRING_KICK, vu.U64.pack(0x100)),
    "call without a descriptor": (vu.SET_VRING_CALL, vu.U64.pack(0)),
    "call with stray bits": (vu.SET_VRING_CALL, vu.U64.pack(0x200)),
}


@pytest.mark.parametrize(("request_code", "payload"), _MALFORMED.values(), ids=_MALFORMED)
def test_a_malformed_message_ends_the_machine(
    front_end: FakeFrontEnd, request_code: int, payload: bytes
) -> None:
    front_end.post(request_code, payload)

    assert len(front_end.monitor.failures) == 1
    assert front_end.sock.recv(1) == b""


@pytest.mark.parametrize("flags", [0, 2, vu.VERSION | vu.IS_REPLY, 0xFFFFFFFF])
def test_a_header_of_another_version_or_kind_ends_the_machine(
    front_end: FakeFrontEnd, flags: int
) -> None:
    front_end.post(vu.GET_FEATURES, flags=flags)

    assert len(front_end.monitor.failures) == 1


@pytest.mark.parametrize("size", [vu.LARGEST_PAYLOAD + 1, 0xFFFFFFFF])
def test_an_announced_size_is_bounded_before_anything_is_kept(
    front_end: FakeFrontEnd, size: int
) -> None:
    front_end.post(vu.SET_FEATURES, size=size)

    assert len(front_end.monitor.failures) == 1


_PAGE = 4096
_BAD_TABLES: dict[str, bytes] = {
    "larger than the file": memory_table((0, MEMORY_BYTES + 1)),
    "beyond the end of the file": memory_table((_PAGE, MEMORY_BYTES)),
    "empty": memory_table((0, 0)),
    "huge": memory_table((0, 1 << 63)),
    "offset that wraps": vu.TABLE.pack(1, 0)
    + vu.REGION.pack(GUEST_BASE, _PAGE, USER_BASE, _ALL - _PAGE + 1),
    "address that wraps": vu.TABLE.pack(1, 0)
    + vu.REGION.pack(_ALL - _PAGE + 2, _PAGE, USER_BASE, 0),
    "user address that wraps": vu.TABLE.pack(1, 0) + vu.REGION.pack(GUEST_BASE, _PAGE, _ALL, 0),
    "overlapping": memory_table((0, 2 * _PAGE), (_PAGE, 2 * _PAGE)),
    "twice the same": memory_table((0, _PAGE), (0, _PAGE)),
}


@pytest.mark.parametrize("table", _BAD_TABLES.values(), ids=_BAD_TABLES)
def test_a_memory_table_is_checked_against_its_files(front_end: FakeFrontEnd, table: bytes) -> None:
    (count, _) = vu.TABLE.unpack_from(table)

    front_end.post(vu.SET_MEM_TABLE, table, [front_end.memory_file] * count)

    assert len(front_end.monitor.failures) == 1


def _a_device() -> int:
    return os.open("/dev/null", os.O_RDWR)


def _a_pipe() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def _a_folder() -> int:
    return os.open("/", os.O_RDONLY)


def _a_read_only_file() -> int:
    return os.open(__file__, os.O_RDONLY)


def _a_datagram_socket() -> int:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach()


def _an_internet_socket() -> int:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM).detach()


def _an_eventfd() -> int:
    return os.eventfd(0)


@pytest.mark.parametrize(
    "make", [_a_device, _a_pipe, _a_folder, _a_read_only_file, _a_datagram_socket, _an_eventfd]
)
def test_guest_memory_is_a_file_that_may_be_written(
    front_end: FakeFrontEnd, make: Callable[[], int]
) -> None:
    descriptor = make()
    try:
        front_end.post(vu.SET_MEM_TABLE, memory_table((0, 16)), [descriptor])
    finally:
        os.close(descriptor)

    assert len(front_end.monitor.failures) == 1


@pytest.mark.parametrize(
    "make", [_a_device, _a_pipe, _a_folder, _a_read_only_file, _a_datagram_socket]
)
def test_a_kick_that_could_block_is_refused(
    front_end: FakeFrontEnd, make: Callable[[], int]
) -> None:
    descriptor = make()
    try:
        front_end.post(vu.SET_VRING_KICK, vu.U64.pack(0), [descriptor])
    finally:
        os.close(descriptor)

    assert len(front_end.monitor.failures) == 1


@pytest.mark.parametrize(
    "make",
    [_a_device, _a_pipe, _a_folder, _an_eventfd, _a_datagram_socket, _an_internet_socket],
)
def test_a_call_that_could_block_is_refused(
    front_end: FakeFrontEnd, make: Callable[[], int]
) -> None:
    descriptor = make()
    try:
        front_end.post(vu.SET_VRING_CALL, vu.U64.pack(0), [descriptor])
    finally:
        os.close(descriptor)

    assert len(front_end.monitor.failures) == 1


def test_descriptors_beside_any_message_are_not_kept(front_end: FakeFrontEnd) -> None:
    """The fixture of every test fails for a descriptor that is left."""
    for _ in range(20):
        front_end.post(vu.SET_OWNER, descriptors=[front_end.memory_file] * 8)

    assert front_end.monitor.failures == []


def test_more_descriptors_than_a_message_can_need_end_the_machine(
    front_end: FakeFrontEnd,
) -> None:
    front_end.post(vu.SET_OWNER, descriptors=[front_end.memory_file] * 40)

    assert len(front_end.monitor.failures) == 1


def test_a_queue_cannot_be_moved_while_it_is_in_use(guest: FakeFrontEnd) -> None:
    guest.post(vu.SET_VRING_ADDR, guest.ring_addresses(guest.tx))

    assert guest.monitor.failures == ["queue 1 set up while it is in use"]


@pytest.mark.parametrize("size", [0, 3, 127, 2048, 0xFFFFFFFF])
def test_the_size_of_a_queue_is_a_small_power_of_two(front_end: FakeFrontEnd, size: int) -> None:
    front_end.greet()
    front_end.share_memory()
    front_end.tx.size = size

    front_end.post(vu.SET_VRING_NUM, vu.STATE.pack(1, size))
    front_end.post(vu.SET_VRING_ADDR, front_end.ring_addresses(front_end.tx))
    front_end.post(vu.SET_VRING_KICK, vu.U64.pack(1), [front_end.tx.kick])
    front_end.post(vu.SET_VRING_ENABLE, vu.STATE.pack(1, 1))

    assert len(front_end.monitor.failures) == 1


@pytest.mark.parametrize("offset", [-16, 8, MEMORY_BYTES - 16, MEMORY_BYTES, _ALL - USER_BASE - 15])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_every_part_of_a_ring_lies_aligned_in_shared_memory(
    front_end: FakeFrontEnd, part: int, offset: int
) -> None:
    front_end.greet()
    front_end.share_memory()
    queue = front_end.tx
    addresses = [USER_BASE + at for at in (queue.descriptors, queue.used, queue.available)]
    # 8 is aligned for the rings, but not for the table.
    addresses[part] = USER_BASE + (offset if part == 0 or offset != 8 else 7)

    front_end.order(vu.SET_VRING_NUM, vu.STATE.pack(1, queue.size))
    front_end.order(vu.SET_VRING_ADDR, vu.ADDRESSES.pack(1, 0, *addresses, 0))
    front_end.order(vu.SET_VRING_KICK, vu.U64.pack(1), [queue.kick])
    front_end.post(vu.SET_VRING_ENABLE, vu.STATE.pack(1, 1))

    assert len(front_end.monitor.failures) == 1


def test_a_queue_needs_memory_first(front_end: FakeFrontEnd) -> None:
    front_end.greet()
    queue = front_end.tx

    front_end.order(vu.SET_VRING_NUM, vu.STATE.pack(1, queue.size))
    front_end.order(vu.SET_VRING_ADDR, front_end.ring_addresses(queue))
    front_end.order(vu.SET_VRING_KICK, vu.U64.pack(1), [queue.kick])
    front_end.post(vu.SET_VRING_ENABLE, vu.STATE.pack(1, 1))

    assert front_end.monitor.failures == ["queue before the memory table"]


def test_a_front_end_that_reads_no_replies_ends_the_machine(front_end: FakeFrontEnd) -> None:
    """Replies are never kept for it."""
    flood = vu.HEADER.pack(vu.GET_FEATURES, vu.VERSION, 0) * 100

    for _ in range(1000):
        if front_end.monitor.failures:
            break
        front_end.sock.send(flood)
        front_end.monitor.settle()

    assert len(front_end.monitor.failures) == 1


_NUMBERS = st.one_of(
    st.integers(0, 4), st.sampled_from([64, 128, 0x100, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF])
)


@settings(max_examples=150, deadline=None)
@given(
    messages=st.lists(
        st.tuples(
            st.integers(0, 26),
            st.one_of(st.binary(max_size=64), st.lists(_NUMBERS, max_size=12)),
            st.lists(st.sampled_from(["memory", "kick", "call"]), max_size=2),
        ),
        max_size=12,
    ),
    driver_is_up=st.booleans(),
)
def test_no_messages_whatever_make_more_of_a_failure_than_one(
    messages: list[tuple[int, bytes | list[int], list[str]]], driver_is_up: bool
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Monitor(Path(folder)) as monitor,
        FakeFrontEnd(monitor) as front_end,
    ):
        if driver_is_up:
            front_end.set_up()
        known = {
            "memory": front_end.memory_file,
            "kick": front_end.tx.kick,
            "call": front_end.tx.call_of_device.fileno(),
        }
        for request, content, names in messages:
            payload = content if isinstance(content, bytes) else _pack(content)
            try:
                front_end.post(request, payload, [known[name] for name in names])
            except (BrokenPipeError, ConnectionResetError):
                break
        front_end.tx.notify()
        monitor.settle()

        assert len(monitor.failures) <= 1


def _pack(numbers: list[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)
