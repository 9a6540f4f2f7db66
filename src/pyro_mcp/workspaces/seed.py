"""The baseline of a workspace: a source of the host, made into a read-only disk."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mcp.boundary.source import checked, open_source
from pyro_mcp.config import STATE_VARIABLE
from pyro_mcp.environments.image import loader_command, make_image, make_image_of_stream
from pyro_mcp.environments.tarball import Contents
from pyro_mcp.errors import EnvironmentBuildError
from pyro_mcp.host.files import require_room
from pyro_mcp.host.process import run_tool
from pyro_mcp.workspaces.store import quiet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pyro_mcp.boundary.source import Source
    from pyro_mcp.workspaces.store import Progress

PARAMETER = "seed_path"
PHASE = "seed"
_LABEL = "pyro-seed"
_BLOCK = 4096


@dataclass(frozen=True, kw_only=True)
class SeedInfo:
    """What a seed holds."""

    mode: str
    seed_path: str
    entry_count: int
    bytes_written: int
    skipped: list[str]
    """What was left out and why."""


@contextmanager
def opened(
    seed_path: str | Path, *, exclude: Sequence[str] = (), gitignore: bool = False
) -> Iterator[Source]:
    """The source of a seed, looked at before anything is made.

    Raises:
        InvalidInputError: It cannot be used.
    """
    source = open_source(PARAMETER, seed_path, exclude=exclude, gitignore=gitignore)
    try:
        yield source
    finally:
        source.close()


def build(tree: Path, source: Source, target: Path, *, progress: Progress = quiet) -> SeedInfo:
    """Make the disk `target` from a source; `tree` is the runtime tree, whose tools do it.

    A directory goes straight into the image. How much an archive holds is known when it is
    unpacked, so it is, checked, into a file beside `target` first.

    Raises:
        InvalidInputError: The source cannot be used after all.
        DiskSpaceError: The file system of `target` has too little room.
        EnvironmentBuildError: mke2fs refused.
    """
    progress(PHASE, 0.0 if source.mode == "directory" else None)
    chunks = checked(PARAMETER, source, progress, PHASE)
    now = int(time.time())
    if source.mode == "directory":
        contents = _contents(source)
        needed = (contents.blocks * _BLOCK >> 20) + 1
        require_room(target.parent, needed_mib=needed, variable=STATE_VARIABLE)
        make_image_of_stream(tree, chunks, target, label=_LABEL, contents=contents, mtime=now)
    else:
        unpacked = target.with_name(f"{target.name}.tar")
        try:
            _write(chunks, unpacked)
            contents = _contents(source)
            needed = (contents.blocks * _BLOCK >> 20) + 1
            require_room(target.parent, needed_mib=needed, variable=STATE_VARIABLE)
            make_image(
                tree, unpacked, target, label=_LABEL, contents=contents, mtime=now, flushed=False
            )
        finally:
            unpacked.unlink(missing_ok=True)
    _drop_lost_and_found(tree, source, target)
    progress(PHASE, 1.0)
    return SeedInfo(
        mode=source.mode,
        seed_path=str(source.path),
        entry_count=source.entry_count,
        bytes_written=source.bytes_written,
        skipped=source.skipped,
    )


def _drop_lost_and_found(tree: Path, source: Source, target: Path) -> None:
    # mke2fs always makes one, and it would stand in /workspace.
    if source.has_lost_and_found:
        return
    command = loader_command(tree, "usr/sbin/debugfs", "-w", "-R", "rmdir /lost+found", str(target))
    finished = run_tool(command, flushed=False)
    if finished.status:
        raise EnvironmentBuildError(
            "the seed",
            f"debugfs ended with status {finished.status}: {'; '.join(finished.lines[-3:])}",
            hint="'pyro env prune' removes what may be damaged.",
        )


def _contents(source: Source) -> Contents:
    # Each entry may waste nearly a block at its end, and a long link's target takes one.
    blocks = source.bytes_written // _BLOCK + source.entry_count + source.index_blocks
    return Contents(source.entry_count, blocks)


def _write(chunks: Iterator[bytes], target: Path) -> None:
    left = 0
    with target.open("wb", buffering=0) as out:
        for chunk in chunks:
            if left < len(chunk):
                require_room(target.parent, needed_mib=128, variable=STATE_VARIABLE)
                left = max(64 << 20, len(chunk))
            left -= len(chunk)
            view = memoryview(chunk)
            while view:
                view = view[out.write(view) :]
