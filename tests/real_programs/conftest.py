"""Large programs on the guest kernel: collected only for `scripts/dev test-kernel`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from pyro_mcp.config import DEBIAN_KERNEL, OWN_KERNEL, Settings
from pyro_mcp.engines.uml import UmlEngine
from pyro_mcp.machines.machine import Machine
from pyro_mcp.machines.spec import MachineSpec
from tests.real_programs.selftests import LIFE_SECONDS
from tests.support.images import images_with

collect_ignore_glob = [] if "PYRO_TEST_KERNEL" in os.environ else ["test_*.py"]

ENVIRONMENT = "kernel-test:12"
_MEM_MIB = 3072

Machines = Mapping[str, Machine]


@pytest.fixture(scope="session")
def machines(_shared_state_dir: Path) -> Iterator[Machines]:
    """A machine of each kernel, shared by all tests."""
    catalogue = Path(__file__).with_name("environments.toml")
    settings = Settings.from_environment(state_dir=_shared_state_dir)
    booted: dict[str, Machine] = {}
    with ExitStack() as owned:
        for kernel in (OWN_KERNEL, DEBIAN_KERNEL):
            images = images_with(kernel, ENVIRONMENT, catalogue=catalogue)
            spec = MachineSpec(ENVIRONMENT, 1, _MEM_MIB, 600, False, False)
            machine = Machine.create(settings, spec, images, UmlEngine())
            owned.enter_context(machine).start(life_seconds=LIFE_SECONDS)
            booted[kernel] = machine
        yield booted
