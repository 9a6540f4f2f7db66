"""Trees and archives made into ext4 images, by the runtime tree's own mke2fs.

The host's mke2fs may be too old to read archives, or not be there at all; the tree's is the same
everywhere, and runs through the tree's own loader.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyro_mcp.environments.tarball import Contents, measure
from pyro_mcp.errors import DiskSpaceError, EnvironmentBuildError
from pyro_mcp.host.files import free_mib
from pyro_mcp.host.process import run_tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

BUILD_EPOCH = 1767225600  # 2026-01-01
"""No time in an image is later, so that the same content gives the same bytes."""

_BLOCK = 4096
_INODE = 256
_RESERVED_INODES = 11
# Without checksums: they guard against faulty disks, and each costs the guest time. Without a
# journal: what is read-only needs none.
_FEATURES = (
    "none,ext_attr,dir_index,filetype,extent,flex_bg,sparse_super2,large_file,huge_file,"
    "dir_nlink,extra_isize"
)
# A data disk has one: of a workspace whose machine is killed it is all there is.
_JOURNALED = f"{_FEATURES},has_journal"
_JOURNAL_MIB = 16
_UUID = "b4a2c8f0-7d1e-4c59-9c35-6f1d2a8e0b77"


def loader_command(tree: Path, program: str, *arguments: str) -> list[str]:
    """Command line of a program of the runtime tree that works whatever the host's libc is."""
    return [
        str(tree / "lib64/ld-linux-x86-64.so.2"),
        "--library-path",
        str(tree / "usr/lib/x86_64-linux-gnu"),
        str(tree / program),
        *arguments,
    ]


def make_image(
    tree: Path,
    source: Path,
    output: Path,
    *,
    label: str,
    contents: Contents | None = None,
    size_mib: int | None = None,
    mtime: int = BUILD_EPOCH,
    flushed: bool = True,
) -> None:
    """Make the read-only image `output` from a directory or an uncompressed tar archive.

    Its size fits the content unless `size_mib` says it; what is free in it are holes. Owners and
    modes are those of the source, so an ordinary user should give an archive. `tree` is the
    runtime tree; `contents` saves measuring the source again. Labels have at most 16 characters.
    Without `flushed` it is not waited for that the disk has it.

    Raises:
        EnvironmentBuildError: mke2fs refused.
        DiskSpaceError: the file system of `output` became full.
    """
    if contents is None:
        contents = _measure_directory(source) if source.is_dir() else measure(source)
    blocks, arguments = _filled(contents, str(source), size_mib)
    # fmt: off
    _mke2fs(
        tree, output,
        label=label, blocks=blocks, arguments=arguments, mtime=mtime, flushed=flushed,
    )
    # fmt: on


def make_image_of_stream(
    tree: Path,
    chunks: Iterable[bytes],
    output: Path,
    *,
    label: str,
    contents: Contents,
    mtime: int,
) -> None:
    """As `make_image`, not flushed, from an uncompressed tar archive that comes piece by piece.

    `contents` is at least what the archive needs. What `chunks` raises is raised, and then, as
    after all other errors, there is no `output`.
    """
    blocks, arguments = _filled(contents, "-", None)
    try:
        # fmt: off
        _mke2fs(
            tree, output,
            label=label, blocks=blocks, arguments=arguments, mtime=mtime, chunks=chunks,
            flushed=False,
        )
        # fmt: on
    except BaseException:
        output.unlink(missing_ok=True)
        raise


def _filled(contents: Contents, source: str, size_mib: int | None) -> tuple[int, list[str]]:
    inodes = contents.inodes + _RESERVED_INODES + 16
    table = -(-inodes * _INODE // _BLOCK)
    # Bitmaps and descriptors, extent blocks of large files, and folders of many entries.
    blocks = (contents.blocks + table) * 103 // 100 + 1024
    if size_mib is not None:
        blocks = size_mib * (1 << 20) // _BLOCK
    arguments = [
        *("-N", str(inodes), "-d", source),
        *("-E", f"{_options()},root_owner=0:0,root_perms=0755"),
    ]
    return blocks, arguments


def make_blank(tree: Path, output: Path, *, size_mib: int, label: str) -> None:
    """Make an empty, writable image of that size; nearly all of it are holes.

    Raises:
        EnvironmentBuildError: mke2fs refused.
        DiskSpaceError: the file system of `output` became full.
    """
    arguments = [
        *("-J", f"size={_JOURNAL_MIB}"),
        *("-E", f"{_options()},root_owner=0:0,root_perms=0755"),
    ]
    _mke2fs(
        tree,
        output,
        label=label,
        blocks=size_mib * (1 << 20) // _BLOCK,
        arguments=arguments,
        mtime=BUILD_EPOCH,
        features=_JOURNALED,
    )


def _options() -> str:
    # The seed is fixed, like the uuid: the same content gives the same bytes. The file is new, so
    # its tables are zero already: they stay holes, and no kernel has to initialise them later.
    return f"hash_seed={_UUID},nodiscard,assume_storage_prezeroed=1"


def _mke2fs(
    tree: Path,
    output: Path,
    *,
    label: str,
    blocks: int,
    arguments: Sequence[str],
    mtime: int,
    features: str = _FEATURES,
    chunks: Iterable[bytes] | None = None,
    flushed: bool = True,
) -> None:
    # fmt: off
    command = loader_command(
        tree, "usr/sbin/mke2fs",
        "-q", "-F", "-t", "ext4", "-b", str(_BLOCK), "-I", str(_INODE), "-m", "0",
        "-O", features, "-U", _UUID, "-L", label,
        *arguments,
        str(output), str(blocks),
    )
    # fmt: on
    environment = {
        "SOURCE_DATE_EPOCH": str(mtime),
        # The host's defaults are not ours.
        "MKE2FS_CONFIG": "/dev/null",
        "MKE2FS_SKIP_CHECK_MSG": "1",
        # Names in archives are UTF-8, and the host may have no such locale.
        "LC_ALL": "C.UTF-8",
        "LOCPATH": str(tree / "usr/lib/locale"),
    }
    output.unlink(missing_ok=True)
    finished = run_tool(command, environment=environment, chunks=chunks, flushed=flushed)
    if finished.status == 0:
        output.chmod(0o644)
        return
    said = "; ".join(finished.lines[-3:])
    needed = blocks * _BLOCK >> 20
    output.unlink(missing_ok=True)
    if "No space left" in said and free_mib(output.parent) <= needed:
        raise DiskSpaceError(
            output.parent,
            needed_mib=needed,
            free_mib=free_mib(output.parent),
            variable="PYRO_ENVIRONMENT_CACHE_DIR",
        )
    raise EnvironmentBuildError(
        f"the image {label}",
        f"mke2fs ended with status {finished.status}: {said}",
        hint="Try again; 'pyro env prune' removes what may be damaged.",
    )


def _measure_directory(source: Path) -> Contents:
    inodes = blocks = 0
    for parent, folders, files in os.walk(source):
        inodes += 1
        blocks += 1 + (len(folders) + len(files)) // 64
        for name in files:
            inodes += 1
            size = os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118
            blocks += -(-size // _BLOCK)
        inodes += sum(os.path.islink(os.path.join(parent, name)) for name in folders)  # noqa: PTH114, PTH118
    return Contents(inodes, blocks)
