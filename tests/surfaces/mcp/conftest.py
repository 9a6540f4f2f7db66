"""Servers that tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp import Pyro
from pyro_mcp.config import STATE_VARIABLE
from tests.surfaces.mcp.support import Address, http_server


@pytest.fixture(scope="module")
def address(_shared_state_dir: Path, images: object) -> Iterator[Address]:
    """A server of all tools over HTTP, for the tests of one file."""
    with http_server() as address:
        yield address


@pytest.fixture(scope="module")
def shared_workspace(_shared_state_dir: Path, images: object) -> Iterator[str]:
    """A workspace for the tests of one file, in the state directory that tests share."""
    with Pyro(base_dir=_shared_state_dir) as pyro:
        made = pyro.create_workspace(environment="debian:12", mem_mib=256)
        yield str(made["workspace_id"])
        pyro.delete_workspace(made["workspace_id"])


@pytest.fixture
def shared_state(monkeypatch: pytest.MonkeyPatch, _shared_state_dir: Path) -> None:
    """Servers of this test use the state directory of the shared workspace."""
    monkeypatch.setenv(STATE_VARIABLE, str(_shared_state_dir))
