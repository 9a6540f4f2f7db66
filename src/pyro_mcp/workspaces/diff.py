"""How /workspace differs from its baseline; costs what changed, not what there is.

The guest looks at the upper layer of its overlay alone and compares contents itself. Only what a
text patch needs comes to the host, and only as much as the patch may hold.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from typing import TYPE_CHECKING

from pyro_mcp.errors import InvalidInputError, WorkspaceFileError
from pyro_mcp.machines import file_sets, files
from pyro_mcp.results.changes import DiffEntry, DiffSummary, WorkspaceDiff
from pyro_mcp.workspaces import git_patch, line_matching, secrets, snapshots
from pyro_mcp.workspaces.between import between
from pyro_mcp.workspaces.git_patch import Version
from pyro_mcp.workspaces.naming import BASELINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pyro_mcp.boundary.redact import Redactor
    from pyro_mcp.machines.files import Change, Side
    from pyro_mcp.workspaces.store import Store

LIMIT_BYTES = 8 * 1024 * 1024
"""How large `patch` grows by default."""
MAX_FILE_BYTES = 16 * 1024 * 1024
"""Files beyond this on either side are listed, not compared line by line."""
_AT_ONCE_BYTES = 64 * 1024 * 1024
_SKIPPED_SHOWN = 100
_READ_SINGLY = 100
"""Files that differ from a snapshot; of more, the contents come with all that was changed."""
_WORK = 10 * line_matching.WORK


def diff(
    store: Store,
    workspace_id: str,
    *,
    against: str = BASELINE,
    names_only: bool = False,
    limit_bytes: int = LIMIT_BYTES,
) -> WorkspaceDiff:
    """Compare; starts the workspace when it is stopped.

    Args:
        store: All workspaces.
        workspace_id: Which.
        against: `baseline`, or the name of a snapshot of this workspace.
        names_only: Leave out all text patches.
        limit_bytes: Text beyond this is left out, file by file, and `truncated` says so.

    Raises:
        UnknownWorkspaceError: No workspace has that id.
        UnknownSnapshotError: It has no snapshot of that name.
        InvalidInputError: `limit_bytes` is negative.
    """
    if limit_bytes < 0:
        raise InvalidInputError(
            "limit_bytes", f"is {limit_bytes}", hint="Use 0 or more; names_only leaves text out."
        )
    if against.strip() != BASELINE:
        return _diff_with_snapshot(store, workspace_id, against, names_only, limit_bytes)
    with store.using(workspace_id) as used:
        now = _Place(used.place.home)
        found = now.changes()
        if not names_only:
            found = _with_texts(now, found)
        contents = _Contents(_Place(now.home, base=True), now)
        entries = _entries(contents, _shown(found), None if names_only else limit_bytes)
    entries = _redacted(entries, secrets.redactor(store, workspace_id))
    return _result(workspace_id, entries, _special(found), started=used.started_now)


def _diff_with_snapshot(
    store: Store, workspace_id: str, against: str, names_only: bool, limit_bytes: int
) -> WorkspaceDiff:
    with (
        store.using(workspace_id) as used,
        snapshots.looking(store, workspace_id, against) as looking,
    ):
        seed, now = _Place(used.place.home, base=True), _Place(used.place.home)
        then = _Place(looking, snapshots.LOOKING_AT)
        saved, live = then.changes(), now.changes()
        found = _between(then, saved, now, live)
        if not names_only and len(found) > _READ_SINGLY:
            saved, live = _with_texts(then, saved), _with_texts(now, live)
            found = _between(then, saved, now, live)
        contents = _Contents(
            _Either(then, {change.path for change in saved}, seed),
            _Either(now, {change.path for change in live}, seed),
        )
        entries = _entries(contents, _shown(found), None if names_only else limit_bytes)
    entries = _redacted(entries, secrets.redactor(store, workspace_id))
    result = _result(workspace_id, entries, _special(found), started=used.started_now)
    return dataclasses.replace(result, against=against.strip())


def _between(then: _Place, saved: list[Change], now: _Place, live: list[Change]) -> list[Change]:
    """What differs between two trees, each of which has changed that of the seed."""
    return between(
        saved,
        live,
        lambda paths: {path for path, _ in then.digests(paths) & now.digests(paths)},
    )


def _with_texts(place: _Place, found: list[Change]) -> list[Change]:
    """The changes once more, with the contents of as many small files as may come at once."""
    largest = total = 0
    for size in sorted(_text_sizes(found)):
        total += size
        if total > _AT_ONCE_BYTES:
            break
        largest = size
    return place.changes(content_bytes=largest) if largest else found


def _shown(found: Iterable[Change]) -> list[Change]:
    """All but special files, in path order; of a device that replaced a file, the file's end."""
    out = []
    for change in found:
        base, now = _ordinary(change.base), _ordinary(change.now)
        if base is None and now is None:
            continue
        if (base, now) != (change.base, change.now):
            status = "added" if base is None else "deleted"
            change = dataclasses.replace(change, base=base, now=now, status=status)
        out.append(change)
    return list(_by_path(out))


