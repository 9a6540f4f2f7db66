"""Which files of a workspace and its snapshot are compared, and which are known to be the same."""

from __future__ import annotations

import pytest

from pyro_mcp.machines.files import Change, Side
from pyro_mcp.workspaces.between import between

SECOND = 1_000_000_000
LATEST = ("latest", 9, 100 * SECOND)
"""What was changed last before it was saved."""


def added(path: str, inode: int, changed_ns: int) -> Change:
    side = Side(
        artifact_type="file", size_bytes=5, mode=0o644, version=(inode, changed_ns),
        link_target=None, data=None,
    )  # fmt: skip
    return Change(path=path, status="added", base=None, now=side, content=True)


def compared(saved: tuple[int, int], live: tuple[int, int]) -> list[str]:
    """The files of which it is asked whether they are the same."""
    asked: list[str] = []

    def same(paths: list[str]) -> set[str]:
        asked.extend(paths)
        return set(paths)

    then = [added("file", *saved), added(*LATEST)]
    now = [added("file", *live), added(*LATEST)]
    assert between(then, now, same) == []
    return [path for path in asked if path == "file"]


def test_a_file_that_was_not_touched_since_is_not_compared() -> None:
    assert compared((1, 50 * SECOND), (1, 50 * SECOND)) == []


@pytest.mark.parametrize(
    ("saved", "live"),
    [
        pytest.param((1, 50 * SECOND), (1, 200 * SECOND), id="changed since"),
        pytest.param((1, 50 * SECOND), (2, 50 * SECOND), id="another in its place"),
        pytest.param((1, LATEST[2] - 1), (1, LATEST[2] - 1), id="within a tick of being saved"),
    ],
)
def test_what_may_have_changed_is_compared(saved: tuple[int, int], live: tuple[int, int]) -> None:
    assert compared(saved, live) == ["file"]
