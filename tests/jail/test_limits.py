"""What a jail's processes may not exceed, and under which number they run."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pyro_mcp.jail.limits import jail_uid, rlimits
from tests.jail.child import in_child

_GIB = 1 << 30
_HIGH = range(0x7000_0000, 0x7800_0000)
_ROOT = os.geteuid() == 0
_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER = 0x10000000


def test_every_limit_is_one_this_system_knows() -> None:
    for name, value in rlimits(mem_mib=512, disk_bytes=_GIB).items():
        assert isinstance(getattr(resource, name), int)
        assert value >= 0


@pytest.mark.parametrize(
    ("mem_mib", "disk_bytes", "file_bytes"),
    [(256, 4 * _GIB, 4 * _GIB), (8192, 4 * _GIB, 8 * _GIB)],
)
def test_no_file_outgrows_the_larger_of_disk_and_memory(
    mem_mib: int, disk_bytes: int, file_bytes: int
) -> None:
    assert rlimits(mem_mib=mem_mib, disk_bytes=disk_bytes)["RLIMIT_FSIZE"] == file_bytes


def test_a_disk_cannot_be_written_beyond_its_end(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"\0" * 4096)
    # The memory file of the smallest guest is the larger one here: take the limit it gives.
    end = rlimits(mem_mib=1, disk_bytes=4096)["RLIMIT_FSIZE"]
    code = (
        "import os, resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({end}, {end}))\n"
        "disk = os.open(sys.argv[1], os.O_WRONLY)\n"
        f"print(os.pwrite(disk, b'xx', {end - 1}), flush=True)\n"
        f"os.pwrite(disk, b'x', {end})\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(disk)], capture_output=True, text=True, check=False
    )

    # Python ignores SIGXFSZ and raises; a kernel process would end by it.
    assert done.stdout == "1\n"
    assert "File too large" in done.stderr or done.returncode == -signal.SIGXFSZ
    assert disk.stat().st_size == end


def test_no_core_file_of_a_guest_is_written() -> None:
    """It would hold the guest's memory."""
    assert rlimits(mem_mib=512, disk_bytes=_GIB)["RLIMIT_CORE"] == 0


@pytest.mark.skipif(not _ROOT, reason="only root can give machines uids of their own")
def test_root_gives_each_machine_a_uid_nobody_else_has() -> None:
    uids = {jail_uid() for _ in range(8)}

    assert len(uids) == 8
    assert all(uid in _HIGH for uid in uids)


@pytest.mark.skipif(not _ROOT, reason="only root's machines have uids of their own")
def test_processes_are_counted_where_the_uid_is_the_machines_own() -> None:
    assert "RLIMIT_NPROC" in rlimits(mem_mib=512, disk_bytes=_GIB)


def test_an_ordinary_user_keeps_the_uid_and_its_other_processes_do_not_count() -> None:
    def ordinary() -> list[object]:
        if _ROOT:
            os.setgid(65534)
            os.setuid(65534)
        return [jail_uid(), "RLIMIT_NPROC" in rlimits(mem_mib=512, disk_bytes=_GIB)]

    assert in_child(ordinary) == [None, False]


def test_root_of_a_user_namespace_with_one_uid_keeps_it() -> None:
    """In a rootless container there is no other number to change to."""

    def contained() -> list[int | None]:
        uid, gid = os.geteuid(), os.getegid()
        assert _LIBC.unshare(_CLONE_NEWUSER) == 0
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        return [os.geteuid(), jail_uid()]

    assert in_child(contained) == [0, None]


@pytest.mark.skipif(not _ROOT, reason="only root can map more than one uid directly")
def test_root_of_a_container_takes_nobody() -> None:
    """Containers have 65536 numbers as a rule: none of the high ones, but 65534."""

    def contained() -> list[int | None]:
        ready, mapped = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            _LIBC.unshare(_CLONE_NEWUSER)
            os.write(ready[1], b"x")
            os.read(mapped[0], 1)
            os.setuid(0)
            os._exit(200 if jail_uid() == 65534 else 1)
        os.read(ready[0], 1)
        for table in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{table}").write_text("0 100000 65536")
        os.write(mapped[1], b"x")
        return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]

    assert in_child(contained) == [200]


@pytest.mark.skipif(not _ROOT, reason="only root has capabilities to drop")
def test_root_without_the_capability_to_change_uid_keeps_it() -> None:
    def weakened() -> int | None:
        header = struct.pack("<Ii", 0x20080522, 0)
        status = Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0]
        held = int(status, 16)
        rest = held & ~(1 << 7)
        low, high = rest & 0xFFFFFFFF, rest >> 32
        assert _LIBC.capset(header, struct.pack("<6I", low, low, 0, high, high, 0)) == 0
        return jail_uid()

    assert in_child(weakened) is None
