"""Building an entry of the cache: one process at a time, elsewhere first, whole or not at all."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.config import CACHE_VARIABLE
from pyro_mcp.environments.archive import discard
from pyro_mcp.host.files import require_room, sync_directory
from pyro_mcp.host.locks import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyro_mcp.config import Settings
    from pyro_mcp.environments.cache import Progress

_UNFINISHED = ".building-"


@contextmanager
def building(
    settings: Settings,
    target: Path,
    *,
    what: str,
    ready: Callable[[], bool],
    needed_mib: int,
    progress: Progress,
) -> Iterator[Path | None]:
    """Hold the lock of the cache entry `target` and give a directory to build in, beside it.

    Gives None if `ready` says, with the lock held, that another process has built it meanwhile.
    The directory is removed at the end with all that was not published; what a killed builder
    left is removed at the beginning.

    Raises:
        DiskSpaceError: less than `needed_mib` MiB are free.
    """
    make_directory(target.parent)
    lock = lock_place(settings, target)
    with locked(lock, on_wait=lambda: progress(f"waiting for another process: {what}", None)):
        if ready():
            yield None
            return
        for left in unfinished(target.parent, target.name):
            discard(left)
        require_room(target.parent, needed_mib=needed_mib, variable=CACHE_VARIABLE)
        work = Path(tempfile.mkdtemp(prefix=f"{_UNFINISHED}{target.name}-", dir=target.parent))
        try:
            work.chmod(0o755)
            yield work
            sync_directory(target.parent)
        finally:
            discard(work)


def unfinished(folder: Path, name: str | None = None) -> list[Path]:
    """What builders of the entry `name`, or of any, have left or are at work on."""
    found = sorted(folder.glob(f"{_UNFINISHED}*"))
    return [work for work in found if name is None or target_name(work) == name]


def target_name(work: Path) -> str:
    """Which entry a builder's directory was made for."""
    # What mkdtemp adds has no hyphen.
    return work.name.removeprefix(_UNFINISHED).rpartition("-")[0]


def lock_place(settings: Settings, target: Path) -> Path:
    """The lock of a cache entry."""
    folder = settings.cache_dir / ".locks"
    make_directory(folder)
    return folder / f"{target.parent.name}-{target.name}.lock"


def make_directory(path: Path) -> None:
    """Make a directory and its parents, readable by all whatever the umask."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
