"""Streams between guest and host: bytes, credit, ends, and peers that misbehave."""

import errno
import hashlib
import os
import socket
from contextlib import suppress

import pytest

from pyro_mcp.vsock import packet
from pyro_mcp.vsock.connection import BUFFER
from pyro_mcp.vsock.connections import MOST_CONNECTIONS
from tests.vsock.front_end import (
    GUEST_CID,
    QUEUE_SIZE,
    FakeFrontEnd,
    GuestStream,
    accept_from_guest,
    connect_to_guest,
    drain,
    fill,
    has_ended,
    request_to_guest,
)

_SIZE = 3 * 1024 * 1024 + 12345


def test_bytes_arrive_at_the_host_as_the_guest_sent_them(guest: FakeFrontEnd) -> None:
    stream, host = accept_from_guest(guest)
    data = os.urandom(_SIZE)
    arrived = hashlib.sha256()

    at = 0
    while at < len(data):
        at += stream.write(data[at : at + 100_000])
        arrived.update(drain(host))
        guest.monitor.settle()
        stream.look()
    while piece := drain(host):
        arrived.update(piece)
        guest.monitor.settle()

    assert arrived.digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("buffer", [1, 100, 5000, 65536, 262144])
def test_bytes_arrive_at_the_guest_as_the_host_sent_them(guest: FakeFrontEnd, buffer: int) -> None:
    """And never more at a time than the guest has room for, which the stream's `take` asserts."""
    stream, host = connect_to_guest(guest, buffer=buffer)
    data = os.urandom(min(_SIZE, 2000 * buffer))
    arrived = hashlib.sha256()

    at = 0
    while at < len(data) or stream.data:
        with suppress(BlockingIOError):
            at += host.send(data[at : at + 100_000])
        guest.monitor.settle()
        stream.look()
        arrived.update(stream.read())

    assert arrived.digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    "pieces", [[44, 1000], [1044], [1, 43, 500, 500], [20, 24, 1000], [100, 944]]
)
def test_a_packet_may_be_cut_up_as_the_driver_likes(guest: FakeFrontEnd, pieces: list[int]) -> None:
    """Virtio 1.2, 2.7.4: a device makes no assumption about where descriptors end."""
    stream, host = accept_from_guest(guest)
    payload = os.urandom(1000)
    whole = stream.header(packet.RW, len(payload)) + payload
    at = 0x60_0000
    guest.memory[at : at + len(whole)] = whole

    for slot, size in enumerate(pieces):
        more = slot + 1 < len(pieces)
        guest.tx.describe(slot, 0x10_0000 + at, size, int(more), slot + 1)
        at += size
    guest.tx.make_available(0)
    guest.tx.notify()
    guest.monitor.settle()

    assert drain(host) == payload


def test_receive_buffers_may_be_cut_up_as_the_driver_likes(front_end: FakeFrontEnd) -> None:
    front_end.set_up(rx_buffers=0)
    front_end.monitor.device.listen(1, lambda _port: theirs)
    ours, theirs = front_end.monitor.pair()
    base = 0x10_0000 + 0x60_0000
    rx = front_end.rx
    for chain in range(2):
        at = base + chain * 4096
        for part, (offset, size) in enumerate([(0, 10), (10, 40), (50, 1000)]):
            slot = 4 * chain + part
            rx.describe(slot, at + offset, size, 2 | (1 if part < 2 else 0), slot + 1)
        rx.make_available(4 * chain)
    stream = GuestStream(front_end, guest_port=5, host_port=1)

    front_end.transmit(stream.header(packet.REQUEST))
    ours.send(b"hello")
    front_end.monitor.settle()

    assert [length for _, length in rx.used_chains()] == [44, 49]
    second = front_end.memory[0x60_0000 + 4096 : 0x60_0000 + 4096 + 49]
    assert packet.HEADER.unpack(second[:44])[6] == packet.RW
    assert second[44:] == b"hello"


def test_the_guest_connects_to_a_port_that_listens(guest: FakeFrontEnd) -> None:
    asked: list[int] = []
    _, theirs = guest.monitor.pair()

    def accept(port: int) -> socket.socket:
        asked.append(port)
        return theirs

    guest.monitor.device.listen(1025, accept)
    stream = GuestStream(guest, guest_port=4321, host_port=1025)
    stream.send(packet.REQUEST)

    assert asked == [4321]
    assert stream.operations == [packet.RESPONSE]
    assert stream.host_alloc == BUFFER


