"""The wire: what a decoder makes of honest, cut, oversized, repeated and random bytes."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp import protocol
from pyro_mcp.protocol import Decoder, ProtocolError, VersionMismatchError

KINDS = sorted(protocol.FROM_GUEST)
frames = st.lists(st.tuples(st.sampled_from(KINDS), st.binary(max_size=300)), max_size=8)


def stream_of(sent: list[tuple[int, bytes]]) -> bytes:
    return protocol.preamble() + b"".join(protocol.frame(*each) for each in sent)


def decoded(pieces: list[bytes]) -> list[tuple[int, bytes]]:
    decoder = Decoder(protocol.FROM_GUEST)
    return [frame for piece in pieces for frame in decoder.feed(piece)]


@given(frames, st.lists(st.integers(min_value=0, max_value=3000), max_size=12))
def test_frames_arrive_whole_however_the_stream_is_cut(
    sent: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    stream = stream_of(sent)
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(edges)]

    assert decoded(pieces) == sent


@given(frames.filter(bool), st.data())
def test_a_truncated_stream_gives_its_whole_frames_and_no_more(
    sent: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    stream = stream_of(sent)
    end = data.draw(st.integers(min_value=0, max_value=len(stream) - 1))

    received = decoded([stream[:end]])

    assert received == sent[: len(received)]
    assert len(received) < len(sent)


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_random_bytes_are_refused_or_waited_for_and_nothing_else(pieces: list[bytes]) -> None:
    decoder = Decoder(protocol.FROM_GUEST)
    received = 0
    try:
        for piece in pieces:
            received += len(piece)
            decoder.feed(piece)
    except ProtocolError:
        return
    assert received < protocol.PREAMBLE.size or decoder.greeted


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=20))
def test_random_bytes_after_a_right_preamble_give_only_kinds_that_are_due(
    pieces: list[bytes],
) -> None:
    decoder = Decoder(protocol.FROM_HOST)
    decoder.feed(protocol.preamble())
    try:
        kinds = {kind for piece in pieces for kind, _ in decoder.feed(piece)}
    except ProtocolError:
        return

    assert kinds <= protocol.FROM_HOST


@pytest.mark.parametrize("length", [protocol.MAX_PAYLOAD + 1, 2**31, 2**32 - 1])
def test_an_oversized_frame_is_refused_at_its_header(length: int) -> None:
    """Before a byte of it is kept."""
    decoder = Decoder(protocol.FROM_GUEST)
    decoder.feed(protocol.preamble())

    with pytest.raises(ProtocolError, match=f"frame of {length} bytes"):
        decoder.feed(protocol.HEADER.pack(length, protocol.STDOUT))


def test_the_largest_frame_passes() -> None:
    payload = bytes(protocol.MAX_PAYLOAD)

    assert decoded([stream_of([(protocol.STDOUT, payload)])]) == [(protocol.STDOUT, payload)]


def test_a_larger_one_cannot_be_made() -> None:
    with pytest.raises(ProtocolError):
        protocol.frame(protocol.STDOUT, bytes(protocol.MAX_PAYLOAD + 1))


@pytest.mark.parametrize("kind", sorted(protocol.FROM_HOST | {0, 4, 99, 255}))
def test_a_kind_that_is_not_due_is_refused_at_its_header(kind: int) -> None:
    decoder = Decoder(protocol.FROM_GUEST)
    decoder.feed(protocol.preamble())

    with pytest.raises(ProtocolError, match=f"frame of kind {kind}"):
        decoder.feed(protocol.HEADER.pack(1000, kind))


def test_a_repeated_preamble_is_refused() -> None:
    decoder = Decoder(protocol.FROM_GUEST)

    with pytest.raises(ProtocolError):
        decoder.feed(protocol.preamble() * 2)


def test_another_version_is_told_apart_from_another_protocol() -> None:
    other = protocol.PREAMBLE.pack(protocol.MAGIC, protocol.VERSION + 1, 0)

    with pytest.raises(VersionMismatchError) as caught:
        Decoder(protocol.FROM_GUEST).feed(other)
    assert caught.value.theirs == protocol.VERSION + 1

    with pytest.raises(ProtocolError) as refused:
        Decoder(protocol.FROM_GUEST).feed(b"SSH-2.0-")
    assert not isinstance(refused.value, VersionMismatchError)


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none()))
def test_a_json_frame_carries_an_object(value: dict[str, object]) -> None:
    [(kind, payload)] = decoded([protocol.preamble() + protocol.json_frame(protocol.REPLY, value)])

    assert kind == protocol.REPLY
    assert protocol.parse_json(payload) == value


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"1", b"null", b'"text"', b"{", b'{"a":1} x', b"\xff\xfe{}", b"[" * 500_000],
)
def test_a_payload_that_is_no_json_object_is_refused(payload: bytes) -> None:
    """The last one nests deeper than a parser can follow."""
    with pytest.raises(ProtocolError):
        protocol.parse_json(payload)


@given(st.binary(max_size=200))
def test_a_random_payload_is_an_object_or_refused(payload: bytes) -> None:
    try:
        value = protocol.parse_json(payload)
    except ProtocolError:
        return
    assert value == json.loads(payload)
