"""What programs ask of the kernel: all that works on the distribution's works on pyro's own.

A step that fails is tried on the distribution's kernel as well. If it fails there too it is
reported as expected, with what it said; else the kernel that comes with pyro has a fault.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pyro_mcp.config import DEBIAN_KERNEL, OWN_KERNEL
from tests.real_programs.conftest import Machines

STRESSORS = (
    *("bad-altstack", "brk", "clone", "context", "cyclic", "daemon", "dup", "env", "epoll"),
    *("eventfd", "exec", "fault", "fork", "fpunch", "futex", "getrandom", "itimer", "madvise"),
    *("mcontend", "membarrier", "memfd", "memthrash", "mincore", "mlock", "mmap", "mmapaddr"),
    *("mmapfixed", "mmapfork", "mmapmany", "mprotect", "mq", "mremap", "msg", "msync", "munmap"),
    *("mutex", "pageswap", "pipe", "poll", "pthread", "ptrace", "race-sched", "remap", "resources"),
    *(
        "rmap",
        "rseq",
        "sem",
        "sem-sysv",
        "shm",
        "shm-sysv",
        "sigabrt",
        "sigchld",
        "sigfd",
        "sigfpe",
    ),
    *("sigio", "sigpending", "sigpipe", "sigq", "sigrt", "sigsegv", "sigsuspend", "sigtrap"),
    *("skiplist", "sock", "sockpair", "spawn", "splice", "stack", "stackmmap", "switch", "timer"),
    *("timerfd", "tlb-shootdown", "tmpfs", "tree", "unshare", "vfork", "vm", "vm-splice", "wait"),
    *("yield", "zero", "zombie"),
)
CPYTHON = (
    *("test_os", "test_posix", "test_subprocess", "test_threading", "test_thread", "test_mmap"),
    *("test_signal", "test_fork1", "test_wait3", "test_wait4", "test_selectors", "test_epoll"),
    *("test_pty", "test_fcntl", "test_resource", "test_time", "test_tempfile", "test_socket"),
    *("test_asyncio", "test_concurrent_futures", "test_multiprocessing_fork"),
    *("test_faulthandler", "test_gc", "test_zlib", "test_shutil", "test_ctypes"),
)


def _works(machines: Machines, command: str, *, seconds: float = 900, stdin: str = "") -> None:
    first = machines[OWN_KERNEL].execute(command, timeout_seconds=seconds, stdin=stdin.encode())
    if first.exit_code == 0:
        return
    said = (first.stdout.text() + first.stderr.text())[-3000:]
    second = machines[DEBIAN_KERNEL].execute(command, timeout_seconds=seconds, stdin=stdin.encode())
    if second.exit_code == 0:
        pytest.fail(
            f"works on the distribution's kernel, and here ended {first.exit_code}:\n{said}"
        )
    pytest.xfail(f"on both kernels: {said[-300:]}")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("stressor", STRESSORS)
def test_stress(machines: Machines, stressor: str) -> None:
    _works(
        machines,
        f"cd /tmp && stress-ng --{stressor} 2 --verify --timeout 2 --metrics-brief --vm-bytes 200M "
        "--vm-method all --temp-path /tmp 2>&1",
        seconds=120,
    )


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("module", CPYTHON)
def test_cpython(machines: Machines, module: str) -> None:
    """UDP-Lite apart, which Linux 7.2 no longer has."""
    tests = f"python3 -m test --timeout 300 --ignore '*UDPLITE*' {module}"
    _works(machines, f"cd /tmp && {tests} 2>&1", seconds=900)


@pytest.mark.timeout(1800)
def test_a_c_program_is_built_and_passes_its_tests(machines: Machines, tmp_path: Path) -> None:
    """bitarray: a C extension whose package brings some 500 tests."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary"),
            *(":all:", "--dest", str(tmp_path), "bitarray==2.9.2"),
        ],
        check=True,
    )
    (source,) = tmp_path.glob("bitarray-*.tar.gz")
    command = (
        "set -e; mkdir -p /tmp/c; cd /tmp/c; tar -xz; cd bitarray-*; "
        "PYTHONPATH=/tmp/c/st python3 setup.py build_ext --inplace >/dev/null 2>&1 || "
        "gcc -O2 -shared -fPIC $(python3-config --includes) bitarray/_bitarray.c "
        "-o bitarray/_bitarray.so && gcc -O2 -shared -fPIC $(python3-config --includes) "
        "-Ibitarray bitarray/_util.c -o bitarray/_util.so; "
        "python3 -c 'import bitarray, sys; sys.exit(not bitarray.test().wasSuccessful())' 2>&1"
    )
    outcome = machines[OWN_KERNEL].execute(command, timeout_seconds=900, stdin=source.read_bytes())

    assert outcome.exit_code == 0, outcome.stdout.text()[-3000:]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_sqlite_survives_kills(machines: Machines, journal: str) -> None:
    _works(machines, f"rm -f /workspace/crash.db*; python3 - {journal}", stdin=_program("crash.py"))


@pytest.mark.timeout(900)
def test_node_with_a_large_heap_and_workers(machines: Machines) -> None:
    _works(machines, "node --max-old-space-size=1500 -", stdin=_program("heap.js"))


@pytest.mark.timeout(900)
def test_a_jvm_with_a_large_heap_and_threads(machines: Machines) -> None:
    _works(
        machines,
        "cat > /tmp/Heap.java && java -Xmx1500m /tmp/Heap.java",
        stdin=_program("Heap.java"),
    )


@pytest.mark.timeout(900)
def test_four_fifths_of_two_gigabytes_in_random_order(machines: Machines) -> None:
    """Some 420,000 pages, each a mapping of the host's own; contents are checked."""
    program = """
import array, mmap, random
PAGE, N = 4096, int(2 * 2**30 * 0.8) // 4096
m = mmap.mmap(-1, N * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
view = memoryview(m).cast("Q")
order = array.array("I", range(N))
random.Random(1).shuffle(order)
for page in order:
    view[page * 512 + page % 512] = page + 1
random.Random(2).shuffle(order)
for page in order:
    assert view[page * 512 + page % 512] == page + 1, page
"""
    outcome = machines[OWN_KERNEL].execute("python3 -", timeout_seconds=800, stdin=program.encode())

    assert outcome.exit_code == 0, outcome.stderr.text()


def _program(name: str) -> str:
    return (Path(__file__).parent / "programs" / name).read_text()
