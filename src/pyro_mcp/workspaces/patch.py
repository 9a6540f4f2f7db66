"""Applying unified diffs to /workspace: all of a patch, or nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.errors import GuestLostError, PatchError
from pyro_mcp.machines import file_sets, files
from pyro_mcp.results.changes import PatchEntry, PatchResult, PatchSummary
from pyro_mcp.workspaces import patch_plan, patch_text, secrets
from pyro_mcp.workspaces.patch_plan import MAX_FILE_BYTES, Found
from pyro_mcp.workspaces.secret_file import redacted_errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyro_mcp.machines.files import FileEntry
    from pyro_mcp.workspaces.patch_plan import Plan, Step
    from pyro_mcp.workspaces.store import Store


def apply(store: Store, workspace_id: str, *, patch: str) -> PatchResult:
    """Apply the output of `git diff` or `diff -u`; starts the workspace when it is stopped.

    Raises:
        UnknownWorkspaceError: No workspace has that id.
        PatchError: The patch is empty, malformed, binary, or names what is not in /workspace.
        PatchConflictError: It does not fit the files there are; says which and why.
        WorkspaceFileError: The guest could not write it, or a command changed one of the files
            while this looked at them. In all cases nothing was changed.
    """
    if not patch.strip():
        raise PatchError("is empty", hint="Give the output of 'git diff' or 'diff -u'.")
    store.row(workspace_id)
    with redacted_errors(store.place(workspace_id)):
        changes = patch_text.parse(patch)
    with store.using(workspace_id) as used:
        home = used.place.home
        plan = patch_plan.plan(changes, _Guest(home))
        if plan.steps:
            file_sets.commit(home, [_step(step) for step in plan.steps])
    entries = _entries(plan)
    shown, redacted = secrets.redactor(store, workspace_id).text(patch)
    statuses = [entry.status for entry in entries]
    return PatchResult(
        workspace_id=workspace_id,
        changed=bool(entries),
        summary=PatchSummary(
            total=len(entries),
            added=statuses.count("added"),
            modified=statuses.count("modified"),
            deleted=statuses.count("deleted"),
        ),
        entries=entries,
        patch=shown,
        execution_mode="guest_vsock",
        workspace_started=used.started_now,
        redacted=redacted,
    )


class _Guest:
    """The workspace as the tree that the patch is for."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._entries: dict[str, FileEntry] = {}

    def look(self, paths: Sequence[str]) -> dict[str, Found]:
        """See `patch_plan.Tree`."""
        self._entries = file_sets.look(self._home, paths)
        return {
            path: Found(entry.artifact_type, entry.mode, entry.size_bytes, entry.mtime)
            for path, entry in self._entries.items()
        }

    def below(self, path: str) -> list[str]:
        """See `patch_plan.Tree`."""
        listed = files.list_files(self._home, path, recursive=True).entries
        return [entry.path for entry in listed if entry.artifact_type != "directory"]

    def read(self, path: str) -> bytes:
        """See `patch_plan.Tree`."""
        entry = self._entries[path]
        if entry.link_target is not None:
            return entry.link_target.encode("utf-8", "surrogateescape")
        # More than there was: it is being written to. The guest sees that when it commits.
        content, _ = files.read_file(self._home, path, length=MAX_FILE_BYTES)
        if len(content) > MAX_FILE_BYTES:
            raise GuestLostError("the agent sent more than was asked for")
        return content


def _step(step: Step) -> file_sets.Step:
    onto_directory = step.before is not None and step.before.kind == "directory"
    before = None if step.before is None or onto_directory else step.before.stamp
    after = step.after
    if after is None:
        return file_sets.Step(path=step.path, before=before, kind=None)
    return file_sets.Step(
        path=step.path,
        before=before,
        kind="symlink" if after.symlink else "file",
        mode=after.mode,
        content=after.content,
        replaces_directory=onto_directory,
    )


def _entries(plan: Plan) -> list[PatchEntry]:
    entries = []
    for step in plan.steps:
        status = "modified"
        if step.before is None or step.before.kind == "directory":
            status = "added"
        elif step.after is None:
            status = "deleted"
        source = plan.renamed.get(step.path)
        entries.append(
            PatchEntry(
                path=_absolute(step.path),
                status=status,
                renamed_from=None if source is None else _absolute(source),
            )
        )
    return entries


def _absolute(path: str) -> str:
    return f"{protocol.WORKSPACE}/{path}"
