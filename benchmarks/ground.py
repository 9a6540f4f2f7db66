"""What every measurement stands on: directories, environments as trees, and the peers."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import platformdirs

from benchmarks.peers.base import Peer, Tree
from benchmarks.rounds import NotMeasuredError, progress, run
from benchmarks.table import Row
from pyro_mcp import Pyro
from pyro_mcp.config import CATALOGUE_VARIABLE
from pyro_mcp.environments import cache
from pyro_mcp.environments.image import loader_command
from pyro_mcp.machines.choose import choose_engine
from pyro_mcp.machines.machine import Machine
from pyro_mcp.machines.spec import Images, MachineSpec

CLI = str(Path(sys.executable).with_name("pyro"))
SDK_LABEL, CLI_LABEL = "pyro SDK", "pyro CLI"
_LIFE_SECONDS = 3600


@dataclass
class Ground:
    """One run of the benchmarks; all it leaves running ends with `owned`."""

    quick: bool
    owned: ExitStack
    pyro: Pyro = field(default_factory=Pyro)
    directory: Path = field(
        default_factory=lambda: Path(
            os.environ.get("PYRO_BENCH_DIR") or platformdirs.user_cache_path("pyro-mcp-benchmarks")
        )
    )
    _prepared: dict[tuple[str, str], Peer | str] = field(default_factory=dict)

    def rounds(self, usual: int, quick: int) -> int:
        """How many rounds to take."""
        return quick if self.quick else usual

    @contextmanager
    def kernel(self, kernel: str) -> Iterator[None]:
        """Machines that are made in this block have that kernel, whatever PYRO_KERNEL says."""
        manager = self.pyro.manager
        settings, manager.settings = manager.settings, replace(manager.settings, kernel=kernel)
        try:
            yield
        finally:
            manager.settings = settings

    def images(self, environment: str) -> Images:
        """The images of a machine; built when they are missing."""
        settings = self.pyro.manager.settings
        runtime, installed, blank = cache.ensure_images(
            settings, environment, progress=lambda phase, _: progress(f"{environment}: {phase}")
        )
        return Images(
            jail_root=runtime.jail_root,
            agent_image=runtime.agent_image,
            environment_image=installed.image,
            environment_version=installed.version,
            blank_disk=blank,
        )

    @contextmanager
    def machine(
        self, environment: str, *, mem_mib: int, reaches: tuple[str, ...] = ()
    ) -> Iterator[Machine]:
        """A running machine that takes any number of commands.

        With `reaches` it has a network, and these private addresses are open to it.
        """
        spec = MachineSpec(
            environment, 1, mem_mib, _LIFE_SECONDS, bool(reaches), False, (), reaches
        )
        settings = self.pyro.manager.settings
        with Machine.create(settings, spec, self.images(environment), choose_engine()) as machine:
            machine.start(life_seconds=_LIFE_SECONDS)
            yield machine

    def tree(self, environment: str) -> Tree:
        """The same files as in the guest, unpacked for the peers and kept for the next run."""
        images = self.images(environment)
        image = images.environment_image
        runtime = cache.ensure_runtime(self.pyro.manager.settings)
        # Another build of the environment is another tree.
        name = f"{image.parent.name}-{int(image.stat().st_mtime)}"
        place = self.directory / "trees" / name
        if not place.exists():
            for outdated in place.parent.glob(f"{environment.replace(':', '_')}-*"):
                shutil.rmtree(outdated)
            work = place.with_name(f"{name}.part")
            work.mkdir(parents=True)
            progress(f"{environment}: unpacking for the peers")
            dump = loader_command(
                runtime.tree, "usr/sbin/debugfs", "-R", f"rdump / {work}", str(image)
            )
            run(dump)
            for writable in ("tmp", "var/tmp"):
                (work / writable).chmod(0o1777)
            work.rename(place)
        busybox = runtime.tree / "usr/bin/busybox"
        return Tree(environment, place, image, images.blank_disk, busybox)

    def peers(self, environment: str, kinds: Sequence[type[Peer]]) -> tuple[list[Peer], list[Row]]:
        """The peers that work here, and a row for each that does not."""
        ready: list[Peer] = []
        missing: list[Row] = []
        for kind in kinds:
            key = (environment, kind.label)
            if key not in self._prepared:
                progress(f"{kind.label}: preparing {environment}")
                try:
                    directory = self.directory / "peers"
                    directory.mkdir(parents=True, exist_ok=True)
                    self._prepared[key] = kind.prepare(self.tree(environment), directory)
                except NotMeasuredError as error:
                    self._prepared[key] = str(error)
            found = self._prepared[key]
            if isinstance(found, str):
                missing.append(Row(label=kind.label, note=found))
            else:
                ready.append(found)
        return ready, missing


def use_own_catalogue() -> None:
    """Make `bench:12` known to this process and to the commands it runs."""
    os.environ[CATALOGUE_VARIABLE] = str(Path(__file__).with_name("environments.toml"))
