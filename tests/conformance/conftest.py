"""One suite for all engines and kernels: every test here runs once for each that can run here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.config import DEBIAN_KERNEL, OWN_KERNEL
from pyro_mcp.engines.base import Engine
from pyro_mcp.engines.uml import engines
from pyro_mcp.machines.choose import choose_engine
from pyro_mcp.machines.machine import Machine
from pyro_mcp.machines.spec import Images
from tests.conftest import sharing_machine
from tests.support.images import images_with

_AVAILABLE = [engine.name for engine in engines() if engine.available().ok]


@pytest.fixture(scope="session", params=_AVAILABLE)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    return choose_engine(request.param)


@pytest.fixture(scope="session", params=[OWN_KERNEL, DEBIAN_KERNEL])
def images(request: pytest.FixtureRequest) -> Images:
    """With each kernel in turn."""
    return images_with(request.param)


@pytest.fixture(scope="session")
def shared_machine(
    request: pytest.FixtureRequest, _shared_state_dir: Path, images: Images, engine: Engine
) -> Iterator[Machine]:
    """One of this suite's own for each engine and kernel: other tests share theirs."""
    with sharing_machine(request, _shared_state_dir, images, engine) as machine:
        yield machine