def _by_path(found: list[Change]) -> Iterator[Change]:
    """In path order; of directories that came or went only those without anything in them."""
    found.sort(key=lambda change: change.path)
    paths = [change.path for change in found]
    for change in found:
        side = change.now or change.base
        if change.status in ("added", "deleted") and side and side.artifact_type == "directory":
            below = bisect_left(paths, f"{change.path}/")
            if below < len(paths) and paths[below].startswith(f"{change.path}/"):
                continue
        yield change


def _ordinary(side: Side | None) -> Side | None:
    return None if side is None or side.artifact_type == "special" else side


def _special(found: Iterable[Change]) -> list[str]:
    return sorted(
        change.path
        for change in found
        if change.now is not None and change.now.artifact_type == "special"
    )[:_SKIPPED_SHOWN]


def _text_sizes(found: Iterable[Change]) -> list[int]:
    return [
        side.size_bytes
        for change in found
        if change.content and not _too_large(change)
        for side in (change.base, change.now)
        if side is not None and side.artifact_type == "file"
    ]


def _too_large(change: Change) -> bool:
    sides = (change.base, change.now)
    return any(side is not None and side.size_bytes > MAX_FILE_BYTES for side in sides)


@dataclasses.dataclass(frozen=True)
class _Place:
    """A guest to read from, and where in it the tree is."""

    home: Path
    path: str = ""
    base: bool = False
    """The seed's tree, not the workspace's."""

    def changes(self, *, content_bytes: int = 0) -> list[Change]:
        """What it has changed of the seed; of files of that size with their contents."""
        return list(files.changes(self.home, path=self.path, content_bytes=content_bytes))

    def read(self, path: str) -> bytes | None:
        """None when the file has gone meanwhile."""
        try:
            content, _ = files.read_file(
                self.home, self._inside(path), length=MAX_FILE_BYTES, base=self.base
            )
        except WorkspaceFileError:
            return None
        return content

    def digests(self, paths: list[str]) -> set[tuple[str, str]]:
        """Path and digest of each file that is there."""
        inside = {self._inside(path): path for path in paths}
        found = file_sets.digests(self.home, list(inside))
        return {(inside[path], digest) for path, digest in found.items() if path in inside}

    def _inside(self, path: str) -> str:
        return f"{self.path}/{path}" if self.path else path


@dataclasses.dataclass(frozen=True)
class _Either:
    """One tree for the paths that it has changed, another for all else."""

    own: _Place
    changed: set[str]
    other: _Place

    def read(self, path: str) -> bytes | None:
        """See `_Place`."""
        return (self.own if path in self.changed else self.other).read(path)


@dataclasses.dataclass(frozen=True)
class _Contents:
    """The contents of both sides of a change."""

    base: _Place | _Either
    now: _Place | _Either

    def of(self, change: Change, side: Side) -> bytes | None:
        """What came with the changes, or is read now; None when it has gone meanwhile."""
        if side.data is not None:
            return side.data
        return (self.base if side is change.base else self.now).read(change.path)