def test_the_guest_is_reset_at_a_port_where_nobody_listens_or_which_refuses(
    guest: FakeFrontEnd,
) -> None:
    guest.monitor.device.listen(2, lambda _port: None)

    for host_port in (1, 2):
        stream = GuestStream(guest, guest_port=4321, host_port=host_port)
        stream.send(packet.REQUEST)
        assert stream.operations == [packet.RST]


def test_the_guest_is_reset_where_the_host_cannot_give_a_socket(guest: FakeFrontEnd) -> None:
    def no_descriptors_left(_port: int) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    guest.monitor.device.listen(1, no_descriptors_left)
    stream = GuestStream(guest, guest_port=4321, host_port=1)
    stream.send(packet.REQUEST)

    assert stream.operations == [packet.RST]
    assert guest.monitor.failures == []


def test_the_first_line_precedes_what_the_guest_sends(guest: FakeFrontEnd) -> None:
    stream, host, _ = request_to_guest(guest, ready=b"OK 1024\n")
    assert drain(host) == b""

    stream.send(packet.RESPONSE)
    stream.write(b"banner")

    assert drain(host) == b"OK 1024\nbanner"


def test_whoever_asked_hears_once_that_the_guest_accepted(guest: FakeFrontEnd) -> None:
    answers: list[bool] = []
    stream, _, _ = request_to_guest(guest, on_open=answers.append)

    assert answers == []
    stream.send(packet.RESPONSE)
    assert answers == [True]
    stream.send(packet.RST)
    assert answers == [True]


def test_whoever_asked_hears_that_the_guest_refused(guest: FakeFrontEnd) -> None:
    answers: list[bool] = []
    stream, host, _ = request_to_guest(guest, on_open=answers.append)

    stream.send(packet.RST)

    assert answers == [False]
    assert has_ended(host)


def test_a_host_that_goes_before_the_guest_answers_is_forgotten(guest: FakeFrontEnd) -> None:
    answers: list[bool] = []
    stream, host, _ = request_to_guest(guest, on_open=answers.append)

    host.close()
    guest.monitor.settle()
    stream.look()

    assert answers == [False]
    assert stream.operations == [packet.RST]


def test_a_callback_whose_socket_is_gone_does_no_harm(guest: FakeFrontEnd) -> None:
    """The monitor writes its first line from there, and the client may have left."""

    def write(accepted: bool) -> None:
        if accepted:
            raise BrokenPipeError

    stream, _, _ = request_to_guest(guest, on_open=write)
    stream.send(packet.RESPONSE)

    assert stream.shutdown_flags & packet.NO_RECEIVE
    assert guest.monitor.failures == []


def test_bytes_sent_before_the_guest_accepted_wait_for_it(guest: FakeFrontEnd) -> None:
    stream, host, _ = request_to_guest(guest)
    host.send(b"early")
    guest.monitor.settle()
    assert guest.received() == []

    stream.send(packet.RESPONSE)

    assert stream.read() == b"early"


def test_the_host_ends_its_direction_and_still_hears_the_guest(guest: FakeFrontEnd) -> None:
    stream, host = connect_to_guest(guest)

    host.send(b"question")
    host.shutdown(socket.SHUT_WR)
    guest.monitor.settle()
    stream.look()
    assert stream.read() == b"question"
    assert stream.shutdown_flags == packet.NO_SEND
    stream.write(b"answer")
    stream.send(packet.SHUTDOWN, flags=packet.NO_SEND)

    assert host.recv(100) == b"answer"
    assert has_ended(host)
    assert stream.shutdown_flags == packet.NO_MORE


def test_the_guest_ends_its_direction_and_still_hears_the_host(guest: FakeFrontEnd) -> None:
    stream, host = accept_from_guest(guest)

    stream.write(b"question")
    stream.send(packet.SHUTDOWN, flags=packet.NO_SEND)
    assert host.recv(100) == b"question"
    assert has_ended(host)
    host.send(b"answer")
    guest.monitor.settle()
    stream.look()
    assert stream.read() == b"answer"
    host.close()
    guest.monitor.settle()
    stream.look()

    assert stream.shutdown_flags == packet.NO_MORE


def test_a_guest_that_closes_is_let_go_and_the_host_gets_the_rest(guest: FakeFrontEnd) -> None:
    """Linux waits 8 s for the reset; what it sent before must arrive however slow the host is."""
    stream, host = accept_from_guest(guest)
    data = os.urandom(4 * BUFFER)

    sent = stream.write(data)
    assert sent < len(data), "the host's buffers must be full for this test"
    stream.send(packet.SHUTDOWN, flags=packet.NO_MORE)
    assert stream.operations[-1] == packet.RST
    arrived = bytearray()
    while piece := drain(host):
        arrived += piece
        guest.monitor.settle()

    assert bytes(arrived) == data[:sent]
    assert has_ended(host)


