"""Workspaces of a test, made through the SDK and gone when it ends."""

from __future__ import annotations

import pytest

from pyro_mcp import Pyro


@pytest.fixture
def kept(pyro: Pyro) -> Pyro:
    """The same, where `pyro` is what runs the command of that name."""
    return pyro


@pytest.fixture
def workspace_id(kept: Pyro) -> str:
    """One workspace that runs."""
    made = kept.create_workspace(environment="debian:12", mem_mib=256)
    return str(made["workspace_id"])
