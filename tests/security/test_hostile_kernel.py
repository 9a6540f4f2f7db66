"""A program in the kernel's place: what code that owns the kernel process could do on the host.

User-mode Linux does not keep guest processes from the memory of their kernel, so a guest may come
to run what it likes there. Here Python takes that place, in the very jail a machine gets.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pyro_mcp.jail import limits
from pyro_mcp.jail.bubblewrap import confine
from pyro_mcp.jail.seccomp import program
from pyro_mcp.machines.choose import find_tools
from pyro_mcp.machines.monitor.launch import start_jail
from pyro_mcp.machines.spec import Images

_MIB = 1 << 20
_MEM_MIB = 256
_DISK_BYTES = 4 * _MIB

# The list has no calls that Python's own functions would use for more than a little.
_PRELUDE = """
import os
from errno import errorcode
def attempt(work):
    try: work()
    except OSError as error: return errorcode.get(error.errno)
    except MemoryError: return "ENOMEM"
    return "ok"
"""


class Hostile(NamedTuple):
    """How the program in the kernel's place ended, and what it reported."""

    status: int
    answer: Any
    disk_bytes: int


@pytest.fixture
def hostile(images: Images, tmp_path: Path) -> Any:
    """Run Python code as the kernel process of a jail with one disk, `/run/disks/data`."""
    usr = images.jail_root.parent / "tree" / "usr"
    root = tmp_path / "root"
    for folder in ("usr", "dev", "run/disks", "tmp"):
        (root / folder).mkdir(parents=True)
    for link in ("lib", "lib64"):
        (root / link).symlink_to(f"usr/{link}")
    # pytest's directories are closed, as root's are: what the jail may see, it is given.
    disk = tmp_path / "disk"
    disk.write_bytes(b"\0" * _DISK_BYTES)
    tools = find_tools()

    def run(code: str) -> Hostile:
        uid = limits.jail_uid()
        if uid is not None:
            os.chown(disk, uid, uid)
        confinement = confine(
            ["/usr/bin/python3", "-I", "-S", "-B", "-c", _PRELUDE + code],
            root=str(root),
            exposed=[(str(usr), "/usr", False), (str(disk), "/run/disks/data", True)],
            scratch_bytes=(_MEM_MIB + 16) * _MIB,
            environment={"HOME": "/tmp", "TMPDIR": "/tmp"},
            bwrap=tools.bwrap,
            setarch=tools.setarch,
        )
        reader, writer = os.pipe()
        pid = start_jail(
            confinement.argv,
            dict(confinement.sources),
            seccomp=program("uml"),
            limits=limits.rlimits(mem_mib=_MEM_MIB, disk_bytes=_DISK_BYTES),
            uid=uid,
            cpu=None,
            console=writer,
        )
        os.close(writer)
        with os.fdopen(reader, "rb") as console:
            said = console.read().decode()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        try:
            answer = json.loads(said.splitlines()[-1])
        except (ValueError, IndexError):
            answer = said
        return Hostile(status, answer, disk.stat().st_size)

    return run


def test_the_jail_holds_nothing_but_what_the_kernel_needs(hostile: Any) -> None:
    outcome = hostile(
        """
import json
print(json.dumps([sorted(os.listdir("/run")), sorted(os.listdir("/dev")),
                  sorted(os.listdir("/tmp")), os.listdir("/run/disks"),
                  os.path.exists("/proc/self"), os.path.exists("/sys/kernel")]))
"""
    )

    assert outcome.answer == [["disks"], ["null", "urandom"], [], ["data"], False, False]


def test_nothing_but_scratch_can_be_written(hostile: Any) -> None:
    outcome = hostile(
        """
import json
def make(path): return attempt(lambda: os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)))
print(json.dumps([make(p) for p in ("/x", "/usr/x", "/dev/x", "/run/x", "/run/disks/x", "/tmp/x")]))
"""
    )

    assert outcome.answer == ["EROFS"] * 5 + ["ok"]


def test_no_socket_leaves_the_jail(hostile: Any) -> None:
    outcome = hostile(
        """
import _socket, json
print(json.dumps([attempt(lambda: _socket.socket(f, t, 0)) for f, t in
                  ((2, 1), (2, 2), (10, 1), (16, 3), (17, 3), (40, 1), (38, 5))]))
"""
    )

    assert set(outcome.answer) == {"EPERM"}


