"""The kernel's record of what was written to a disk, which a copy of a running disk follows."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyro_mcp.host.files import copy_sparse, copy_stretches
from pyro_mcp.machines.machine import Machine
from pyro_mcp.machines.stillness import Record, frozen
from tests.kernel.conftest import Boot

_BLOCK = 64 << 10
_BUSY = """
until [ -e /tmp/enough ]; do
    dd if=/dev/urandom of=/workspace/large bs=64k count=40 seek=$(($(date +%N | tail -c 4) % 400)) \
        conv=notrunc 2>/dev/null
    echo 1 >/workspace/small; rm -f /workspace/gone; cp /etc/passwd /workspace/gone; sync
done
"""


def _disk(machine: Machine) -> Path:
    (disk,) = machine.directory.glob("data*.ext4")
    return disk


def _size(machine: Machine) -> int:
    return _disk(machine).stat().st_size


@contextmanager
def _busy(machine: Machine) -> Iterator[None]:
    """It writes all the time, files large and small, in place and anew."""
    thread = threading.Thread(
        target=machine.execute, args=(_BUSY,), kwargs={"timeout_seconds": 300}
    )
    thread.start()
    try:
        machine.execute("until [ -e /workspace/gone ]; do sleep 0.1; done", timeout_seconds=60)
        yield
    finally:
        machine.execute("touch /tmp/enough", timeout_seconds=60)
        thread.join(300)


def test_whatever_differs_between_two_moments_was_told_of(boot: Boot, tmp_path: Path) -> None:
    machine = boot()
    disk, before = _disk(machine), tmp_path / "before"
    with _busy(machine):
        record = Record.begin(machine.directory, _size(machine))
        assert record is not None
        with frozen(machine.directory, record=record):
            copy_sparse(disk, before, variable="X")
        machine.execute("head -c 3000000 /dev/urandom >/workspace/more; sync", timeout_seconds=60)

        with frozen(machine.directory, seconds=60, record=record) as written:
            assert written is not None
            differ = set(_differing(disk, before))

    told = {at // _BLOCK for start, end in written for at in range(start, end, _BLOCK)}
    assert differ
    assert differ <= told
    assert len(told) < _size(machine) // _BLOCK / 10


def test_a_copy_that_followed_a_busy_guest_is_the_frozen_disk(boot: Boot, tmp_path: Path) -> None:
    machine = boot()
    disk, copy = _disk(machine), tmp_path / "copy"
    with _busy(machine):
        record = Record.begin(machine.directory, _size(machine))
        assert record is not None
        copy_sparse(disk, copy, variable="X")
        for _ in range(3):
            copy_stretches(disk, copy, record.written() or [], variable="X")
        with frozen(machine.directory, seconds=60, record=record) as written:
            assert written
            copy_stretches(disk, copy, written, variable="X")
            differ = list(_differing(disk, copy))

    assert differ == []


def test_blocks_that_are_given_back_count_as_written(boot: Boot, tmp_path: Path) -> None:
    machine = boot()
    disk, before = _disk(machine), tmp_path / "before"
    machine.execute("head -c 3000000 /dev/urandom >/workspace/old; sync", timeout_seconds=60)
    record = Record.begin(machine.directory, _size(machine))
    assert record is not None
    with frozen(machine.directory):
        copy_sparse(disk, before, variable="X")

    done = machine.execute(
        "fallocate -z -l 3000000 /workspace/old; sync; rm /workspace/old; sync", timeout_seconds=60
    )
    assert done.exit_code == 0, done.stderr.text()

    with frozen(machine.directory, seconds=60, record=record) as written:
        assert written
        copy_stretches(disk, before, written, variable="X")
        assert list(_differing(disk, before)) == []


def test_a_later_record_ends_an_earlier_one(boot: Boot) -> None:
    """Of two who copy, one may have been killed and its request still be under way."""
    machine = boot()
    earlier = Record.begin(machine.directory, _size(machine))
    later = Record.begin(machine.directory, _size(machine))
    assert earlier is not None
    assert later is not None
    machine.execute("echo here >/workspace/a; sync", timeout_seconds=60)

    assert earlier.written() is None
    with frozen(machine.directory, record=earlier) as written:
        assert written is None
    assert later.written()


@pytest.mark.parametrize(("parameter", "kept"), [("um_written_map=4", 4), ("um_written_map=0", 0)])
def test_the_record_can_be_finer_and_can_be_off(boot: Boot, parameter: str, kept: int) -> None:
    machine = boot(parameter)

    record = Record.begin(machine.directory, _size(machine))

    if not kept:
        assert record is None
        return
    assert record is not None
    record.written()
    machine.execute("echo here >/workspace/a; sync", timeout_seconds=60)
    written = record.written()
    assert written
    assert sum(end - start for start, end in written) < 2 << 20
    assert all(start % (kept << 10) == 0 for start, _ in written)


def _differing(disk: Path, other: Path) -> Iterator[int]:
    """The numbers of the blocks that are not the same; where both have holes there is nothing."""
    size = disk.stat().st_size
    assert other.stat().st_size == size
    with disk.open("rb") as one, other.open("rb") as two:
        at = 0
        while at < size:
            at = min(_data(one.fileno(), at, size), _data(two.fileno(), at, size))
            at -= at % _BLOCK
            if os.pread(one.fileno(), _BLOCK, at) != os.pread(two.fileno(), _BLOCK, at):
                yield at // _BLOCK
            at += _BLOCK


def _data(descriptor: int, at: int, size: int) -> int:
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size
        raise
