"""Root in a guest against the agent, through shells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.machines import shells
from tests.support import until

if TYPE_CHECKING:
    from tests.conftest import MachineFactory

SHELL = "0123456789ab"


def opened(home: Path, shell_id: str) -> None:
    shells.open_shell(home, shell_id, cwd="/workspace", env={}, cols=80, rows=24)


def output(home: Path, shell_id: str, text: bytes) -> bytes:
    def read() -> bytes | None:
        found = shells.read_shell(
            home, shell_id, cursor=0, context=0, max_bytes=protocol.SHELL_WINDOW,
            max_chars=1, wait_idle_ms=0,
        )  # fmt: skip
        return found.data if text in found.data else None

    return until(read)


def typed(home: Path, shell_id: str, text: bytes) -> None:
    shells.write_shell(home, shell_id, text + b"\n")


def test_a_devpts_that_a_guest_replaced_does_no_harm(machine_factory: MachineFactory) -> None:
    machine = machine_factory(mem_mib=256)
    home = machine.directory
    replaced = machine.execute(
        "umount /dev/pts /proc; rmdir /dev/pts; mkdir /dev/pts; "
        "for n in 0 1 2 ptmx; do mkfifo /dev/pts/$n; done; rm -f /dev/ptmx; mkfifo /dev/ptmx; "
        "rmdir /proc; mkdir -p /proc/self/fd; for n in 0 1 2; do mkfifo /proc/self/fd/$n; done; "
        "echo replaced",
        timeout_seconds=30,
    )
    assert b"replaced" in replaced.stdout.text().encode()

    opened(home, SHELL)
    typed(home, SHELL, b"echo ali''ve; test -t 0 && echo on a ter''minal")

    assert b"on a terminal" in output(home, SHELL, b"terminal")
    shells.close_shell(home, SHELL)
    assert machine.execute("true", timeout_seconds=30).exit_code == 0


def test_output_without_end_takes_no_more_memory(machine_factory: MachineFactory) -> None:
    """Shells that write and write, unread, beside each other."""
    machine = machine_factory(mem_mib=256)
    home = machine.directory
    ids = [f"{number:012x}" for number in range(3)]
    for shell_id in ids:
        opened(home, shell_id)
        typed(home, shell_id, b"yes 0123456789")

    def all_wrote() -> bool:
        return all(shell.end > 8_000_000 for shell in shells.list_shells(home))

    until(all_wrote, timeout=120)
    for shell in shells.list_shells(home):
        assert shell.end - shell.oldest <= protocol.SHELL_WINDOW
    used = machine.execute("awk '/MemAvailable/ {print $2}' /proc/meminfo", timeout_seconds=60)
    assert int(used.stdout.text()) > 100_000
    for shell_id in ids:
        shells.close_shell(home, shell_id)


def test_input_that_nobody_takes_is_held_back_at_the_host(machine_factory: MachineFactory) -> None:
    machine = machine_factory(mem_mib=256)
    home = machine.directory
    opened(home, SHELL)
    typed(home, SHELL, b"stty raw -echo; echo go''ing; sleep 600")
    output(home, SHELL, b"going")

    stream = shells.ShellStream(home, SHELL, 0)
    try:
        sent = 0
        while took := stream.send(b"x" * protocol.DATA_CHUNK):
            sent += took
            assert sent < 64 * 1024 * 1024
    finally:
        stream.close()

    assert machine.execute("true", timeout_seconds=30).exit_code == 0
    shells.close_shell(home, SHELL)
