"""One suite for all engines: every test here runs once for each that this host can run."""

from __future__ import annotations

import pytest

from pyro_mcp.engines.base import Engine
from pyro_mcp.engines.uml import engines
from pyro_mcp.machines.choose import choose_engine

_AVAILABLE = [engine.name for engine in engines() if engine.available().ok]


@pytest.fixture(scope="session", params=_AVAILABLE)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    return choose_engine(request.param)
