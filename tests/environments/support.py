"""What these tests share: a small file system, and builders that are processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pyro_mcp.config import CACHE_VARIABLE, CATALOGUE_VARIABLE, Settings
from pyro_mcp.environments.cache import (
    DATA_DISK_MIB,
    RUNTIME_MANIFEST,
    Runtime,
    ensure_runtime,
    runtime_place,
)
from pyro_mcp.host.files import copy_sparse
from tests.support import needs


def share_runtime(runtime: Runtime, settings: Settings) -> None:
    """Put a runtime into another cache: its files are links where they can be.

    Not one link to the whole: what a test prunes or damages is then only the test's.
    """
    source = runtime.tree.parent
    names = [
        "tree",
        "jail",
        RUNTIME_MANIFEST,
        runtime.agent_image.name,
        f"empty-{DATA_DISK_MIB}.ext4",
    ]
    target = runtime_place(settings)
    target.mkdir(parents=True)
    for name in names:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, symlinks=True, copy_function=_link)
        elif (source / name).exists():
            _link(source / name, target / name)
    ensure_runtime(settings)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        Path(target).hardlink_to(source)
    except OSError:  # another file system
        copy_sparse(Path(source), Path(target), variable="X", mode=Path(source).stat().st_mode)


def environment_of(settings: Settings, **more: str) -> dict[str, str]:
    """Variables with which another process has the same cache and catalogue."""
    return {
        **os.environ,
        CACHE_VARIABLE: str(settings.cache_dir),
        CATALOGUE_VARIABLE: str(settings.catalogue),
        **more,
    }


class Ran(NamedTuple):
    """How a script ended."""

    status: int
    output: str


def run_with_small_filesystem(
    settings: Settings, script: str, *, place: Path, size_mib: int
) -> Ran:
    """Run a Python script in a mount namespace where `place` is a file system of that size."""
    namespace = [needs("unshare", package="util-linux"), "--mount"]
    if os.geteuid() != 0:
        namespace += ["--map-root-user", "--map-auto"]
    mount = f'mount -t tmpfs -o size={size_mib}m pyro-test "$0" && exec "$@"'
    finished = subprocess.run(
        [*namespace, "--", "sh", "-c", mount, str(place), sys.executable, "-c", script],
        env=environment_of(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(finished.returncode, finished.stdout + finished.stderr)


@contextmanager
def builder(settings: Settings, script: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A Python script in a process of its own, with the same cache; killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment_of(settings, **variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read a builder's output up to the line with `words`; gives all of it."""
    assert process.stdout is not None
    seen = ""
    while line := process.stdout.readline():
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"{words!r} was never said, only: {seen}")
