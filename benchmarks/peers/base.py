"""What all peers have in common."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

from benchmarks.rounds import NotMeasuredError


class Tree(NamedTuple):
    """The files of an environment, unpacked."""

    environment: str
    path: Path
    image: Path
    """The same as an ext4 image."""
    blank_disk: Path
    """An empty ext4 image, to be copied."""
    busybox: Path
    """A static busybox, for peers that boot."""


class Peer(ABC):
    """Another way to run a command in a tree."""

    label: ClassVar[str]
    note: ClassVar[str] = ""

    @classmethod
    @abstractmethod
    def prepare(cls, tree: Tree, directory: Path) -> Self:
        """Make ready what one-time set-up there is, below `directory`.

        Raises:
            NotMeasuredError: It cannot run here; says what is missing.
        """

    @abstractmethod
    def one_shot(self, *command: str) -> list[str]:
        """The command line that runs `command` in the tree, without a network, and ends."""


def need(tool: str, package: str) -> str:
    """Full path of a peer's program."""
    found = shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise NotMeasuredError(f"not installed (Debian: apt-get install {package})")
    return found
