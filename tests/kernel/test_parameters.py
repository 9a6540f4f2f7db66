"""What each patch of the kernel does, seen from the host or the guest, and that it can be off."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyro_mcp.machines.machine import Machine
from tests.kernel.conftest import Boot
from tests.security.views import descriptors_of, jail_of, looked_at
from tests.support import until
from tests.support.processes import Process

_USED = """
import mmap, re
PAGE, N = 4096, 4000
m = mmap.mmap(-1, N * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
def used():
    with open("/proc/self/smaps") as source:
        areas = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", source.read(), flags=re.M)
    for area in areas:
        if re.search(f"^Size: +{N * PAGE // 1024} kB$", area, re.M):
            return int(re.search(r"Rss: +(\\d+)", area)[1]) // 4
"""
_ASCENDING = f"""{_USED}
seen = []
for page in range(N // 4):
    m[page * PAGE] = 1
    if page % 25 == 0:
        seen.append(used() - page - 1)
print(max(seen))
"""
_SCATTERED = f"""{_USED}
import ctypes
aligned = -ctypes.addressof(ctypes.c_char.from_buffer(m)) // PAGE % 16
for page in (9, 2, 13, 64):
    m[(aligned + page) * PAGE] = page
    print(used())
print([page for page in range(N) if any(m[page * PAGE : (page + 1) * PAGE])] ==
      [aligned + page for page in (2, 9, 13, 64)])
"""


def _stubs(machine: Machine) -> list[Process]:
    """Processes of the host in which processes of the guest run, or wait to."""
    jail = jail_of(machine)
    others = {jail.kernel.pid, jail.outermost.pid}
    return [
        process
        for process in jail.inner
        if process.pid not in others and "uml-userspace" in process.command
    ]


def _mappings(pid: int) -> int:
    return len(Path(f"/proc/{pid}/maps").read_text().splitlines())


@pytest.mark.parametrize(
    ("parameter", "ahead"), [("um_fault_ahead=16", True), ("um_fault_ahead=0", False)]
)
def test_a_run_of_writes_has_pages_provided_and_no_more_than_asked(
    boot: Boot, parameter: str, ahead: bool
) -> None:
    machine = boot(parameter, "um_fault_around=0")

    outcome = machine.execute("python3 -", stdin=_ASCENDING.encode(), timeout_seconds=60)

    beyond = int(outcome.stdout.text())
    assert 0 < beyond <= 16 if ahead else beyond == 0


@pytest.mark.parametrize(
    ("parameter", "used"),
    [("um_fault_around=3", "1 2 16 17 True"), ("um_fault_around=0", "1 2 3 4 True")],
)
def test_a_block_of_which_a_part_is_written_is_provided_whole_and_no_other(
    boot: Boot, parameter: str, used: str
) -> None:
    outcome = boot(parameter).execute("python3 -", stdin=_SCATTERED.encode(), timeout_seconds=60)

    assert outcome.stdout.text().split() == used.split(), outcome.stderr.text()


@pytest.mark.parametrize(("parameter", "kept"), [("um_keep_fd=1", True), ("um_keep_fd=0", False)])
def test_a_stub_holds_its_socket_and_on_request_the_memory(
    boot: Boot, parameter: str, kept: bool
) -> None:
    machine = boot(parameter)

    def held() -> list[dict[int, str]]:
        return [found for _, found in looked_at(_stubs(machine), descriptors_of)]

    # One that is just being made holds more.
    until(lambda: {frozenset(one) for one in held()} == {frozenset({0, 1} if kept else {0})})
    assert all(one[0].startswith("socket:") for one in held())


@pytest.mark.parametrize(("parameter", "most"), [("um_stub_pool=8", 8), ("um_stub_pool=0", 0)])
def test_stubs_of_ended_processes_are_kept_up_to_the_limit(
    boot: Boot, parameter: str, most: int
) -> None:
    machine = boot(parameter)
    needed = 3  # the agent's own, and those of the sandbox that stands by

    machine.execute("for i in $(seq 20); do sleep 0.5 & done; wait", timeout_seconds=60)

    until(lambda: most <= len(_stubs(machine)) <= most + needed, timeout=30)


def test_a_process_that_got_a_used_stub_sees_nothing_of_the_one_before(roomy: Machine) -> None:
    outcome = roomy.execute(
        """
        for i in $(seq 30); do
            python3 -c 'import mmap; m = mmap.mmap(-1, 1 << 22); m[:] = b"s" * len(m)'
            python3 -c 'import mmap, sys
m = mmap.mmap(-1, 1 << 22)
sys.exit(any(m[at] for at in range(0, len(m), 4096)))' || exit 9
        done
        """,
        timeout_seconds=120,
    )

    assert outcome.exit_code == 0, outcome.stderr.text()


@pytest.mark.parametrize(
    ("parameter", "lazy"), [("um_lazy_fork=512", True), ("um_lazy_fork=0", False)]
)
def test_after_a_large_fork_mappings_come_back_with_their_use(
    boot: Boot, parameter: str, lazy: bool
) -> None:
    machine = boot(parameter)
    scattered = 3000
    program = f"""
import mmap, os, time
m = mmap.mmap(-1, 8 * {scattered} * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range({scattered}):
    m[8 * page * 4096] = 1
if os.fork() == 0:
    open("/tmp/forked", "w").close()
    while not os.path.exists("/tmp/enough"):
        time.sleep(0.1)
    os._exit(0)
while not os.path.exists("/tmp/enough"):
    time.sleep(0.1)
"""
    with _running(machine, program):
        machine.execute("until [ -e /tmp/forked ]; do sleep 0.1; done", timeout_seconds=60)
        mapped = sorted(count for _, count in looked_at(_stubs(machine), _mappings))[-2:]

    assert all(count < scattered / 2 for count in mapped) if lazy else min(mapped) > scattered


def test_the_kernel_has_neither_modules_nor_devices_of_memory(roomy: Machine) -> None:
    said = roomy.execute(
        "uname -r; cat /proc/modules; grep -w hostfs /proc/filesystems; cat /proc/devices",
        timeout_seconds=60,
    ).stdout.text()

    assert re.match(r"\d+\.\d+\.\d+-pyro\n", said)
    assert "hostfs" not in said


@contextmanager
def _running(machine: Machine, program: str) -> Iterator[None]:
    """A program that runs in the guest for the length of the block."""
    thread = threading.Thread(
        target=machine.execute,
        args=("python3 -",),
        kwargs={"stdin": program.encode(), "timeout_seconds": 120},
    )
    thread.start()
    try:
        yield
    finally:
        machine.execute("touch /tmp/enough", timeout_seconds=60)
        thread.join(120)
