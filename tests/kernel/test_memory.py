"""What a machine no longer uses is the host's again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyro_mcp.machines.machine import Machine
from tests.kernel.conftest import Boot
from tests.security.views import descriptors_of, jail_of
from tests.support import until

_MIB = 1 << 20
_USED = 200 * _MIB
_USE = f"python3 -c 'bytearray({_USED})[::4096] = bytes({_USED} // 4096)'"


def _held(machine: Machine) -> int:
    """Bytes of the host that the guest's memory takes."""
    kernel = jail_of(machine).kernel.pid
    (memory,) = (
        number
        for number, target in descriptors_of(kernel).items()
        if target.startswith("/tmp/") and _stat(kernel, number).st_size > _USED
    )
    return _stat(kernel, memory).st_blocks * 512


def _stat(pid: int, descriptor: int) -> os.stat_result:
    return Path(f"/proc/{pid}/fd/{descriptor}").stat()


def test_free_memory_goes_back_to_the_host_and_without_the_patch_does_not(boot: Boot) -> None:
    keeps, gives = boot("um_free_report=0"), boot("um_free_report=16")

    for machine in (keeps, gives):
        assert machine.execute(_USE, timeout_seconds=60).exit_code == 0

    # The one that was first had the longer time.
    until(lambda: _held(gives) < _USED / 2, timeout=60)
    assert _held(keeps) > _USED


def test_memory_that_was_given_back_can_be_used_again(boot: Boot) -> None:
    machine = boot()
    for _ in range(2):
        assert machine.execute(_USE, timeout_seconds=60).exit_code == 0
        until(lambda: _held(machine) < _USED / 2, timeout=60)


@pytest.mark.timeout(240)
def test_a_machine_at_rest_lets_go_of_what_it_read_and_still_answers(boot: Boot) -> None:
    machine = boot()
    machine.execute(
        f"head -c {_USED} /dev/zero >/workspace/read; sync; cat /workspace/read >/dev/null",
        timeout_seconds=60,
    )
    assert _held(machine) > _USED

    until(lambda: _held(machine) < _USED / 2, timeout=120)

    answer = machine.execute("wc -c </workspace/read", timeout_seconds=60)
    assert answer.stdout.text() == f"{_USED}\n"