def test_a_host_sees_an_end_when_the_guest_left_some_of_its_bytes_unread(
    guest: FakeFrontEnd,
) -> None:
    """A command that ends without reading its input is no reset for who reads its output."""
    stream, host = accept_from_guest(guest, buffer=100)
    host.send(bytes(5000))
    guest.monitor.settle()
    stream.look()
    stream.write(b"output")

    stream.send(packet.SHUTDOWN, flags=packet.NO_MORE)

    assert host.recv(100) == b"output"
    assert host.recv(100) == b""


def test_a_reset_of_the_guest_ends_the_hosts_stream(guest: FakeFrontEnd) -> None:
    stream, host = accept_from_guest(guest)

    stream.send(packet.RST)

    assert has_ended(host)
    assert packet.RST not in stream.operations


def test_a_host_that_has_gone_stops_the_guest(guest: FakeFrontEnd) -> None:
    stream, host = accept_from_guest(guest)

    host.send(b"last words")
    host.close()
    guest.monitor.settle()
    stream.look()

    assert stream.data == b"last words"
    assert stream.shutdown_flags == packet.NO_MORE
    stream.send(packet.RW, b"more")
    assert stream.operations[-1] == packet.RST


def test_a_host_that_stops_reading_tells_the_guest_when_it_writes(guest: FakeFrontEnd) -> None:
    stream, host = accept_from_guest(guest)
    host.shutdown(socket.SHUT_RD)

    stream.write(b"ignored")

    assert stream.shutdown_flags == packet.NO_RECEIVE
    host.send(b"still here")
    guest.monitor.settle()
    stream.look()
    assert stream.read() == b"still here"


def test_credit_comes_back_as_the_host_reads(guest: FakeFrontEnd) -> None:
    stream, host = accept_from_guest(guest)
    while stream.write(bytes(BUFFER)):
        pass
    assert stream.credit == 0

    while drain(host):
        guest.monitor.settle()
    stream.look()

    assert stream.credit >= BUFFER // 2


def test_a_guest_that_asks_is_told_its_credit(guest: FakeFrontEnd) -> None:
    stream, _ = accept_from_guest(guest)
    stream.write(b"some")
    before = stream.host_forwarded

    stream.send(packet.CREDIT_REQUEST)

    assert stream.operations[-1] == packet.CREDIT_UPDATE
    assert stream.host_forwarded == before + 4


def test_counts_go_on_past_32_bits(guest: FakeFrontEnd) -> None:
    stream, host = accept_from_guest(guest, buffer=1000)
    connection = next(iter(guest.monitor.device._connections._table.values()))
    connection.sent = stream.forwarded = stream.arrived = 2**32 - 500
    connection.forwarded = connection.told = stream.sent = 2**32 - 700
    stream.send(packet.CREDIT_UPDATE)

    host.send(bytes(2000))
    guest.monitor.settle()
    stream.look()
    assert len(stream.read()) == 1000
    assert len(stream.read()) == 1000
    stream.write(bytes(1500))
    stream.send(packet.CREDIT_REQUEST)

    assert len(drain(host)) == 1500
    assert stream.host_forwarded == 800


def test_a_guest_that_ignores_credit_is_reset(guest: FakeFrontEnd) -> None:
    stream, host = accept_from_guest(guest)
    while stream.write(bytes(BUFFER)):
        pass
    assert packet.RST not in stream.operations

    # Credit is told in steps, so there may be a little more room than the guest knows of.
    for _ in range(2):
        stream.send(packet.RW, bytes(64 * 1024))

    assert packet.RST in stream.operations
    drain(host)
    assert has_ended(host)
    assert guest.monitor.failures == []


def test_a_host_that_does_not_read_stalls_only_its_own_stream(guest: FakeFrontEnd) -> None:
    stalled, _ = accept_from_guest(guest, host_port=1, guest_port=1)
    while stalled.write(bytes(BUFFER)):
        pass
    ours, theirs = guest.monitor.pair()
    guest.monitor.device.listen(2, lambda _port: theirs)
    lively = GuestStream(guest, guest_port=2, host_port=2)

    lively.send(packet.REQUEST)
    lively.write(b"hello")

    assert drain(ours) == b"hello"


