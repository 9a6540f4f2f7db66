"""The filter as the host's kernel applies it: what a jailed process tries, and what it gets."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pyro_mcp.jail.seccomp import program
from tests.jail.child import in_child
from tests.support import needs, until

# System calls that no list of ours names, by their x86-64 number.
_NEVER = {
    "pipe": 22, "shmget": 29, "ptrace": 101, "syslog": 103, "setuid": 105, "mknod": 133,
    "pivot_root": 155, "chroot": 161, "mount": 165, "umount2": 166, "reboot": 169,
    "init_module": 175, "add_key": 248, "keyctl": 250, "ioctl": 16, "truncate": 76,
    "ftruncate": 77, "rename": 82, "link": 86, "symlink": 88, "chmod": 90, "unshare": 272,
    "splice": 275, "perf_event_open": 298, "open_by_handle_at": 304, "setns": 308,
    "process_vm_readv": 310, "process_vm_writev": 311, "finit_module": 313, "memfd_create": 319,
    "kexec_load": 246, "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "pidfd_open": 434, "clone3": 435, "pidfd_getfd": 438,
    "mount_setattr": 442, "landlock_create_ruleset": 444, "memfd_secret": 447,
    "open": 2, "bind": 49, "listen": 50, "sendto": 44, "setrlimit": 160, "personality": 135,
}  # fmt: skip

_POLL = 7
_SECCOMP = 317
_PR_SET_NO_NEW_PRIVS = 38
_MAP_SHARED_ANONYMOUS = 0x21
_CLONE_NEWUSER = 0x10000000

# Listed, and refused with these arguments.
_REFUSED = {
    "socket AF_INET": (41, 2, 1, 0),
    "socket AF_INET6": (41, 10, 1, 0),
    "socket AF_NETLINK": (41, 16, 3, 0),
    "socket AF_PACKET": (41, 17, 3, 0),
    "socket AF_VSOCK": (41, 40, 1, 0),
    "socket AF_ALG": (41, 38, 5, 0),
    "socket AF_UNIX, datagrams": (41, 1, 2, 0),
    "clone into a user namespace": (56, _CLONE_NEWUSER | 17, 0, 0, 0, 0),
    "clone into a mount namespace": (56, 0x20000 | 17, 0, 0, 0, 0),
    "clone untraced": (56, 0x800000 | 17, 0, 0, 0, 0),
    "openat O_TRUNC": (257, -100, b"/dev/null", 0o1001, 0),
    "openat O_APPEND": (257, -100, b"/dev/null", 0o2001, 0),
    "openat O_PATH": (257, -100, b"/dev/null", 0o10000000, 0),
    "mmap shared anonymous, large": (9, 0, 1 << 20, 3, _MAP_SHARED_ANONYMOUS, -1, 0),
    "mmap huge pages": (9, 0, 1 << 21, 3, 0x40022, -1, 0),
    "mmap locked": (9, 0, 4096, 3, 0x2022, -1, 0),
    "prlimit64 that sets": (302, 0, 7, b"\xff" * 16, 0),
    "prlimit64 of another": (302, 1, 7, 0, 0),
    "prctl PR_SET_DUMPABLE": (157, 4, 1, 0, 0, 0),
    "prctl PR_SET_MM": (157, 35, 1, 0, 0, 0),
    "seccomp with a listener": (317, 1, 8, 0),
    "fcntl F_SETLEASE": (72, 0, 1024, 0),
    "fcntl F_SETPIPE_SZ": (72, 0, 1031, 1 << 20),
    "fallocate, growing": (285, 0, 0, 0, 4096),
    "fallocate, collapsing": (285, 0, 8, 0, 4096),
    "madvise MADV_HUGEPAGE": (28, 0, 4096, 14),
    "execveat of a path": (322, -100, b"/bin/true", 0, 0, 0),
    "timer_create CLOCK_BOOTTIME_ALARM": (222, 9, 0, 0),
}


class _Fprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def _apply_filter(libc: ctypes.CDLL) -> None:
    """Put this process under the filter, for good."""
    compiled = program("uml")
    buffer = ctypes.create_string_buffer(compiled, len(compiled))
    filters = _Fprog(len(compiled) // 8, ctypes.addressof(buffer))
    assert libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.syscall(_SECCOMP, 1, 0, ctypes.byref(filters)) == 0


def _under_the_filter(calls: list[tuple[int | bytes, ...]]) -> list[int]:
    """Errors (0 for none) of these system calls, made by a child that carries the filter."""
    libc = ctypes.CDLL(None, use_errno=True)

    def make(number: int | bytes, *arguments: int | bytes) -> int:
        words = [a if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]
        ctypes.set_errno(0)
        return ctypes.get_errno() if libc.syscall(number, *words) == -1 else 0

    def work() -> list[int]:
        _apply_filter(libc)
        return [make(*call) for call in calls]

    answers = in_child(work)
    assert isinstance(answers, list)
    return answers


def test_what_is_not_listed_does_not_exist() -> None:
    calls: list[tuple[int | bytes, ...]] = [(number, 0, 0, 0, 0) for number in _NEVER.values()]

    answers = dict(zip(_NEVER, _under_the_filter(calls), strict=True))

    assert answers == dict.fromkeys(_NEVER, errno.ENOSYS)


@pytest.mark.parametrize("what", _REFUSED)
def test_what_is_listed_is_refused_with_other_arguments(what: str) -> None:
    assert _under_the_filter([_REFUSED[what]]) == [errno.EPERM]


def test_a_pair_of_unix_sockets_and_the_clock_are_there() -> None:
    """The filter is seen to be open where it should be, not merely shut."""
    pair, moment = b"\0" * 8, b"\0" * 16

    assert _under_the_filter([(53, 1, 1, 0, pair), (228, 1, moment), (39,)]) == [0, 0, 0]


def test_bubblewrap_takes_the_program_and_holds_a_program_to_it() -> None:
    probe = (
        "import os, sys\n"
        "try: os.truncate('/dev/null', 0)\n"
        "except OSError as error: print(error.errno)\n"
        "print(open('/proc/self/status').read())"
    )
    descriptor = os.memfd_create("filter")
    try:
        os.write(descriptor, program("uml"))
        os.lseek(descriptor, 0, os.SEEK_SET)
        # fmt: off
        done = subprocess.run(
            [
                needs("bwrap"), "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc",
                "--seccomp", str(descriptor), sys.executable, "-I", "-S", "-c", probe,
            ],
            pass_fds=[descriptor], capture_output=True, text=True, check=False,
        )
        # fmt: on
    finally:
        os.close(descriptor)

    assert done.stdout.startswith(f"{errno.ENOSYS}\n"), done.stderr
    assert "Seccomp:\t2" in done.stdout
    assert "NoNewPrivs:\t1" in done.stdout


def test_a_wait_goes_on_after_a_stop() -> None:
    """A paused machine is stopped and continued; its kernel must not see its poll fail."""
    libc = ctypes.CDLL(None, use_errno=True)
    reader, writer = os.pipe()
    waiting = struct.pack("<ihh", reader, select.POLLIN, 0)
    child = os.fork()
    if child == 0:
        _apply_filter(libc)
        failed = libc.syscall(_POLL, waiting, ctypes.c_long(1), ctypes.c_long(60_000)) != 1
        os._exit(ctypes.get_errno() if failed else 0)
    try:
        until(lambda: Path(f"/proc/{child}/syscall").read_text().startswith(f"{_POLL} "))
        os.kill(child, signal.SIGSTOP)
        os.waitpid(child, os.WUNTRACED)
        os.kill(child, signal.SIGCONT)
        os.waitpid(child, os.WCONTINUED)
        until(lambda: "State:\tS" in Path(f"/proc/{child}/status").read_text())
        os.write(writer, b"x")

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        os.close(reader)
        os.close(writer)
