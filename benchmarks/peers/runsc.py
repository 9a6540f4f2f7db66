"""gVisor: a kernel in Go between the command and the host, with Debian's `runsc`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from benchmarks.peers.base import Peer, Tree, need


class Runsc(Peer):
    """`runsc do` with the default platform of the installed version."""

    label = "runsc do"
    note = "writes stay in memory"

    def __init__(self, runsc: list[str], tree: Tree) -> None:
        self._runsc = runsc
        self._tree = tree

    @classmethod
    def prepare(cls, tree: Tree, directory: Path) -> Self:
        """Nothing to make."""
        runsc = [
            need("runsc", "runsc"), f"--root={directory / 'runsc'}", "--network=none",
            "--ignore-cgroups",
        ]  # fmt: skip
        if os.geteuid() != 0:
            runsc.append("--rootless")
        return cls(runsc, tree)

    def one_shot(self, *command: str) -> list[str]:
        """The tree as a read-only root, what is written over it in the sandbox's memory."""
        # fmt: off
        return [
            *self._runsc, "do", f"--root={self._tree.path}", "--cwd=/",
            "/usr/bin/env", "-C", "/workspace", "-i", "PATH=/usr/local/bin:/usr/bin:/bin",
            "HOME=/root", "LANG=C.UTF-8", *command,
        ]
        # fmt: on
