"""Guest root against published ports: it opens none, and they lead nowhere but to itself."""

from __future__ import annotations

import os
from pathlib import Path

from pyro_mcp.machines.machine import Machine
from tests.security.views import as_guest_root
from tests.support.processes import descendants


def test_no_word_of_a_guest_makes_the_monitor_listen(shared_machine: Machine) -> None:
    """The verbs of the machine's socket are for the host: the vsock has no such side."""
    seen = as_guest_root(
        shared_machine,
        """
found = {}
for port in (1024, 1025, 0x10000, 0x10000 + 8000, 0x10000 + 22):
    s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    s.settimeout(3)
    found[port] = name_of(s.connect_ex((2, port)))
    try:
        s.sendall(b"PUBLISH s 0123456789ab 0:8000\\n")
    except OSError:
        pass
answer(found)
""",
    )

    assert "ok" not in seen.values(), seen
    assert _sockets_of_the_monitor(shared_machine) == 0
    assert shared_machine.execute("true", timeout_seconds=60).exit_code == 0


def _sockets_of_the_monitor(machine: Machine) -> int:
    """How many sockets of internet protocols it holds."""
    (monitor,) = [
        process
        for process in descendants(os.getpid())
        if "pyro_mcp.machines.monitor" in process.command and machine.id in process.command
    ]
    inodes = {
        line.split()[9]
        for name in ("tcp", "tcp6", "udp", "udp6")
        for line in Path("/proc/net", name).read_text().splitlines()[1:]
    }
    held = {link.readlink().name for link in Path(f"/proc/{monitor.pid}/fd").iterdir()}
    return len(held & {f"socket:[{inode}]" for inode in inodes})