def test_a_guest_that_does_not_read_stalls_only_its_own_stream(guest: FakeFrontEnd) -> None:
    stalled, host = accept_from_guest(guest, host_port=1, guest_port=1, buffer=4096)
    fill(host)
    guest.monitor.settle()
    stalled.look()
    ours, theirs = guest.monitor.pair()
    guest.monitor.device.listen(2, lambda _port: theirs)
    lively = GuestStream(guest, guest_port=2, host_port=2)

    lively.send(packet.REQUEST)
    ours.send(b"hello")
    guest.monitor.settle()
    lively.look()

    assert lively.read() == b"hello"
    assert stalled.arrived == 4096


def test_without_receive_buffers_everything_waits_and_nothing_is_lost(
    front_end: FakeFrontEnd,
) -> None:
    front_end.set_up(rx_buffers=0)
    ours, theirs = front_end.monitor.pair()
    front_end.monitor.device.listen(2, lambda _port: theirs)
    stream = GuestStream(front_end, guest_port=2, host_port=2)

    stream.send(packet.REQUEST)
    ours.send(b"hello")
    ours.shutdown(socket.SHUT_WR)
    stream.write(b"")
    front_end.monitor.settle()
    assert front_end.rx.wants_kick
    for slot in range(3):
        assert front_end.rx.seen == slot
        front_end.add_rx_buffers([slot])
        for each in front_end.received(again=False):
            stream.take(each)

    assert stream.operations == [packet.RESPONSE, packet.RW, packet.SHUTDOWN]
    assert stream.data == b"hello"


def test_resets_owed_to_a_guest_that_gives_no_buffers_are_bounded(
    front_end: FakeFrontEnd,
) -> None:
    """Its packets are left in its own memory instead."""
    front_end.set_up(rx_buffers=0)
    sent = 0
    for guest_port in range(1000):
        stream = GuestStream(front_end, guest_port=guest_port, host_port=9)
        if not front_end.free_slots:
            front_end.reclaim()
            if not front_end.free_slots:
                break
        front_end.transmit(stream.header(packet.REQUEST))
        sent += 1
    assert sent < 400
    left = front_end.tx.added - front_end.tx.seen
    assert left == QUEUE_SIZE // 2

    answered = 0
    front_end.add_rx_buffers(range(QUEUE_SIZE))
    while packets := front_end.received():
        assert {each.operation for each in packets} == {packet.RST}
        answered += len(packets)

    assert answered == sent


@pytest.mark.parametrize("size", [1, 1000, 100_000])
def test_hundreds_of_streams_each_get_their_own_bytes(guest: FakeFrontEnd, size: int) -> None:
    hosts: list[socket.socket] = []

    def accept(_port: int) -> socket.socket:
        ours, theirs = guest.monitor.pair()
        hosts.append(ours)
        return theirs

    guest.monitor.device.listen(1, accept)
    streams = {}
    for port in range(200):
        streams[port] = GuestStream(guest, guest_port=port, host_port=1)
        streams[port].send(packet.REQUEST)
    # The host speaks first on all, at the same time; the guest answers with what it got.
    for port, host in enumerate(hosts):
        host.send((b"%d," % port * size)[:size])
    guest.monitor.settle()
    while packets := guest.received():
        for each in packets:
            streams[each.target_port].take(each)
    for stream in streams.values():
        stream.write(bytes(stream.data))

    for port, host in enumerate(hosts):
        assert drain(host) == (b"%d," % port * size)[:size]


def test_streams_take_turns_to_the_guest(guest: FakeFrontEnd) -> None:
    """One that has always more to say does not keep another from saying anything."""
    first, loud = accept_from_guest(guest, host_port=1, guest_port=1)
    _, quiet = accept_from_guest(guest, host_port=2, guest_port=2)

    loud.send(bytes(150_000))
    quiet.send(b"me too")
    guest.monitor.settle()

    order = [each.target_port for each in guest.received()]
    assert order.index(2) < 20 < len(order)
    assert first.credit > 0


def test_the_guest_cannot_open_streams_without_end(guest: FakeFrontEnd) -> None:
    # Few sockets many times: a thousand would be more than a process may have in some places.
    samples = [guest.monitor.pair()[1] for _ in range(4)]
    guest.monitor.device.listen(1, lambda port: samples[port % 4].dup())
    operations: list[int] = []

    for port in range(MOST_CONNECTIONS + 20):
        stream = GuestStream(guest, guest_port=port, host_port=1)
        stream.send(packet.REQUEST)
        operations += stream.operations

    assert operations == [packet.RESPONSE] * MOST_CONNECTIONS + [packet.RST] * 20


