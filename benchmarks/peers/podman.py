"""podman: containers on the host's kernel, from an image of the same tree.

Images and containers are kept apart from the user's own, in a storage of the benchmarks.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from tempfile import gettempdir
from typing import ClassVar, Self

from benchmarks.peers.base import Peer, Tree, need
from benchmarks.rounds import NotMeasuredError, run

_LOW_LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]


class Podman(Peer):
    """`podman run --rm --network none` with the overlay driver."""

    label = "podman run"
    note = "host kernel; overlay storage"
    driver: ClassVar[str] = "overlay"

    def __init__(self, podman: list[str], options: list[str], image: str) -> None:
        self._podman = podman
        self._options = options
        self._image = image

    @classmethod
    def prepare(cls, tree: Tree, directory: Path) -> Self:
        """Import the tree as an image, unless that was done for the same tree."""
        storage = directory / f"podman-{cls.driver}"
        # Podman takes no longer one than 50 characters; it is the state of what runs, no more.
        running = Path(gettempdir()) / f"pyro-bench-{os.getuid()}-{cls.driver}"
        # fmt: off
        podman = [
            need("podman", "podman"), "--root", str(storage / "root"),
            "--runroot", str(running), "--storage-driver", cls.driver,
            "--cgroup-manager", "cgroupfs", "--events-backend", "none", "--log-level", "error",
        ]
        # fmt: on
        kind = f"localhost/pyro-bench-{tree.environment.replace(':', '-')}"
        image = f"{kind}:{tree.path.name.replace('+', '-')}"
        if not _succeeds([*podman, "image", "exists", image]):
            if outdated := run([*podman, "images", "--quiet", kind]).decode().split():
                run([*podman, "rmi", "--force", *outdated])
            _import(podman, tree, image)
        return cls(podman, _working_options(podman, image), image)

    def one_shot(self, *command: str) -> list[str]:
        """A new container, removed at its end."""
        return [*self._podman, *self._run("--rm"), "-i", self._image, *command]

    def start_idle(self) -> str:
        """Start a container that does nothing; returns its id."""
        argv = [*self._podman, *self._run("--detach"), self._image, "sleep", "infinity"]
        return run(argv).decode().strip()

    def into(self, container: str, *command: str) -> list[str]:
        """The command line that runs `command` in a running container."""
        return [*self._podman, "exec", "-i", container, *command]

    def remove(self, container: str) -> None:
        """End and remove a container."""
        run([*self._podman, "rm", "--force", "--time", "0", container])

    def _run(self, how: str) -> list[str]:
        return ["run", how, "--network", "none", "--workdir", "/workspace", *self._options]


class PodmanVfs(Podman):
    """The same with the storage driver that works everywhere, and copies everything."""

    label = "podman run (vfs)"
    note = "host kernel; vfs storage"
    driver = "vfs"


def _import(podman: list[str], tree: Tree, image: str) -> None:
    tar = subprocess.Popen(
        ["tar", "-C", str(tree.path), "--numeric-owner", "-cf", "-", "."], stdout=subprocess.PIPE
    )
    with tar:
        run([*podman, "import", "--quiet", "-", image], stdin=tar.stdout)


def _working_options(podman: list[str], image: str) -> list[str]:
    why = ""
    # podman asks for the highest limits, which a root without CAP_SYS_RESOURCE may not set; and
    # crun refuses hosts that have both cgroup versions.
    for limits in ([], _LOW_LIMITS):
        for runtime in ([], ["--runtime", "crun"], ["--runtime", "runc"]):
            trial = [*podman, *runtime, "run", "--rm", "--network", "none", *limits, image, "true"]
            try:
                run(trial)
            except NotMeasuredError as error:
                why = why or str(error)
                continue
            podman[1:1] = runtime
            return limits
    raise NotMeasuredError(why)


def _succeeds(argv: list[str]) -> bool:
    return subprocess.run(argv, capture_output=True).returncode == 0
