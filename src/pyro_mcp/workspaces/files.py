"""Files of a workspace, one call each; a stopped workspace is started for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.errors import InvalidInputError
from pyro_mcp.machines import files
from pyro_mcp.machines.spec import check_range
from pyro_mcp.results.files import (
    FileDeleted,
    FileList,
    FileMoved,
    FileRead,
    FileSearch,
    FileStat,
    FileWrite,
    PathEntry,
    SearchMatch,
)
from pyro_mcp.workspaces import file_content, secrets

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from pyro_mcp.machines.files import FileEntry
    from pyro_mcp.workspaces.store import Store

DEFAULT_READ_BYTES = 65536
READ_BYTES_RANGE = (1, 1048576)
WRITE_LIMIT_BYTES = 1048576
"""Of the text of one `write_text`; `write_bytes` has no limit but the disk's."""
SEARCH_RANGE = (1, 10_000)
_MODE = "guest_vsock"
_LARGEST_OFFSET = 2**53


def guest_path(path: object, *, parameter: str = "path", root: bool = True) -> str:
    """An absolute path in /workspace, cleaned; relative ones are taken from there.

    `root` says whether /workspace itself may be named.

    Raises:
        InvalidInputError: Empty, with `..` anywhere, or outside /workspace.
    """
    hint = "Give a path inside /workspace, for example 'src/app.py' or '/workspace/src/app.py'."
    if not isinstance(path, str):
        raise InvalidInputError(parameter, f"is {path!r}, not text", hint=hint)
    # Names may begin or end with blanks; nothing else of a path may be blank.
    if not path.strip():
        raise InvalidInputError(parameter, "is empty", hint=hint)
    try:
        path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidInputError(
            parameter, "has characters that no file name can have", hint=hint
        ) from None
    if "\0" in path:
        raise InvalidInputError(parameter, "contains a NUL character", hint=hint)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidInputError(parameter, f"is {path!r}, which contains '..'", hint=hint)
    if path.startswith("/"):
        if not parts or f"/{parts[0]}" != protocol.WORKSPACE:
            raise InvalidInputError(parameter, f"is {path!r}, outside /workspace", hint=hint)
        parts = parts[1:]
    if not parts and not root:
        raise InvalidInputError(parameter, "is /workspace itself", hint=hint)
    return "/".join((protocol.WORKSPACE, *parts))


def list_files(
    store: Store, workspace_id: str, *, path: str = protocol.WORKSPACE, recursive: bool = False
) -> FileList:
    """Children of a directory sorted by path, or the entry itself when it is none.

    Links are shown, not followed; devices, pipes and sockets are counted and left out.
    """
    where = guest_path(path)
    with store.using(workspace_id) as used:
        found = files.list_files(used.place.home, where, recursive=recursive)
    return FileList(
        workspace_id=workspace_id,
        path=where,
        recursive=recursive,
        entries=[_entry(entry) for entry in found.entries],
        execution_mode=_MODE,
        truncated=found.truncated,
        skipped_special=found.skipped,
        workspace_started=used.started_now,
    )


def stat_file(store: Store, workspace_id: str, path: str) -> FileStat:
    """One entry; a link itself, not what it points to."""
    where = guest_path(path)
    with store.using(workspace_id) as used:
        found = files.stat_file(used.place.home, where)
    return FileStat(
        workspace_id=workspace_id,
        path=where,
        artifact_type=found.artifact_type,
        size_bytes=found.size_bytes,
        mode=found.mode,
        modified_at=found.mtime,
        link_target=found.link_target,
        execution_mode=_MODE,
        workspace_started=used.started_now,
    )


def read_text(
    store: Store,
    workspace_id: str,
    path: str,
    *,
    max_bytes: int = DEFAULT_READ_BYTES,
    offset: int = 0,
) -> FileRead:
    """Part of a regular file as text: bytes that are not UTF-8 are replaced.

    `size_bytes` of the result is the whole file's; `truncated` says that there is more behind.
    """
    check_range("max_bytes", max_bytes, *READ_BYTES_RANGE)
    check_range("offset", offset, 0, _LARGEST_OFFSET)
    where = guest_path(path, root=False)
    with store.using(workspace_id) as used:
        found = file_content.read(
            used.place.home,
            where,
            offset=offset,
            length=max_bytes,
            watch=secrets.watch(store, workspace_id),
        )
    content, redacted = found.text()
    return FileRead(
        workspace_id=workspace_id,
        path=where,
        size_bytes=found.entry.size_bytes,
        max_bytes=max_bytes,
        content=content,
        truncated=offset + found.size < found.entry.size_bytes,
        execution_mode=_MODE,
        offset=offset,
        bytes_read=found.size,
        workspace_started=used.started_now,
        redacted=redacted,
    )


def read_bytes(
    store: Store, workspace_id: str, path: str, *, offset: int = 0, length: int | None = None
) -> bytes:
    """Bytes of a regular file, from `offset` to its end or for `length`; all kept in memory.

    Each byte of a secret's value is a `*`, so that offsets stay right; exports are exact.
    """
    check_range("offset", offset, 0, _LARGEST_OFFSET)
    if length is not None:
        check_range("length", length, 0, _LARGEST_OFFSET)
    where = guest_path(path, root=False)
    with store.using(workspace_id) as used:
        found = file_content.read(
            used.place.home,
            where,
            offset=offset,
            length=length,
            watch=secrets.watch(store, workspace_id),
        )
    return found.masked()


