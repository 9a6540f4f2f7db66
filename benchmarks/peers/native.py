"""The host itself: the same tree, entered with chroot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from benchmarks.peers.base import Peer, Tree, need


class Native(Peer):
    """No isolation at all: what the work costs on this host."""

    label = "native chroot"

    def __init__(self, enter: list[str]) -> None:
        self._enter = enter

    @classmethod
    def prepare(cls, tree: Tree, directory: Path) -> Self:
        """Nothing to make; an ordinary user gets a chroot in a user namespace."""
        # Namespaces of its own only for /proc and /dev to be there, and to be gone afterwards.
        unshare = [need("unshare", "util-linux"), "--mount", "--pid", "--fork", "--kill-child"]
        if os.geteuid() != 0:
            unshare.append("--map-root-user")
        root = str(tree.path)
        (tree.path / "dev/null").touch()
        script = (
            'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; exec chroot "$0" '
            "/usr/bin/env -C /workspace -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/root "
            'LANG=C.UTF-8 "$@"'
        )
        return cls([*unshare, "sh", "-c", script, root])

    def one_shot(self, *command: str) -> list[str]:
        """Enter the tree."""
        return [*self._enter, *command]
