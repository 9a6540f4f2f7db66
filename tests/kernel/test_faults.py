"""Memory that a program is refused, or that is lost: what other kernels do is done."""

from __future__ import annotations

import pytest

from pyro_mcp.machines.machine import Machine
from tests.kernel.conftest import Boot

_PROTECTED = """
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
m = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
m[:4] = b"then"
base = ctypes.addressof(ctypes.c_char.from_buffer(m))
assert libc.mprotect(ctypes.c_void_p(base), ctypes.c_size_t(4096), mmap.PROT_READ) == 0
with open("/proc/self/mem", "r+b", buffering=0) as memory:
    memory.seek(base)
    try:
        memory.write(b"over")
    except OSError as error:
        print(error.strerror)
print(m[:4].decode())
"""

# linux/userfaultfd.h, asm-generic/siginfo.h.
_POISONED = """
import ctypes, fcntl, mmap, os, signal, struct
libc = ctypes.CDLL(None, use_errno=True)
m = mmap.mmap(-1, 2 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
base = ctypes.addressof(ctypes.c_char.from_buffer(m))
uffd = libc.syscall(323, os.O_CLOEXEC | os.O_NONBLOCK | 1)
assert uffd >= 0, ctypes.get_errno()
POISON = 1 << 14
fcntl.ioctl(uffd, 0xC018AA3F, struct.pack("QQQ", 0xAA, POISON, 0))
fcntl.ioctl(uffd, 0xC020AA00, struct.pack("QQQQ", base, 4096, 1, 0))
fcntl.ioctl(uffd, 0xC020AA08, struct.pack("QQQq", base, 4096, 0, 0))

out, into = os.pipe()
assert libc.write(into, ctypes.c_void_p(base), ctypes.c_size_t(16)) == -1
print("the kernel:", os.strerror(ctypes.get_errno()), flush=True)

@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def caught(number, info, _context):
    code, = struct.unpack_from("8xi", ctypes.string_at(info, 12))
    address, size = struct.unpack_from("16xQh", ctypes.string_at(info, 26))
    print(f"signal {number}, code {code}, at {address - base}, of {1 << size} bytes", flush=True)
    os._exit(0)

class SigAction(ctypes.Structure):
    _fields_ = [("handler", ctypes.c_void_p), ("mask", ctypes.c_ulong * 16),
                ("flags", ctypes.c_int), ("restorer", ctypes.c_void_p)]
action = SigAction(ctypes.cast(caught, ctypes.c_void_p).value, (ctypes.c_ulong * 16)(), 4, None)
assert libc.sigaction(signal.SIGBUS, ctypes.byref(action), None) == 0
libc.memset(ctypes.c_void_p(base + 24), 1, ctypes.c_size_t(1))
print("nothing happened")
"""


@pytest.mark.parametrize(
    ("override", "said"), [("always", "over\n"), ("ptrace", "Input/output error\nthen\n")]
)
def test_a_program_writes_its_own_protected_memory_as_on_debian(
    boot: Boot, override: str, said: str
) -> None:
    """Debuggers and compilers in one process do that; `always` is how the kernel is built."""
    machine = boot() if override == "always" else boot(f"proc_mem.force_override={override}")

    outcome = machine.execute("python3 -", stdin=_PROTECTED.encode(), timeout_seconds=60)

    assert outcome.stdout.text() == said, outcome.stderr.text()


def test_a_poisoned_page_ends_whoever_touches_it_and_not_the_guest(roomy: Machine) -> None:
    outcome = roomy.execute("python3 -", stdin=_POISONED.encode(), timeout_seconds=60)

    # SIGBUS, BUS_MCEERR_AR
    assert outcome.stdout.text() == (
        "the kernel: Bad address\nsignal 7, code 4, at 24, of 4096 bytes\n"
    ), outcome.stderr.text()
    assert roomy.execute("echo alive", timeout_seconds=60).stdout.text() == "alive\n"
