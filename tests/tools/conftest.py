"""One workspace for the tests of tools that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp import Pyro
from pyro_mcp.tools import Toolset


@pytest.fixture(scope="module")
def tools(_shared_state_dir: Path, images: object) -> Iterator[Toolset]:
    """All tools, over the state directory that tests share."""
    with Pyro(base_dir=_shared_state_dir) as pyro:
        yield Toolset(pyro)


@pytest.fixture(scope="module")
def workspace_id(tools: Toolset) -> Iterator[str]:
    """A workspace that runs."""
    made = tools.call("workspace_create", {"environment": "debian:12", "mem_mib": 256})
    assert not made.is_error, made.text
    yield made.structured["workspace_id"]
    tools.call("workspace_delete", {"workspace_id": made.structured["workspace_id"]})