def write_text(store: Store, workspace_id: str, path: str, *, text: str) -> FileWrite:
    """Give a file this text as UTF-8, at once; its directories are made, its mode is kept.

    Links, and what lies below one, are refused.
    """
    if not isinstance(text, str):
        raise InvalidInputError("text", "is no text", hint="For bytes use the SDK.")
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            "text", "has characters that UTF-8 cannot carry", hint="Write it as bytes."
        ) from error
    if len(content) > WRITE_LIMIT_BYTES:
        raise InvalidInputError(
            "text",
            f"has {len(content)} bytes as UTF-8",
            hint=f"At most {WRITE_LIMIT_BYTES} at once; "
            "use write_workspace_file_bytes of the SDK or sync push.",
        )
    return write_bytes(store, workspace_id, path, content=content)


def write_bytes(
    store: Store,
    workspace_id: str,
    path: str,
    *,
    content: bytes | bytearray | memoryview | BinaryIO | Iterable[bytes],
    mode: int | None = None,
) -> FileWrite:
    """The same for bytes of any length, which are streamed; `mode` is for `chmod`."""
    if mode is not None:
        check_range("mode", mode, 0, 0o7777)
    where = guest_path(path, root=False)
    with store.using(workspace_id) as used:
        size = files.write_file(used.place.home, where, content, mode=mode)
    return FileWrite(
        workspace_id=workspace_id,
        path=where,
        size_bytes=size,
        bytes_written=size,
        execution_mode=_MODE,
        workspace_started=used.started_now,
    )


def delete_file(
    store: Store, workspace_id: str, path: str, *, recursive: bool = False
) -> FileDeleted:
    """Remove a file, a link or an empty directory; with `recursive` a directory and all in it."""
    where = guest_path(path, root=False)
    with store.using(workspace_id) as used:
        count = files.delete_file(used.place.home, where, recursive=recursive)
    return FileDeleted(
        workspace_id=workspace_id,
        path=where,
        deleted_count=count,
        execution_mode=_MODE,
        workspace_started=used.started_now,
    )


def move_file(
    store: Store, workspace_id: str, path: str, to: str, *, replace: bool = False
) -> FileMoved:
    """Give an entry another path; missing directories are made."""
    where = guest_path(path, root=False)
    target = guest_path(to, parameter="to", root=False)
    with store.using(workspace_id) as used:
        files.move_file(used.place.home, where, target, replace=replace)
    return FileMoved(
        workspace_id=workspace_id,
        path=where,
        to=target,
        execution_mode=_MODE,
        workspace_started=used.started_now,
    )


def make_directory(store: Store, workspace_id: str, path: str, *, parents: bool = True) -> FileStat:
    """Make a directory; with `parents` its own directories too, and one that is there is fine."""
    where = guest_path(path, root=False)
    with store.using(workspace_id) as used:
        files.mkdir(used.place.home, where, parents=parents)
        made = stat_file(store, workspace_id, where)
    return replace(made, workspace_started=used.started_now)


def search(
    store: Store,
    workspace_id: str,
    pattern: str,
    *,
    path: str = protocol.WORKSPACE,
    literal: bool = False,
    ignore_case: bool = False,
    globs: Iterable[str] = (),
    max_matches: int = 200,
) -> FileSearch:
    """Lines of text files that match a Python regular expression, or contain a `literal`.

    A glob with a slash is for the path below /workspace, one without for the name; `!` in front
    excludes. Binary files, those over 16 MiB, links and `.git` are left out. What takes longer
    than a minute is refused.
    """
    if not isinstance(pattern, str) or not pattern:
        wrong = "is no text" if pattern else "is empty"
        raise InvalidInputError("pattern", wrong, hint="Give what to look for.")
    check_range("max_matches", max_matches, *SEARCH_RANGE)
    wanted = [globs] if isinstance(globs, str) else list(globs)
    if not all(isinstance(glob, str) and glob.strip("!/") for glob in wanted):
        raise InvalidInputError("globs", "has one that is empty", hint="For example '*.py'.")
    where = guest_path(path)
    with store.using(workspace_id) as used:
        found = files.search(
            used.place.home,
            pattern,
            path=where,
            literal=literal,
            ignore_case=ignore_case,
            globs=wanted,
            max_matches=max_matches,
        )
    redactor = secrets.redactor(store, workspace_id)
    shown_pattern, redacted = redactor.text(pattern)
    matches = []
    for match in found.matches:
        text, changed = (redactor.excerpt if match.text_truncated else redactor.text)(match.text)
        redacted = redacted or changed
        matches.append(
            SearchMatch(
                path=f"{protocol.WORKSPACE}/{match.path}",
                line=match.line,
                column=match.column,
                text=text,
                text_truncated=match.text_truncated,
            )
        )
    return FileSearch(
        workspace_id=workspace_id,
        path=where,
        pattern=shown_pattern,
        matches=matches,
        count=len(found.matches),
        truncated=found.truncated,
        files_searched=found.files,
        files_skipped=found.skipped,
        execution_mode=_MODE,
        workspace_started=used.started_now,
        redacted=redacted,
    )


def _entry(entry: FileEntry) -> PathEntry:
    return PathEntry(
        path=f"{protocol.WORKSPACE}/{entry.path}" if entry.path else protocol.WORKSPACE,
        artifact_type=entry.artifact_type,
        size_bytes=entry.size_bytes,
        link_target=entry.link_target,
    )
