"""What a jail's processes may not exceed, and under which number they run."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyro_mcp.jail.limits import jail_uid, rlimits
from tests.support import needs

_GIB = 1 << 30
_HIGH = range(0x7000_0000, 0x7800_0000)
_ROOT = os.geteuid() == 0
_SAY_UID = "from pyro_mcp.jail.limits import jail_uid; print(jail_uid())"


def test_every_limit_is_one_this_system_knows() -> None:
    for name, value in rlimits(mem_mib=512, disk_bytes=_GIB).items():
        assert isinstance(getattr(resource, name), int)
        assert 0 <= value < resource.RLIM_INFINITY or value >= 0


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
    code = f"{_SAY_UID}; from pyro_mcp.jail.limits import rlimits;" \
        "print('RLIMIT_NPROC' in rlimits(mem_mib=512, disk_bytes=1))"  # fmt: skip

    assert _answer(code, uid=65534) == ["None", "False"]


def test_root_of_a_user_namespace_with_one_uid_keeps_it() -> None:
    """In a rootless container there is no other number to change to."""
    assert _answer(_SAY_UID, wrapper=[needs("unshare"), "--map-root-user"]) == ["None"]


@pytest.mark.skipif(not _ROOT, reason="only root can drop its capabilities")
def test_root_without_the_capability_to_change_uid_keeps_it() -> None:
    drop = [needs("setpriv"), "--bounding-set", "-setuid", "--inh-caps", "-setuid"]

    assert _answer(_SAY_UID, wrapper=drop) == ["None"]


def _answer(code: str, *, uid: int | None = None, wrapper: list[str] | None = None) -> list[str]:
    # Imported by path: this interpreter's packages may not be readable for another uid.
    def become() -> None:
        if uid is not None and _ROOT:
            os.setgid(uid)
            os.setuid(uid)

    argv = [*(wrapper or []), sys.executable, "-S", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, preexec_fn=become)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