def test_no_mount_namespace_or_trace(hostile: Any) -> None:
    outcome = hostile(
        """
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *words):
    ctypes.set_errno(0)
    libc.syscall(number, *map(ctypes.c_long, words))
    return errorcode.get(ctypes.get_errno(), "ok")
print(json.dumps({
    "mount": call(165, 0, 0, 0, 0, 0), "unshare": call(272, 0x10000000),
    "setns": call(308, 0, 0), "clone a namespace": call(56, 0x10000000 | 17, 0, 0, 0, 0),
    "ptrace": call(101, 16, 1, 0, 0), "read memory": call(310, 1, 0, 0, 0, 0, 0),
    "chroot": call(161, 0), "pivot_root": call(155, 0, 0), "io_uring": call(425, 1, 0),
    "bpf": call(321, 0, 0, 0), "keys": call(250, 0, 0, 0, 0, 0), "truncate": call(77, 0, 0),
    "memory file": call(319, 0, 0), "set a limit": call(160, 0, 0),
}))
"""
    )

    refused = {name: answer for name, answer in outcome.answer.items() if answer == "ok"}
    assert refused == {}


def test_no_process_of_the_host_can_be_signalled(hostile: Any) -> None:
    """Not even named: the jail numbers its own processes from 1."""
    outcome = hostile(
        f"""
import json
print(json.dumps([os.getpid(), attempt(lambda: os.kill({os.getpid()}, 9)),
                  attempt(lambda: os.kill({os.getppid()}, 9))]))
"""
    )

    assert outcome.answer == [2, "ESRCH", "ESRCH"]


def test_the_disk_cannot_be_made_larger_or_smaller(hostile: Any) -> None:
    """Larger would fill the host; smaller would end a monitor that has it mapped."""
    outcome = hostile(
        f"""
import json, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
disk = os.open("/run/disks/data", os.O_RDWR)
print(json.dumps([
    attempt(lambda: os.ftruncate(disk, 0)),
    attempt(lambda: os.ftruncate(disk, 1 << 40)),
    attempt(lambda: os.truncate("/run/disks/data", 0)),
    attempt(lambda: os.open("/run/disks/data", os.O_RDWR | os.O_TRUNC)),
    attempt(lambda: os.posix_fallocate(disk, 0, 1 << 40)),
    attempt(lambda: os.pwrite(disk, b"x", {_MEM_MIB * _MIB})),
    attempt(lambda: os.pwrite(disk, b"x", 1 << 40)),
]))
"""
    )

    assert outcome.answer[:4] == ["ENOSYS", "ENOSYS", "ENOSYS", "EPERM"]
    assert outcome.answer[4] in ("EPERM", "EFBIG", "ENOSYS")
    assert outcome.answer[5:] == ["EFBIG", "EFBIG"]
    assert outcome.disk_bytes == _DISK_BYTES


def test_scratch_has_an_end(hostile: Any) -> None:
    outcome = hostile(
        """
import json
written = 0
def fill():
    global written
    for n in range(64):
        file = os.open(f"/tmp/{n}", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        for _ in range(16):
            written += os.write(file, b"x" * (1 << 20))
print(json.dumps([attempt(fill), written >> 20]))
"""
    )

    assert outcome.answer[0] == "ENOSPC"
    assert outcome.answer[1] <= _MEM_MIB + 16


def test_a_process_gets_little_memory_beside_scratch(hostile: Any) -> None:
    outcome = hostile(
        """
import json
kept = []
def grow():
    for _ in range(4096):
        kept.append(bytearray(b"x") * (1 << 20))
result = attempt(grow)
got = len(kept)
kept.clear()
print(json.dumps([result, got]))
"""
    )

    assert outcome.answer[0] == "ENOMEM"
    assert outcome.answer[1] <= 64


@pytest.mark.skipif(os.geteuid() != 0, reason="counted only for a uid that is the machine's own")
def test_processes_cannot_multiply_without_end(hostile: Any) -> None:
    outcome = hostile(
        """
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
children = 0
while children < 5000:
    ctypes.set_errno(0)
    # The C library's fork asks for flags that a kernel process does not: call it directly.
    child = libc.syscall(56, 17, 0, 0, 0, 0)
    if child == 0:
        while True: libc.poll(0, 0, -1)
    if child < 0:
        break
    children += 1
print(json.dumps([errorcode.get(ctypes.get_errno()), children]), flush=True)
os._exit(0)
"""
    )

    assert outcome.answer[0] == "EAGAIN"
    assert outcome.answer[1] <= limits.rlimits(mem_mib=_MEM_MIB, disk_bytes=1)["RLIMIT_NPROC"]


def test_all_of_a_jail_ends_with_its_outermost_process(hostile: Any) -> None:
    """Nothing can detach: process 1 of the jail takes all others with it."""
    outcome = hostile(
        """
import ctypes, signal
libc = ctypes.CDLL(None)
for _ in range(3):
    if libc.syscall(56, 17, 0, 0, 0, 0) == 0:
        os.setsid()
        for n in range(1, 32): attempt(lambda: signal.signal(n, signal.SIG_IGN))
        while True: libc.poll(0, 0, -1)
os._exit(5)
"""
    )

    assert outcome.status == 5
    # What is left of it would be found by the check after every test.
