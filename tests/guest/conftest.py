"""A server of the agent's for each test that talks to one."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guest.agent import HostAgent


@pytest.fixture
def agent() -> Iterator[HostAgent]:
    """Ended with the test, whatever it left running."""
    # Not pytest's tmp_path: a unix socket's path holds 107 bytes, and those names are long.
    with tempfile.TemporaryDirectory() as folder:
        agent = HostAgent(Path(folder) / "agent.sock")
        try:
            yield agent
        finally:
            agent.close()
