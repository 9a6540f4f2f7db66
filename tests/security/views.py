"""A machine from both sides: its host processes as the host sees them, and guest root's Python."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pyro_mcp.machines.machine import Machine
from tests.support import is_running, until
from tests.support.processes import Process, descendants

T = TypeVar("T")

_PRELUDE = """
import ctypes, errno, fcntl, json, mmap, os, socket, stat, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def name_of(number): return errno.errorcode.get(number, "ok")
def mount(source, target, kind, flags=0, data=None):
    words = [w.encode() if w is not None else None for w in (source, target, kind)]
    ctypes.set_errno(0)
    libc.mount(*words, ctypes.c_ulong(flags), data and data.encode())
    return name_of(ctypes.get_errno())
def disk(letter):
    # Guest root makes its own device nodes; ubd has major 98 and 16 minors a disk.
    path = f"/dev/attack-{letter}"
    if not os.path.exists(path):
        os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(98, 16 * (ord(letter) - ord("a"))))
    return path
"""


class Jail(NamedTuple):
    """All processes of one machine's jail."""

    monitor: Process
    outermost: Process
    """bubblewrap as the monitor started it; it only waits for the next."""
    inner: list[Process]
    """What runs inside: bubblewrap as process 1, the kernel, one stub for each guest process."""
    kernel: Process


def jail_of(machine: Machine) -> Jail:
    """Look the processes of a running machine up in the system."""
    monitor = until(
        lambda: next((p for p in descendants(os.getpid()) if _is_monitor_of(p, machine)), None)
    )
    outermost, *inner = descendants(monitor.pid)
    kernel = next(p for p in inner if p.command.startswith("/linux "))
    return Jail(monitor, outermost, [p for p in inner if not p.ended], kernel)


def _is_monitor_of(process: Process, machine: Machine) -> bool:
    return "pyro_mcp.machines.monitor" in process.command and machine.id in process.command


def looked_at(
    processes: Iterable[Process], look: Callable[[int], T]
) -> Iterator[tuple[Process, T]]:
    """Each with what `look` finds of its number; without those that end just then.

    Processes of a guest come and go, also where no command runs.
    """
    for process in processes:
        try:
            found = look(process.pid)
        except (FileNotFoundError, ProcessLookupError):
            if is_running(process.pid):
                raise
            continue
        yield process, found


def status_of(pid: int) -> dict[str, str]:
    """/proc/PID/status as a mapping."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def descriptors_of(pid: int) -> dict[int, str]:
    """What each descriptor of a process is."""
    links = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links[int(entry.name)] = str(entry.readlink())
        except FileNotFoundError:  # a guest process comes and goes
            continue
    return links


def mounts_of(pid: int) -> dict[str, tuple[str, str, str]]:
    """Mount point to (root within its file system, options of the mount, kind and its options)."""
    mounts = {}
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        mounts[fields[4]] = (fields[3], fields[5], after)
    return mounts


def as_guest_root(machine: Machine, code: str, *, timeout_seconds: float = 60) -> Any:
    """Run Python as root in the guest; what it gives to `answer(...)` comes back.

    Ready to use: `mount(...)` and `name_of(errno)` give an error's name or "ok", `disk("a")` the
    path of a device node for one of the machine's disks, whether or not the guest had one.
    """
    program = f"{_PRELUDE}\ndef answer(value): print('ANSWER' + json.dumps(value))\n{code}\n"
    outcome = machine.execute("python3 -", stdin=program.encode(), timeout_seconds=timeout_seconds)
    text = outcome.stdout.text()
    lines = [line for line in text.splitlines() if line.startswith("ANSWER")]
    assert lines, (outcome.exit_code, text, outcome.stderr.text())
    return json.loads(lines[-1].removeprefix("ANSWER"))
