"""A page is a mapping of the host, and the host allows so many: no program dies of that.

Each test here fails with the distribution's kernel, or with `um_tlb_drop=0`; the pages that the
kernel provides around those that were written make fewer mappings of many, so once they are off.
"""

from __future__ import annotations

from pyro_mcp.machines.machine import Machine
from tests.kernel.conftest import Boot

PAGES = 80_000
"""More than vm.max_map_count allows (65530 unless the host was set otherwise)."""

_FILL = f"""
import mmap, os, random, struct, sys
PAGE, N = 4096, {PAGES}
m = mmap.mmap(-1, N * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
order = list(range(N))
random.Random(1).shuffle(order)
def write(salt, pages):
    for page in pages:
        struct.pack_into("<Q", m, page * PAGE + page % 500 * 8, page * 7 + salt)
def check(salt, pages):
    for page in pages:
        found, = struct.unpack_from("<Q", m, page * PAGE + page % 500 * 8)
        assert found == page * 7 + salt, (page, found)
write(1, order)
"""

_FORK = """
some = order[::5]
child = os.fork()
if child == 0:
    check(1, some)
    write(2, some)
    check(2, some)
    check(1, order[1::50])
    os._exit(0)
check(1, some)
write(3, some)
assert os.waitpid(child, 0)[1] == 0
check(3, some)
check(1, order[1::50])
"""
_EACH_BY_ITSELF = "um_fault_around=0"


def _run(machine: Machine, program: str) -> str:
    outcome = machine.execute("python3 -", stdin=program.encode(), timeout_seconds=280)
    assert outcome.exit_code == 0, outcome.stderr.text()[-2000:]
    return outcome.stdout.text()


def test_pages_written_in_random_order_hold_what_was_written(roomy: Machine) -> None:
    _run(roomy, _FILL + "random.Random(2).shuffle(order)\ncheck(1, order)\n")


def test_without_the_patch_such_a_program_dies(boot: Boot) -> None:
    machine = boot(_EACH_BY_ITSELF, "um_tlb_drop=0", mem_mib=768)

    outcome = machine.execute("python3 -", stdin=_FILL.encode(), timeout_seconds=280)

    assert outcome.exit_code == 139
    assert machine.execute("echo alive", timeout_seconds=60).stdout.text() == "alive\n"


def test_parent_and_child_of_such_a_program_keep_their_own_pages(roomy: Machine) -> None:
    _run(roomy, _FILL + _FORK)


def test_so_do_they_with_a_mapping_for_each_page(boot: Boot) -> None:
    _run(boot(_EACH_BY_ITSELF, mem_mib=768), _FILL + _FORK)


def test_protections_and_holes_among_them_are_kept(roomy: Machine) -> None:
    """mprotect() and munmap() of single pages each split a mapping of the guest as well."""
    said = _run(
        roomy,
        _FILL
        + """
import ctypes, signal
libc = ctypes.CDLL(None, use_errno=True)
base = ctypes.addressof(ctypes.c_char.from_buffer(m))
address = lambda page: ctypes.c_void_p(base + page * PAGE)
closed, gone, rest = order[:2000], order[2000:4000], order[4000:]
for page in closed:
    assert libc.mprotect(address(page), ctypes.c_size_t(PAGE), 0) == 0
for page in gone:
    assert libc.munmap(address(page), ctypes.c_size_t(PAGE)) == 0
check(1, rest)
write(4, rest[::3])
def dies(page):
    child = os.fork()
    if child == 0:
        m[page * PAGE]
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGSEGV
assert all(dies(page) for page in (closed[0], closed[-1], gone[0], gone[-1]))
for page in closed:
    assert libc.mprotect(address(page), ctypes.c_size_t(PAGE), 3) == 0
check(1, closed)
check(4, rest[::3])
print("whole")
""",
    )

    assert said == "whole\n"


def test_pages_of_a_file_are_read_and_written_in_random_order(roomy: Machine) -> None:
    _run(
        roomy,
        _FILL.replace(
            "m = mmap.mmap(-1, N * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)",
            'file = open("/workspace/pages", "w+b")\n'
            "file.truncate(N * PAGE)\n"
            "m = mmap.mmap(file.fileno(), N * PAGE)",
        )
        + """
check(1, order[::2])
m.close()
file.seek(0)
for page in range(0, N, 97):
    file.seek(page * PAGE + page % 500 * 8)
    assert struct.unpack("<Q", file.read(8))[0] == page * 7 + 1
""",
    )
