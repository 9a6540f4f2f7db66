"""What a guest prints: kept within limits, and no reason to end the machine."""

from __future__ import annotations

import os
from pathlib import Path

from pyro_mcp.machines.monitor.console import FILE_LIMIT, Console


def test_the_end_is_kept_in_memory_and_the_beginning_in_the_file(tmp_path: Path) -> None:
    console = Console(str(tmp_path / "log"))
    total = 0
    while total <= FILE_LIMIT:
        total += os.write(console.writer, b"a line of the kernel's\n" * 1000)
        console.read()
    os.write(console.writer, b"the last words\n")
    console.started()

    assert not console.read()
    assert console.tail().endswith("the last words")
    console.close()
    assert (tmp_path / "log").stat().st_size == FILE_LIMIT


def test_a_host_without_room_does_not_end_the_machine() -> None:
    """A guest whose disk cannot grow says so there, and it is on the same file system."""
    console = Console("/dev/full")
    os.write(console.writer, b"I/O error\n")

    assert console.read()
    assert console.tail() == "I/O error"
    console.close()
