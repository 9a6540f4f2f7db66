"""Machines of the kernel that comes with pyro, with words of the test's own on its command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from pyro_mcp.config import OWN_KERNEL, Settings
from pyro_mcp.engines.base import GuestSpec, LaunchPlan
from pyro_mcp.engines.uml import UmlEngine
from pyro_mcp.machines.machine import Machine
from pyro_mcp.machines.spec import Images, MachineSpec
from tests.support.images import images_with


class EngineWith(UmlEngine):
    """The engine, its kernel given further parameters."""

    def __init__(self, *parameters: str) -> None:
        self._parameters = parameters

    def plan(self, spec: GuestSpec) -> LaunchPlan:
        plan = super().plan(spec)
        kernel, *rest = plan.program
        return plan._replace(program=[kernel, *self._parameters, *rest])


class Boot(Protocol):
    """Boots a machine, ended with the test."""

    def __call__(self, *parameters: str, mem_mib: int = 512) -> Machine:
        """One with these parameters on its kernel's command line."""


@pytest.fixture(scope="session")
def images() -> Images:
    """With the kernel that comes with pyro, whatever PYRO_KERNEL says."""
    return images_with(OWN_KERNEL)


@pytest.fixture
def boot(settings: Settings, images: Images) -> Iterator[Boot]:
    """For tests of one parameter."""
    with ExitStack() as owned:

        def make(*parameters: str, mem_mib: int = 512) -> Machine:
            machine = _machine(settings, images, mem_mib, *parameters)
            owned.enter_context(machine).start(life_seconds=600)
            return machine

        yield make


@pytest.fixture(scope="module")
def roomy(_shared_state_dir: Path, images: Images) -> Iterator[Machine]:
    """One machine as users have it, of 1 GiB, for tests that leave it as it was."""
    settings = Settings.from_environment(state_dir=_shared_state_dir)
    with _machine(settings, images, 1024) as machine:
        machine.start(life_seconds=3600)
        yield machine


def _machine(settings: Settings, images: Images, mem_mib: int, *parameters: str) -> Machine:
    spec = MachineSpec("debian:12", 1, mem_mib, 600, False, False)
    return Machine.create(settings, spec, images, EngineWith(*parameters))