def test_a_socket_that_cannot_be_watched_is_refused(guest: FakeFrontEnd) -> None:
    """A kernel bounds how often one file is watched, and how many are in all."""
    _, sample = guest.monitor.pair()
    guest.monitor.device.listen(1, lambda _port: sample.dup())
    operations: set[int] = set()

    for port in range(MOST_CONNECTIONS):
        stream = GuestStream(guest, guest_port=port, host_port=1)
        guest.transmit(stream.header(packet.REQUEST))
        operations |= {each.operation for each in guest.received() if each.target_port == port}
    answers: list[bool] = []
    guest.monitor.device.connect(9, sample.dup(), on_open=answers.append)

    assert {packet.RESPONSE, packet.RST} <= operations
    assert answers == [False]
    assert guest.monitor.failures == []


def test_one_interrupt_covers_many_packets(guest: FakeFrontEnd) -> None:
    stream, host = accept_from_guest(guest)
    guest.rx.interrupts()

    host.send(bytes(60_000))
    guest.monitor.settle()
    interrupts = guest.rx.interrupts()

    assert len(guest.rx.used_chains()) > 10
    assert 1 <= interrupts <= 6
    assert stream.arrived == 0


def test_a_driver_that_polls_is_not_interrupted(guest: FakeFrontEnd) -> None:
    _, host = accept_from_guest(guest)
    guest.rx.interrupts()
    guest.memory[guest.rx.available] = 1

    host.send(b"hello")
    guest.monitor.settle()

    assert guest.rx.interrupts() == 0
    assert len(guest.received()) == 1


_ODD: dict[str, dict[str, int]] = {
    "unknown operation": {"operation": 99},
    "operation zero": {"operation": 0},
    "request for a stream that is open": {"operation": packet.REQUEST},
    "response for a stream that is open": {"operation": packet.RESPONSE},
    "other type": {"kind": 2, "operation": packet.RW},
}


@pytest.mark.parametrize("odd", _ODD.values(), ids=_ODD)
def test_a_packet_that_makes_no_sense_is_answered_with_a_reset(
    guest: FakeFrontEnd, odd: dict[str, int]
) -> None:
    stream, _ = accept_from_guest(guest)

    guest.transmit(_header(stream, **odd))

    assert [each.operation for each in guest.received()] == [packet.RST]
    assert guest.monitor.failures == []


def test_a_packet_to_another_cid_is_answered_with_a_reset_from_there(guest: FakeFrontEnd) -> None:
    """So that the guest's connect fails at once instead of waiting."""
    stream = GuestStream(guest, guest_port=1, host_port=2)

    guest.transmit(_header(stream, target=77, operation=packet.REQUEST))

    (reset,) = guest.received()
    assert (reset.operation, reset.source) == (packet.RST, 77)


def test_a_packet_from_another_cid_is_dropped(guest: FakeFrontEnd) -> None:
    stream, host = accept_from_guest(guest)

    guest.transmit(_header(stream, source=77, operation=packet.RST))

    assert guest.received() == []
    assert not has_ended(host)


def test_a_reset_of_no_stream_is_not_answered(guest: FakeFrontEnd) -> None:
    """Two sides that answer resets would never stop."""
    GuestStream(guest, guest_port=1, host_port=2).send(packet.RST)

    assert guest.received() == []


@pytest.mark.parametrize(
    "operation", [packet.RW, packet.SHUTDOWN, packet.CREDIT_UPDATE, packet.CREDIT_REQUEST]
)
def test_a_guest_that_speaks_before_it_accepted_is_reset(
    guest: FakeFrontEnd, operation: int
) -> None:
    answers: list[bool] = []
    stream, _, _ = request_to_guest(guest, on_open=answers.append)

    stream.send(operation)

    assert stream.operations == [packet.RST]
    assert answers == [False]


def test_bytes_after_the_guest_said_it_was_done_reset_the_stream(guest: FakeFrontEnd) -> None:
    stream, _ = accept_from_guest(guest)
    stream.send(packet.SHUTDOWN, flags=packet.NO_SEND)

    stream.send(packet.RW, b"after all")

    assert stream.operations[-1] == packet.RST


def test_a_port_that_was_reset_can_be_opened_again(guest: FakeFrontEnd) -> None:
    for _ in range(3):
        stream, host = accept_from_guest(guest)
        stream.write(b"hello")
        assert drain(host) == b"hello"
        stream.send(packet.SHUTDOWN, flags=packet.NO_MORE)
        assert stream.operations[-1] == packet.RST


def _header(
    stream: GuestStream,
    *,
    operation: int,
    source: int = GUEST_CID,
    target: int = packet.HOST_CID,
    kind: int = packet.STREAM,
) -> bytes:
    return packet.HEADER.pack(
        source, target, stream.guest_port, stream.host_port, 0, kind, operation, 0, 0, 0
    )
