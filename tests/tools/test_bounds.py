"""What a model is shown has an end; what is cut is said, and can be read."""

from typing import Any

import pytest

from pyro_mcp.errors import InvalidInputError
from pyro_mcp.tools import bounds


def _command(stdout: str) -> dict[str, Any]:
    return {"command": "x", "stdout": stdout, "stderr": "", "stdout_truncated": False}


def test_what_fits_is_left_alone() -> None:
    answer = bounds.streams(_command("a" * 100), limit=100, hint="")

    assert answer == _command("a" * 100)


def test_head_and_tail_are_kept_and_the_rest_is_named() -> None:
    answer = bounds.streams(_command("h" * 50 + "x" * 25 + "t" * 50), limit=100, hint="at {offset}")

    assert answer["stdout"] == f"{'h' * 50}\n[... 25 characters left out; at 50 ...]\n{'t' * 50}"
    assert answer["stdout_truncated"] is True


def test_windows_put_together_are_the_whole() -> None:
    whole = "".join(chr(97 + number % 26) for number in range(1000))
    parts: list[str] = []
    offset: int | None = 0

    while offset is not None:
        answer = bounds.window({"stdout": whole, "stderr": ""}, ("stdout", "stderr"), offset, 300)
        parts.append(answer["stdout"])
        assert answer["stdout_chars"] == 1000
        offset = answer["next_offset"]

    assert "".join(parts) == whole


def test_pages_put_together_are_the_whole() -> None:
    found: list[int] = []
    offset: int | None = 0

    while offset is not None:
        answer = bounds.page({"entries": list(range(25))}, "entries", offset, 10)
        found += answer["entries"]
        assert answer["total"] == 25
        offset = answer["next_offset"]

    assert found == list(range(25))


@pytest.mark.parametrize(("offset", "limit"), [(-1, 10), (0, 0), (0, bounds.MAX_CHARS + 1)])
def test_a_range_that_makes_no_sense_is_refused(offset: int, limit: int) -> None:
    with pytest.raises(InvalidInputError):
        bounds.checked_range(offset, limit)


def test_names_that_are_no_text_can_still_be_sent() -> None:
    """A file name is bytes; as text it may hold what UTF-8 cannot say."""
    name = b"caf\xe9".decode("utf-8", "surrogateescape")

    sent = bounds.sendable({"entries": [{"path": name}]})

    assert sent["entries"][0]["path"].encode() == "caf�".encode()