def _entries(
    contents: _Contents, found: Sequence[Change], limit_bytes: int | None
) -> list[DiffEntry]:
    if limit_bytes is None:
        return [_entry(change) for change in found]
    return _patched(contents, found, limit_bytes)


def _patched(contents: _Contents, found: Sequence[Change], limit_bytes: int) -> list[DiffEntry]:
    entries = []
    left = limit_bytes
    allowance = line_matching.Allowance(_WORK)
    for change in found:
        entry = _entry(change)
        if _has_text(change):
            # What was added or deleted is in the patch whole: no need to read it to know.
            least = change.now.size_bytes if change.now and change.base is None else 0
            if least > left or _too_large(change):
                entry = dataclasses.replace(entry, truncated=True)
            else:
                entry, used = _with_text(contents, change, entry, left, allowance)
                left -= used
        entries.append(entry)
    return entries


def _has_text(change: Change) -> bool:
    return any(
        side is not None and side.artifact_type != "directory" for side in (change.base, change.now)
    )


def _with_text(
    contents: _Contents,
    change: Change,
    entry: DiffEntry,
    left: int,
    allowance: line_matching.Allowance,
) -> tuple[DiffEntry, int]:
    sides: list[Version | None] = []
    for side in (change.base, change.now):
        version = None
        if side is not None and side.artifact_type == "symlink":
            target = (side.link_target or "").encode("utf-8", "surrogateescape")
            version = Version(target, git_patch.SYMLINK)
        elif side is not None and side.artifact_type == "file":
            # The same on both sides: for a mode, no content is needed.
            needed = change.content and side.size_bytes > 0
            content = contents.of(change, side) if needed else b""
            if content is None:
                return dataclasses.replace(entry, truncated=True), 0
            version = Version(content, git_patch.git_mode(side.mode))
        sides.append(version)
    patch = git_patch.between(change.path, sides[0], sides[1], allowance)
    if patch is None:
        return entry, 0
    size = len(patch.text.encode())
    if size > left:
        return dataclasses.replace(entry, truncated=True), 0
    return dataclasses.replace(
        entry,
        text_patch=patch.text,
        lines_added=patch.lines_added,
        lines_removed=patch.lines_removed,
    ), size


def _entry(change: Change) -> DiffEntry:
    side = change.now or change.base
    return DiffEntry(
        path=change.path,
        status=change.status,
        artifact_type=side.artifact_type if side else "file",
        text_patch=None,
        old_mode=_mode(change.base),
        new_mode=_mode(change.now),
        size_bytes=side.size_bytes if side else 0,
    )


def _mode(side: Side | None) -> str | None:
    return None if side is None else f"{side.mode:04o}"


def _redacted(entries: list[DiffEntry], redactor: Redactor) -> list[DiffEntry]:
    if not redactor:
        return entries
    shown = []
    for entry in entries:
        text, redacted = redactor.text(entry.text_patch or "")
        shown.append(
            dataclasses.replace(entry, text_patch=text, redacted=True) if redacted else entry
        )
    return shown


def _result(
    workspace_id: str, entries: list[DiffEntry], skipped: list[str], *, started: bool
) -> WorkspaceDiff:
    statuses = [entry.status for entry in entries]
    texts = [entry.text_patch for entry in entries if entry.text_patch is not None]
    return WorkspaceDiff(
        workspace_id=workspace_id,
        changed=bool(entries),
        summary=DiffSummary(
            total=len(entries),
            added=statuses.count("added"),
            modified=statuses.count("modified"),
            deleted=statuses.count("deleted"),
            type_changed=statuses.count("type_changed"),
            text_patched=len(texts),
            non_text=len(entries) - len(texts),
            lines_added=sum(entry.lines_added or 0 for entry in entries),
            lines_removed=sum(entry.lines_removed or 0 for entry in entries),
        ),
        entries=entries,
        patch="".join(texts),
        against=BASELINE,
        truncated=any(entry.truncated for entry in entries),
        skipped=skipped,
        workspace_started=started,
        redacted=any(entry.redacted for entry in entries),
    )
