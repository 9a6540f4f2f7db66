"""What a person would see: the emulator, without a guest."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.boundary.redact import Redactor
from pyro_mcp.workspaces import shell_view

NOTHING = Redactor(())
SECRET = Redactor((b"s3cr3t-value-42", "geheim-日本".encode()))


def seen(before: str, text: str, *, cols: int, rows: int) -> str:
    shown, redacted = shell_view.seen(before, text, cols=cols, rows=rows, redactor=NOTHING)
    assert not redacted
    return shown


def painted(text: str, *, cols: int, rows: int, redactor: Redactor = NOTHING) -> bytes:
    return shell_view.painted(text, cols=cols, rows=rows, redactor=redactor)


LINES = "".join(f"{number}\r\n" for number in range(20))
EDITOR = "pyro$ edit\r\n\x1b[?1049h\x1b[2J\x1b[Htop\x1b[3;5Hmiddle\x1b[6;1Hstatus"

CASES = {
    "a command and its output": ("", "pyro$ echo hi\r\nhi\r\npyro$ ", "pyro$ echo hi\nhi\npyro$ "),
    "a line that began before": ("a\r\nb\r\npyro$ ", "ls\r\nc\r\n", "pyro$ ls\nc\n"),
    "progress on one line": ("", "10%\r20%\r30%\r\ndone\r\n", "30%\ndone\n"),
    "progress that goes on": ("start\r\n10%", "\r50%", "50%"),
    "progress on two lines": ("a 1%\r\nb 1%\r\n", "\x1b[2Aa 9%\r\nb 8%\r\n", "a 9%\nb 8%\n"),
    "backspace and erase": ("", "abc\b\b\x1b[KX", "aX"),
    "scrolled off lines": ("", LINES, LINES.replace("\r", "")),
    "clear screen": ("one\r\ntwo\r\n", "\x1b[H\x1b[2Jpyro$ ", "pyro$ "),
    "clear with the lines before": (LINES, "\x1b[H\x1b[2J\x1b[3Jpyro$ ", "pyro$ "),
    "colours": ("", "\x1b[1;31mred\x1b[0m \x1b[38;5;9mx\x1b[38:2::1:2:3my", "red xy"),
    "bracketed paste": ("", "\x1b[?2004hpyro$ \x1b[?2004l\r", "pyro$ "),
    "title, device strings, soft reset": (
        "", "\x1b]0;title\x07a\x1b]8;;u\x1b\\b\x1bP+q54\x1b\\c\x1b[!pd\x1b[>4;2me", "abcde",
    ),
    "wide characters": ("", "日本語 ok", "日本語 ok"),
    "wide characters at the edge": ("", "日" * 21, "日" * 20 + "\n日"),
    "combined characters": ("", "e\u0301 👩\u200d👧 ❤\ufe0f", "e\u0301 👩\u200d👧 ❤\ufe0f"),
    "half of a wide one overwritten": ("", "日本\x1b[2DX", "日X"),
    "line drawing": ("", "\x1b(0lqk\x1b(B.", "┌─┐."),
    "tabs": ("", "a\tb", "a       b"),
    "wrapped": ("", "x" * 45, "x" * 40 + "\n" + "x" * 5),
    "repeated": ("", "ab\x1b[3b", "abbbb"),
    "saved position": ("", "\x1b[sabc\x1b[uX", "Xbc"),
    "inserted and deleted": ("", "abc\r\x1b[2@XY\x1b[Pz", "XYzc"),
    "scroll region": ("", "a\r\nb\r\nc\x1b[1;2r\x1b[2;1H\nd\x1b[r", "a\nb\nd\nc"),
    "scrolled down": ("", "a\r\nb\r\nc\x1b[2TX", "aX\nb\nc"),
    "a region scrolled down": ("", "a\r\nb\r\nc\r\nd\x1b[2;3r\x1b[9T\x1b[r", "a\n\n\nd"),
    "a screen full of E, which is a test of monitors": ("", "a\x1b#8b", "ab"),
    "a full-screen program": ("", EDITOR, "top\n\n    middle\n\n\nstatus\n"),
    "one that changes a little": (EDITOR, "\x1b[3;5HMIDDLE", "top\n\n    MIDDLE\n\n\nstatus\n"),
    "one that ends": (EDITOR, "\x1b[?1049lpyro$ ", "pyro$ "),
    "one that came and went": (
        "pyro$ ", f"edit\r\n{EDITOR[12:]}\x1b[?1049lx\r\n", "pyro$ edit\nx\n",
    ),
    "a sequence cut in two": ("\x1b]0;ti", "tle\x07a\x1bP+", "a"),
    "nothing": ("anything", "", ""),
    "nothing to be seen": ("a", "\x07\x1b[?25l", ""),
}  # fmt: skip


@pytest.mark.parametrize(("before", "text", "expected"), CASES.values(), ids=CASES.keys())
def test_a_person_sees(before: str, text: str, expected: str) -> None:
    assert seen(before, text, cols=40, rows=6) == expected


def test_cuts_do_not_matter_for_lines() -> None:
    """Reads of any size add up to the same lines."""
    whole = "".join(f"line {number} \x1b[32mgreen\x1b[0m\r\n" for number in range(50))
    expected = seen("", whole, cols=40, rows=6)
    for size in (23, 46, 230):
        ends = range(0, len(whole), size * 2)
        pieces = [seen(whole[:at], whole[at : at + size * 2], cols=40, rows=6) for at in ends]
        for number in range(50):
            assert any(f"line {number} green" in piece for piece in pieces)
    assert expected.count("\n") == 50


_PARTS = st.sampled_from(
    ["\x1b[", "\x1b[?", "\x1b", "\x9b", "\x1bP", "\x1b]", "\x1b(0", "\x1b#8", "\x07", "\r", "\n",
     "\t", "\b", ";", "0", "1", "7", "47", "1049", "9999", "?", "!", "$", " ", ">", "x", "日",
     "\u0301", "\u200d", *"ABCDEFGHIJKLMPSTXZ@`abcdefghlmnrsu", "\x1bM", "\x1bD", "\x1bc", "\x1b7",
     "\x1b8", "\x1b[?1049h", "\x1b[?1049l", "\x1b[?6h", "\x1b[?3h", "\x1b[?7l", "\x1b[4h"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(_PARTS, max_size=150), st.lists(_PARTS, max_size=150), st.integers(1, 30))
def test_no_output_whatever_breaks_the_emulator(
    before: list[str], text: list[str], size: int
) -> None:
    shown = seen("".join(before), "".join(text), cols=size, rows=size)

    assert "\x1b" not in shown
    painted("".join(before), cols=size, rows=size).decode()


def test_few_bytes_cannot_ask_for_endless_text() -> None:
    shown = seen("", "a\x1b[999b" * 5000, cols=2000, rows=6)

    assert len(shown.replace("\n", "")) == 2_000_000 + 5000


ROW = "x" * 36
IN_PIECES = {
    "colours inside": ("", "a s3cr\x1b[1m3t-va\x1b[0mlue-42 b", "a [REDACTED] b"),
    "typed over": ("", "s3crX\b3t-value-42\r\nb", "[REDACTED]\nb"),
    "placed from right to left": ("", "\x1b[10G" "lue-42\rs3cr3t-va", "[REDACTED]"),
    "begun before the stretch": ("s3cr\x1b[m3t", "\x1b[m-value-42", "[REDACTED]"),
    "not all ASCII": ("", "g\x1b[meheim-日\x1b[1m本!", "[REDACTED]!"),
    "wrapped": ("", ROW + "s3cr \r3t-value-42", ROW + "[REDACTED]"),
    "wrapped before the stretch": (ROW + "s3cr ", "\r3t-value-42 b", "[REDACTED] b"),
    "a wide character wrapped": (
        "", "x" * 32 + "\x1b[mgeheim-日\x1b[m本", "x" * 32 + "[REDACTED]",
    ),
    "begun at the end": ("", "a s3cr\x1b[1m3t-", "a [REDACTED]"),
    "full screen": ("", "\x1b[?1049h\x1b[3;3Hs3cr3t\x1b[3;9H-value-42", "\n\n  [REDACTED]\n"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "text", "expected"), IN_PIECES.values(), ids=IN_PIECES.keys())
def test_a_value_that_only_drawing_puts_together_is_not_seen(
    before: str, text: str, expected: str
) -> None:
    shown = shell_view.seen(before, text, cols=40, rows=6, redactor=SECRET)

    assert shown == (expected, True)


def test_what_is_no_value_is_seen_as_it_is() -> None:
    shown = shell_view.seen("", f"{LINES}s3c", cols=40, rows=6, redactor=SECRET)

    assert shown == (f"{LINES}s3c".replace("\r", ""), False)


@pytest.mark.parametrize("screen", ["", "\x1b[?1049h\x1b[H"], ids=["lines", "full screen"])
def test_the_screen_that_is_painted_for_one_who_comes_later_has_stars_for_a_value(
    screen: str,
) -> None:
    output = f"{screen}a s3cr\x1b[m3t-value-42 b\r\n{ROW}s3cr \r3t-value-42 c"

    shown = painted(output, cols=40, rows=6, redactor=SECRET).decode()

    assert f"a {15 * '*'} b\r\n{ROW}****\r\n{11 * '*'} c" in shown
