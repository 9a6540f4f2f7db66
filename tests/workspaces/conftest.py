"""Workspaces that tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from pyro_mcp.results.commands import WorkspaceExecResult
    from pyro_mcp.workspaces.store import Store


class SharedWorkspace(NamedTuple):
    """A workspace that runs, for tests that keep to a directory of their own in it."""

    store: Store
    workspace_id: str

    @property
    def home(self) -> Path:
        """Its machine's directory."""
        return self.store.place(self.workspace_id).home

    def run(self, command: str) -> WorkspaceExecResult:
        """Run a command that must succeed."""
        from pyro_mcp.workspaces import commands

        result = commands.execute(
            self.store, self.workspace_id, command=command, timeout_seconds=60
        )
        assert result.exit_code == 0, result
        return result


@pytest.fixture(scope="session")
def shared_workspace(
    _shared_state_dir: Path, images: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedWorkspace]:
    """One seeded workspace: `seed/` has `file`, `moved/inner`, `gone/deep/file` and `kept`."""
    from pyro_mcp.sdk.manager import VmManager
    from pyro_mcp.workspaces import lifecycle

    tree = tmp_path_factory.mktemp("seed") / "tree"
    for name in ("file", "moved/inner", "gone/deep/file", "kept"):
        path = tree / "seed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    store = VmManager(base_dir=_shared_state_dir).workspaces
    made = lifecycle.create(
        store, environment="debian:12", mem_mib=512, ttl_seconds=0, seed_path=tree
    )
    yield SharedWorkspace(store, made.workspace_id)
    lifecycle.delete(store, made.workspace_id)
