"""A guest that only looks: somebody else's disks, read-only, and no command ever runs.

No program of the host parses a guest's file system; this one does, in a jail of its own.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pyro_mcp.machines import directory
from pyro_mcp.machines.files import ask
from pyro_mcp.machines.launching import Boot, boot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyro_mcp.engines.base import Engine
    from pyro_mcp.machines.spec import Images

_MEM_MIB = 256
_LIFE_SECONDS = 3600.0


@contextlib.contextmanager
def inspecting(
    state_dir: Path,
    images: Images,
    engine: Engine,
    *,
    data_disk: Path,
    seed_image: Path | None,
    output_disk: Path | None = None,
) -> Iterator[Path]:
    """Boot it; gives the directory to connect to (`machines.files`).

    The machine's `/etc` is `/workspace/etc` there, its workspace `/workspace/workspace`.
    """
    home, lock, cpu = directory.make(state_dir, os.urandom(6).hex())
    with contextlib.ExitStack() as owned:
        owned.callback(os.close, lock)
        owned.callback(directory.remove, home)
        started = boot(
            Boot(
                home=home,
                data_disk=data_disk,
                seed_image=seed_image,
                mem_mib=_MEM_MIB,
                vcpu_count=1,
                cpu=cpu,
                owner_pid=os.getpid(),
                kept=False,
                life_seconds=_LIFE_SECONDS,
                inspect=True,
                output_disk=output_disk,
            ),
            images,
            engine,
            lock=lock,
        )
        owned.callback(started.monitor.end)
        yield home


def build_image(home: Path) -> None:
    """Have an inspecting guest fill its output disk with all that it shows.

    Raises:
        GuestRefusedError: It could not; says why.
    """
    ask(home, {"op": "build_image"}, silent_seconds=_LIFE_SECONDS)
