"""Reads of a shell's output, cut anywhere: characters and secrets stay whole."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyro_mcp.boundary.redact import Redactor
from pyro_mcp.machines.shells import ShellOutput, ShellRecord
from pyro_mcp.workspaces.shell_text import LiveText, Stretch, bytes_for, stretch

SECRET = b"hunter2-hunter2"
REDACTOR = Redactor([SECRET])
NOTHING = Redactor([])


def output(
    stream: bytes, cursor: int, *, size: int = 10**6, quiet_ms: int = 0, running: bool = True,
    context: int = 100,
) -> ShellOutput:  # fmt: skip
    """What a guest would answer whose shell has written `stream`."""
    record = ShellRecord(
        shell_id="0" * 12, cwd="/workspace", cols=80, rows=24, running=running, started_at=0.0,
        ended_at=None, exit_code=None, oldest=0, end=len(stream), quiet_ms=quiet_ms,
    )  # fmt: skip
    start = min(cursor, len(stream))
    before = min(context, start)
    data = stream[start - before : start + size]
    return ShellOutput(shell=record, data=data, context=before, start=start, wait_timed_out=False)


def read(
    stream: bytes, cursor: int = 0, *, max_chars: int = 10**6, quiet_ms: int = 0,
    running: bool = True, redactor: Redactor = REDACTOR,
) -> Stretch:  # fmt: skip
    size = bytes_for(max_chars, redactor)
    given_out = output(
        stream, cursor, size=size, quiet_ms=quiet_ms, running=running, context=redactor.longest
    )
    return stretch(given_out, redactor, asked_cursor=cursor, max_chars=max_chars)


@given(st.lists(st.sampled_from([SECRET, b"hunter2", b"h", "ü日🥊".encode(), b"\xff\xf0", b"x"])),
       st.integers(1, 20), st.booleans())  # fmt: skip
@example([b"\xff\xf0", b"hunter2"], 1, False)
@example([b"\xe0\xa0", b"\xf0\x80", b"x"], 1, False)
def test_reads_of_any_size_add_up_to_the_whole(
    parts: list[bytes], max_chars: int, running: bool
) -> None:
    stream = b"".join(parts)
    pieces, cursor = [], 0
    while True:
        one = read(stream, cursor, max_chars=max_chars, running=False)
        assert len(one.text) <= max_chars
        assert one.next_cursor > cursor or not one.more
        pieces.append(one.text)
        cursor = one.next_cursor
        if not one.more:
            break

    joined = "".join(pieces)
    assert SECRET.decode() not in joined
    assert cursor == len(stream)
    if max_chars >= 10:
        assert joined == REDACTOR.whole(stream)[0].decode("utf-8", "replace")


@pytest.mark.parametrize("cut", range(len(SECRET) + 1))
def test_a_value_that_comes_in_two_pieces_is_not_seen(cut: int) -> None:
    stream = b"see " + SECRET + b" end"
    first = read(stream[: 4 + cut])
    second = read(stream, first.next_cursor)

    assert first.text + second.text in ("see [REDACTED] end", "see [REDACTED][REDACTED] end")
    assert first.redacted or second.redacted
    assert second.next_cursor == len(stream)


def test_a_cursor_in_the_middle_of_a_value_shows_none_of_it() -> None:
    stream = b"see " + SECRET + b" end"
    for cursor in range(5, 4 + len(SECRET)):
        assert read(stream, cursor).text == "[REDACTED] end"


def test_what_may_begin_a_value_waits_for_more() -> None:
    assert read(b"a hunter2-hun").text == "a "
    assert read(b"a hunter2-hun").more is False
    assert read(b"a hunter2-hun", quiet_ms=10_000).text == "a "
    assert read(b"a hunter2-hun", running=False).text == "a hunter2-hun"
    assert read(b"a hu").text == "a "
    assert read(b"a hu", quiet_ms=10_000).text == "a hu"


def test_half_a_character_waits_for_its_other_half() -> None:
    ring = "🥊".encode()
    assert read(b"a" + ring[:2]).text == "a"
    assert read(b"a" + ring, 1).text == "🥊"
    assert read(b"a" + ring[:2], quiet_ms=10_000).text == "a\ufffd"
    assert read(b"a" + ring[:2], running=False).text == "a\ufffd"
    assert read(b"\xff\x80a").text == "\ufffd\ufffda"


def test_reading_from_the_oldest_begins_with_a_whole_character() -> None:
    kept = output("🥊 on".encode(), 2, context=0)

    one = stretch(kept, NOTHING, asked_cursor=0, max_chars=100)

    assert (one.cursor, one.text) == (4, " on")


@given(st.lists(st.tuples(st.sampled_from([SECRET, SECRET[:9], SECRET[9:], b"hun", b"x"]),
                          st.booleans())))  # fmt: skip
def test_what_is_shown_live_has_no_value_in_it(pieces: list[tuple[bytes, bool]]) -> None:
    live = LiveText(lambda: REDACTOR)
    shown = b""
    for piece, then_quiet in pieces:
        shown += live.feed(piece)
        if then_quiet:
            shown += live.feed(b"", settled=True)
    shown += live.finish()

    whole = b"".join(piece for piece, _ in pieces)
    assert SECRET not in shown
    if SECRET not in whole:
        assert shown == whole


def test_a_key_is_shown_at_once_when_it_gives_nothing_away() -> None:
    live = LiveText(lambda: REDACTOR)

    shown = [live.feed(b"h"), live.holding, live.feed(b"", settled=True), live.holding]

    assert shown == [b"", True, b"h", False]
    assert live.feed(SECRET[1:] + b".") == b"[REDACTED]."
