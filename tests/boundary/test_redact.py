"""Values of secrets are replaced, however they are cut, repeated or laid over each other."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyro_mcp.boundary.redact import MARK, Redactor

# Few letters, so that values are found, overlap and contain each other.
values = st.lists(st.text("ab", min_size=4, max_size=12).map(str.encode), min_size=1, max_size=4)
texts = st.text("abc", max_size=80).map(str.encode)
cuts = st.lists(st.integers(min_value=0, max_value=80), max_size=12)


def in_pieces(redactor: Redactor, data: bytes, cuts: list[int]) -> tuple[list[bytes], bool]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    stream = redactor.stream()
    given_out = [stream.feed(data[start:end]) for start, end in pairwise(edges)]
    return [*given_out, stream.finish()], stream.redacted


def occurrences(values: list[bytes], data: bytes) -> set[int]:
    """Offsets of all bytes that belong to a value: the plain definition."""
    return {
        at + offset
        for value in values
        for at in range(len(data))
        if data.startswith(value, at)
        for offset in range(len(value))
    }


@pytest.mark.parametrize(
    ("secrets", "data", "expected"),
    [
        ([b"hush-hush"], b"say hush-hush!", b"say [REDACTED]!"),
        ([b"abcd", b"abcdefgh"], b"abcdefgh abcd", b"[REDACTED] [REDACTED]"),
        ([b"abcd", b"cdef"], b"-abcdef-", b"-[REDACTED]-"),
        ([b"abcd"], b"abcdabcd", b"[REDACTED][REDACTED]"),
        ([b"aaaa"], b"aaaaaa", b"[REDACTED]"),
        ([b"abab", b"bbbb"], b"ababab", b"[REDACTED]"),
        ([b"token\n"], b"token\ntoken", b"[REDACTED]\n[REDACTED]"),
        (["schlüssel".encode()], "x schlüssel y".encode(), b"x [REDACTED] y"),
        ([b"first-line\nab\nthird-line"], b"first-line\r\nab\r\nthird-line", b"[REDACTED]"),
        ([b"first-line\nab\nthird-line"], b"+first-line\n+ab\n", b"+[REDACTED]\n+ab\n"),
        ([b"hush-hush"], b"hush-hus", b"hush-hus"),
        ([], b"hush-hush", b"hush-hush"),
    ],
)
def test_each_occurrence_becomes_one_mark(
    secrets: list[bytes], data: bytes, expected: bytes
) -> None:
    assert Redactor(secrets).whole(data) == (expected, expected != data)


def test_a_redactor_without_values_is_false_and_hands_everything_through() -> None:
    nothing = Redactor([])

    assert not nothing
    assert nothing.longest == 0
    assert nothing.stream().feed(b"anything") == b"anything"
    assert nothing.text("anything \udcff") == ("anything \udcff", False)
    assert nothing.held_back(b"anything") == 0


def test_text_keeps_what_is_no_unicode() -> None:
    """Names of files may have bytes that are not UTF-8."""
    assert Redactor([b"hush"]).text("\udcff hush \ud800") == ("\udcff [REDACTED] \ud800", True)


@given(values, texts)
def test_no_byte_of_a_value_is_left_and_no_other_is_lost(secrets: list[bytes], data: bytes) -> None:
    hidden = occurrences(secrets, data)

    redacted, changed = Redactor(secrets).whole(data)

    kept = bytes(byte for at, byte in enumerate(data) if at not in hidden)
    assert redacted.replace(MARK, b"") == kept
    assert changed == bool(hidden)


@given(values, texts, cuts)
def test_pieces_give_what_the_whole_gives(
    secrets: list[bytes], data: bytes, cuts: list[int]
) -> None:
    redactor = Redactor(secrets)

    pieces, changed = in_pieces(redactor, data, cuts)

    assert (b"".join(pieces), changed) == redactor.whole(data)


@given(values, texts, cuts)
def test_nothing_of_a_value_is_given_out_before_it_is_whole(
    secrets: list[bytes], data: bytes, cuts: list[int]
) -> None:
    """Whatever comes next: what was given out so far is how the redacted whole begins."""
    redactor = Redactor(secrets)
    stream = redactor.stream()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    so_far = b"".join(stream.feed(data[start:end]) for start, end in pairwise(edges))

    for value in secrets:
        assert redactor.whole(data + value)[0].startswith(so_far)
    assert redactor.whole(data + b"c")[0].startswith(so_far)


@given(values, texts)
def test_redacting_again_changes_nothing(secrets: list[bytes], data: bytes) -> None:
    redactor = Redactor(secrets)
    once, _ = redactor.whole(data)

    assert redactor.whole(once) == (once, False)


@given(values, texts, st.integers(0, 80), st.integers(0, 80))
def test_a_part_shows_nothing_of_a_value_that_it_cuts(
    secrets: list[bytes], data: bytes, first: int, last: int
) -> None:
    """Files are read in ranges, and the range may be one byte."""
    start, end = sorted((min(first, len(data)), min(last, len(data))))
    hidden = occurrences(secrets, data)

    part, _ = Redactor(secrets).part(data, start, end)
    masked = Redactor(secrets).masked(data, start, end)

    kept = bytes(data[at] for at in range(start, end) if at not in hidden)
    assert part.replace(MARK, b"") == kept
    assert masked == bytes(42 if at in hidden else data[at] for at in range(start, end))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hush-tok rest", "hush-tok rest"),
        ("rest hush-tok", "rest [REDACTED]"),
        ("-token rest hush-", "[REDACTED] rest [REDACTED]"),
        ("ken rest hus", "ken rest hus"),
        ("a hush-token b", "a [REDACTED] b"),
        ("", ""),
    ],
)
def test_an_excerpt_shows_no_end_of_a_value_at_its_own_ends(text: str, expected: str) -> None:
    """A search shows part of a long line; up to three bytes are as likely something else."""
    assert Redactor([b"hush-token"]).excerpt(text) == (expected, expected != text)
    assert Redactor([]).excerpt(text) == (text, False)


@given(st.lists(st.binary(min_size=8, max_size=40), min_size=1, max_size=4), st.binary(max_size=60))
@example([b"a" * 39 + b"b"], b"a" * 60)
@example([b"a" * 20 + b"b" + b"a" * 19], b"a" * 60)
def test_what_may_be_a_beginning_is_exactly_what_is_held_back(
    secrets: list[bytes], data: bytes
) -> None:
    redactor = Redactor(secrets)
    forms = [form._form for form in redactor._forms]

    plainly = max(
        (
            size
            for form in forms
            for size in range(1, min(len(form) - 1, len(data)) + 1)
            if form.startswith(data[-size:])
        ),
        default=0,
    )
    assert redactor.held_back(data) == plainly


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (b"a" * 65536, b"a" * 4_000_000),
        (b"a" * 65535 + b"b", b"a" * 4_000_000),
        (b"b" + b"a" * 65535, b"a" * 4_000_000),
        (b"a" * 1200, b"a" * 1_000_000),
        (b"a" * 30_000 + b"b" + b"a" * 30_000, (b"a" * 30_000 + b"b") * 60),
        (b"ab" * 32768, b"ab" * 2_000_000),
    ],
    ids=["same", "almost", "reversed", "short", "periods", "pairs"],
)
def test_data_made_to_be_slow_is_not(value: bytes, data: bytes) -> None:
    """Each of these would take minutes, and the test its time limit, were it searched naively."""
    redactor = Redactor([value])
    stream = redactor.stream()
    pieces = [stream.feed(data[at : at + 65536]) for at in range(0, len(data), 65536)]

    assert b"".join((*pieces, stream.finish())) == redactor.whole(data)[0]
