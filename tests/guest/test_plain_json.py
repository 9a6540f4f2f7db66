"""The agent's own JSON says what the standard library's says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp import protocol
from pyro_mcp.guest import plain_json

scalars = st.none() | st.booleans() | st.integers() | st.text()
values = st.recursive(
    scalars | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(), values, max_size=4),
    st.booleans(),
    st.sampled_from(["", " ", "\r\n\t "]),
)
def test_it_reads_every_object(value: dict[str, object], ascii_only: bool, blank: str) -> None:
    text = blank + json.dumps(value, ensure_ascii=ascii_only) + blank

    assert protocol.decode_object(text.encode("utf-8", "surrogatepass")) == value


@given(st.dictionaries(st.text(), scalars))
def test_what_it_writes_is_read_by_others(value: dict[str, str | int | bool | None]) -> None:
    assert json.loads(plain_json.encode(value)) == value


@pytest.mark.parametrize(
    "payload",
    [b"", b" ", b"{", b"[]", b"1", b'{"a":1}x', b"{'a':1}", b'{"a":1,}', b"\xff", b"[" * 300_000],
)
def test_it_refuses_the_rest(payload: bytes) -> None:
    with pytest.raises(ValueError, match="it is not"):
        protocol.decode_object(payload)


@given(st.binary(max_size=100))
def test_random_bytes_are_an_object_or_refused(payload: bytes) -> None:
    try:
        value = protocol.decode_object(payload)
    except ValueError:
        return
    assert value == json.loads(payload)
