"""What is kept of a command's output: all of it when it is small, head and tail when not."""

from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.machines.output import BoundedOutput


def filled(limit: int, *pieces: bytes) -> BoundedOutput:
    output = BoundedOutput(limit)
    for piece in pieces:
        output.add(piece)
    return output


def test_output_within_the_limit_is_kept_whole() -> None:
    output = filled(10, b"hello", b"world")

    assert output.text() == "helloworld"
    assert not output.truncated


def test_of_longer_output_head_and_tail_are_kept_and_the_rest_counted() -> None:
    output = filled(8, b"abcdefghij", b"klmnopqrst")

    assert output.text() == "abcd\n[... 12 bytes left out ...]\nqrst"
    assert output.truncated
    assert output.total == 20


def test_a_limit_of_nothing_only_counts() -> None:
    output = filled(0, b"x" * 1000)

    assert output.total == 1000
    assert output.left_out == 1000


@given(st.integers(2, 60), st.lists(st.binary(max_size=40), max_size=12))
def test_however_it_is_cut_into_pieces_the_same_is_kept(limit: int, pieces: list[bytes]) -> None:
    whole = b"".join(pieces)

    output = filled(limit, *pieces)

    assert output.total == len(whole)
    assert output.left_out == max(0, len(whole) - limit)
    assert output.text() == filled(limit, whole).text()
