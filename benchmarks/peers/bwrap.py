"""bubblewrap: namespaces alone, on the host's kernel. The floor, not an equal."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from benchmarks.peers.base import Peer, Tree, need


class Bwrap(Peer):
    """A jail without a kernel of its own."""

    label = "bwrap"
    note = "host kernel"

    def __init__(self, bwrap: str, tree: Tree) -> None:
        self._bwrap = bwrap
        self._tree = tree

    @classmethod
    def prepare(cls, tree: Tree, directory: Path) -> Self:
        """Nothing to make."""
        return cls(need("bwrap", "bubblewrap"), tree)

    def one_shot(self, *command: str) -> list[str]:
        """All namespaces new, and the tree as the root."""
        # fmt: off
        return [
            self._bwrap, "--unshare-all", "--die-with-parent", "--clearenv",
            "--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--setenv", "HOME", "/root",
            "--setenv", "LANG", "C.UTF-8",
            "--bind", str(self._tree.path), "/", "--dev", "/dev", "--proc", "/proc",
            "--chdir", "/workspace", *command,
        ]
        # fmt: on
