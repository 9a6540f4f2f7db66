"""Tools that are given their input piece by piece."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from pyro_mcp.host.process import run_tool


def test_a_tool_reads_what_it_is_fed() -> None:
    chunks = (b"x" * size for size in (1, 0, 5_000_000, 7))

    finished = run_tool(["wc", "-c"], chunks=chunks)

    assert (finished.status, finished.lines) == (0, ["5000008"])


def test_a_tool_that_ends_early_does_not_hold_its_feeder() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1 << 20)

    assert run_tool(["false"], chunks=endless()).status == 1


def test_what_goes_wrong_with_the_input_is_raised() -> None:
    def broken() -> Iterator[bytes]:
        yield b"beginning"
        raise LookupError("the rest is lost")

    with pytest.raises(LookupError, match="the rest is lost"):
        run_tool(["cat"], chunks=broken())


@pytest.mark.parametrize("flushed", [True, False])
def test_flushing_can_be_left_out(flushed: bool) -> None:
    """Seen from a flush of a file that is not open, which fails if it is carried out."""
    script = "import os; os.fsync(999)"

    finished = run_tool([sys.executable, "-c", script], flushed=flushed)

    assert finished.status == (1 if flushed else 0)
