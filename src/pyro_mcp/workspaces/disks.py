"""The disk of a stopped workspace, seen without booting it: a guest that only looks reads it."""

from __future__ import annotations

import contextlib
import os
import posixpath
from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.boundary import output
from pyro_mcp.errors import InvalidInputError, WorkspaceFileError, WorkspaceStateError
from pyro_mcp.host.files import require_room
from pyro_mcp.machines import files
from pyro_mcp.machines.choose import choose_engine
from pyro_mcp.machines.inspection import build_image, inspecting
from pyro_mcp.results.files import DiskExport, DiskList, DiskRead, PathEntry
from pyro_mcp.workspaces import file_content, secrets
from pyro_mcp.workspaces.secret_file import redacted_errors
from pyro_mcp.workspaces.store import quiet, seed_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyro_mcp.workspaces.store import Store

_OUTPUT = "output_path"
_BLOCK = 512
_SPARE_MIB = 128


def list_disk(
    store: Store, workspace_id: str, path: str = protocol.WORKSPACE, *, recursive: bool = False
) -> DiskList:
    """List any path of a stopped workspace's disk.

    Raises:
        WorkspaceStateError: It runs.
        WorkspaceFileError: There is no such path.
    """
    wanted = disk_path(path)
    with _looking(store, workspace_id) as home, _naming(wanted):
        listing = files.list_files(home, _inside(wanted), recursive=recursive)
    entries = [
        PathEntry(
            path=_outside(entry.path),
            artifact_type=entry.artifact_type,
            size_bytes=entry.size_bytes,
            link_target=entry.link_target,
        )
        for entry in listing.entries
    ]
    return DiskList(
        workspace_id=workspace_id,
        path=wanted,
        recursive=recursive,
        entries=entries,
        truncated=listing.truncated,
    )


def read_disk(store: Store, workspace_id: str, path: str, *, max_bytes: int = 65536) -> DiskRead:
    """Read the head of a file of a stopped workspace's disk, as text."""
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes <= 0:
        raise InvalidInputError("max_bytes", f"is {max_bytes!r}", hint="Give a number above 0.")
    wanted = disk_path(path)
    with _looking(store, workspace_id) as home, _naming(wanted):
        found = file_content.read(
            home, _inside(wanted), length=max_bytes, watch=secrets.watch(store, workspace_id)
        )
    content, redacted = found.text()
    return DiskRead(
        workspace_id=workspace_id,
        path=wanted,
        size_bytes=found.entry.size_bytes,
        max_bytes=max_bytes,
        content=content,
        truncated=found.entry.size_bytes > found.size,
        redacted=redacted,
    )


def export_disk(store: Store, workspace_id: str, output_path: str | Path) -> DiskExport:
    """Make one raw ext4 image of everything a stopped workspace shows.

    It appears whole or not at all; what a killed process left of one goes with the next.

    Raises:
        OutputExistsError: There is something at `output_path`; it stays.
        InvalidInputError: Nothing can be made there.
        DiskSpaceError: The image might not fit.
    """
    target = output.free_place(_OUTPUT, output_path)
    size = _size_mib(store, workspace_id)
    with output.scratch(_OUTPUT, target) as folder:
        require_room(folder, needed_mib=size, variable=_OUTPUT)
        image = folder / "image"
        with image.open("xb") as file:
            file.truncate(size << 20)
        with _looking(store, workspace_id, output=image) as home:
            build_image(home)
        # Started by root, the jail wrote it under a uid of its own.
        os.chown(image, os.getuid(), os.getgid())
        image.chmod(0o644)
        output.publish_new(image, target)
    return DiskExport(
        workspace_id=workspace_id,
        output_path=str(target),
        disk_format="ext4",
        bytes_written=target.stat().st_size,
    )


def disk_path(path: str) -> str:
    """An absolute path of the guest; relative ones are below /workspace.

    `..` is resolved and stays below `/`, but may not lead a relative path out of /workspace.
    """
    if not path.strip() or "\0" in path:
        raise InvalidInputError("path", f"is {path!r}", hint="Give a path of the guest.")
    if path.startswith("/"):
        return posixpath.normpath("/" + path.lstrip("/"))
    if ".." in path.split("/"):
        raise InvalidInputError(
            "path", f"is {path!r}", hint="Give it from '/' to name something outside /workspace."
        )
    return posixpath.normpath(f"{protocol.WORKSPACE}/{path}")


def _inside(path: str) -> str:
    return posixpath.normpath(protocol.WORKSPACE + path)


def _outside(path: str) -> str:
    # The guest's paths are relative to where it has the machine's root.
    return "/" + path.removeprefix(protocol.WORKSPACE).lstrip("/")


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Errors name the path as it was asked for, not as seen from the guest's own root."""
    try:
        yield
    except WorkspaceFileError as error:
        problem = error.problem
        if problem.startswith(path.removeprefix("/")):
            problem = f"/{problem}"
        raise WorkspaceFileError(problem, reason=error.reason, hint=error.hint) from error


@contextlib.contextmanager
def _looking(store: Store, workspace_id: str, *, output: Path | None = None) -> Iterator[Path]:
    row = store.row(workspace_id)
    place = store.place(workspace_id)
    with place.changing(), redacted_errors(place):
        if place.running:
            raise WorkspaceStateError(
                workspace_id,
                state="started",
                needed="stopped",
                hint="Call 'pyro workspace stop' first; a running one has 'workspace file'.",
            )
        row = store.row(workspace_id)
        store.settle(row, place)
        with inspecting(
            store.settings.state_dir,
            store.find_images(row.environment, quiet),
            choose_engine(store.engine_name),
            data_disk=place.disk(row.generation),
            seed_image=seed_of(row, place),
            output_disk=output,
        ) as home:
            yield home


def _size_mib(store: Store, workspace_id: str) -> int:
    """Room for everything, were nothing of it replaced, and for the file system itself."""
    row = store.row(workspace_id)
    place = store.place(workspace_id)
    images = store.find_images(row.environment, quiet)
    disks = [images.environment_image, place.disk(row.generation), place.seed]
    used = sum(disk.stat().st_blocks * _BLOCK for disk in disks if disk.exists())
    return (used * 5 // 4 >> 20) + _SPARE_MIB
