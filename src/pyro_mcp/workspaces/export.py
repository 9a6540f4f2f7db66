"""A file, directory or link of a workspace, brought to the host: whole or not at all."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.boundary import limits, output
from pyro_mcp.boundary.extract import PackedExtraction, TreeExtraction, single
from pyro_mcp.boundary.paths import MemberError, in_workspace
from pyro_mcp.boundary.tar import Parser, TarError
from pyro_mcp.errors import ExportRefusedError, InvalidInputError, WorkspaceFileError
from pyro_mcp.machines import files
from pyro_mcp.results.transfers import WorkspaceExportResult
from pyro_mcp.workspaces.store import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pyro_mcp.boundary.extract import Extraction
    from pyro_mcp.machines.files import FileEntry, Transfer
    from pyro_mcp.workspaces.store import Progress, Store

    Send = Callable[[Callable[[bytes], None]], Transfer]
    """Passes the archive on, piece by piece."""

PARAMETER = "output_path"
PHASE = "export"
_PACKED = (".tar.gz", ".tgz")
_TELL_EVERY = 8 << 20


def export(
    store: Store,
    workspace_id: str,
    path: str,
    *,
    output_path: str | Path,
    limit_bytes: int = limits.EXPORT_LIMIT_BYTES,
    progress: Progress = quiet,
) -> WorkspaceExportResult:
    """Make a copy of something in /workspace at `output_path`.

    A directory becomes a directory, or an archive of its content when `output_path` ends in
    `.tar.gz` or `.tgz`; a file stays a file whatever its name. Permissions and times are kept
    but for setuid, setgid and sticky bits and what the caller's umask takes away; devices,
    sockets and pipes are left out with a note. Links are carried as they are, never followed.

    Args:
        store: Of the workspace.
        workspace_id: Which; it is started when it is stopped.
        path: Below /workspace.
        output_path: Where nothing is yet; parents are made.
        limit_bytes: Content beyond it is refused.
        progress: Told as data comes.

    Raises:
        InvalidInputError: A path cannot be used.
        OutputExistsError: Something is at `output_path`.
        WorkspaceFileError: There is no such thing in the workspace.
        ExportRefusedError: The guest sent what may not be on a host, or too much.
        DiskSpaceError: It would fill the host's disk.
    """
    inside = in_workspace("path", path)
    if isinstance(limit_bytes, bool) or not isinstance(limit_bytes, int) or limit_bytes < 0:
        raise InvalidInputError(
            "limit_bytes", f"is {limit_bytes!r}", hint="Give a number of bytes."
        )
    store.row(workspace_id)
    target = output.free_place(PARAMETER, output_path)
    with store.using(workspace_id) as used:
        home = used.place.home
        entry = files.stat_file(home, inside)
        kind = entry.artifact_type
        if kind == "special":
            raise WorkspaceFileError(
                f"{inside} is a device, a pipe or a socket.",
                reason=protocol.ERROR_SPECIAL,
                hint="Only regular files, directories and links can be exported.",
            )
        packed = kind == "directory" and target.name.lower().endswith(_PACKED)
        progress(PHASE, None)

        def send(sink: Callable[[bytes], None]) -> Transfer:
            return files.export_tar(home, inside, _counting(sink, progress))

        with _refusing(inside):
            made = receive(send, target, wanted=entry, packed=packed, limit_bytes=limit_bytes)
        progress(PHASE, 1.0)
    return WorkspaceExportResult(
        workspace_id=workspace_id,
        workspace_path=inside,
        output_path=str(target),
        artifact_type=kind,
        entry_count=made.entry_count,
        bytes_written=made.bytes_written,
        execution_mode="guest_vsock",
        packed=packed,
        skipped=made.skipped,
        workspace_started=used.started_now,
    )


def receive(
    send: Send, target: Path, *, wanted: FileEntry, packed: bool, limit_bytes: int
) -> Extraction:
    """Make what `send` passes on, and give it its name when all of it was there.

    Raises:
        MemberError, TarError: It cannot be what it should be; nothing is left of it.
    """
    with output.scratch(PARAMETER, target) as folder:
        room = output.Room(folder)
        if packed:
            finished = folder / "archive"
            with finished.open("xb") as out:
                packing = PackedExtraction(out, limit_bytes=limit_bytes, room=room)
                _parse(send, packing, wanted)
                packing.finish()
            output.publish_new(finished, target)
            return packing
        root = folder / "tree"
        root.mkdir()
        with closing(TreeExtraction(root, limit_bytes=limit_bytes, room=room)) as making:
            _parse(send, making, wanted)
            making.finish(mode=wanted.mode, mtime=int(wanted.mtime))
        finished = root if wanted.artifact_type == "directory" else single(making, root)
        output.publish_new(finished, target)
        return making


def _parse(send: Send, extraction: Extraction, wanted: FileEntry) -> None:
    parser = Parser(extraction)
    sent = send(parser.feed)
    parser.close()
    if sent.artifact_type != wanted.artifact_type:
        raise TarError(f"it was a {wanted.artifact_type} and became a {sent.artifact_type}")
    extraction.note_left_out([os.fsencode(path) for path in sent.skipped], sent.skipped_count)


@contextmanager
def _refusing(path: str) -> Iterator[None]:
    try:
        yield
    except (MemberError, TarError) as error:
        raise ExportRefusedError(
            path,
            str(error),
            hint="Nothing was kept. Export less of it, look at it with a command first, or give "
            "another limit_bytes if that is what it met.",
        ) from error
    except OSError as error:
        raise ExportRefusedError(
            path,
            f"the host could not write it: {error.strerror}",
            hint="Nothing was kept. Give an output_path on another file system.",
        ) from error


def _counting(sink: Callable[[bytes], None], progress: Progress) -> Callable[[bytes], None]:
    done = told = 0

    def count(data: bytes) -> None:
        nonlocal done, told
        sink(data)
        done += len(data)
        if done - told >= _TELL_EVERY:
            told = done
            progress(PHASE, None)

    return count
