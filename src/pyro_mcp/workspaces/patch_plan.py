"""What applying a patch will do to a tree, worked out in full before anything is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from pyro_mcp.errors import PatchConflictError
from pyro_mcp.workspaces import hunks
from pyro_mcp.workspaces.git_patch import SYMLINK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyro_mcp.workspaces.patch_text import FileChange

MAX_FILE_BYTES = 16 * 1024 * 1024


class Found(NamedTuple):
    """An entry of the tree, the last name of its path not followed."""

    kind: str
    """file, directory, symlink, or anything else."""
    mode: int
    """Permission bits."""
    size_bytes: int
    stamp: float
    """Differs when the entry was changed meanwhile."""


class Tree(Protocol):
    """The files a patch is applied to; paths are relative."""

    def look(self, paths: Sequence[str]) -> dict[str, Found]:
        """Of these, the ones that exist."""

    def below(self, path: str) -> list[str]:
        """All files and symlinks below a directory."""

    def read(self, path: str) -> bytes:
        """A file's content, a symlink's target."""


class State(NamedTuple):
    """A file as it will be."""

    content: bytes
    mode: int
    symlink: bool


class Step(NamedTuple):
    """One path, and what becomes of it; all steps are taken, or none."""

    path: str
    before: Found | None
    after: State | None


class Plan(NamedTuple):
    """All of it."""

    steps: list[Step]
    renamed: dict[str, str]
    """New names to old ones, of renames and copies."""


def plan(changes: Sequence[FileChange], tree: Tree) -> Plan:
    """Work out all steps, in the order of their paths.

    Raises:
        PatchConflictError: The tree is not what the patch is for.
    """
    return _Planning(changes, tree).run()


class _Planning:
    def __init__(self, changes: Sequence[FileChange], tree: Tree) -> None:
        self._changes = changes
        self._tree = tree
        wanted = {name for change in changes for name in change.names}
        wanted |= {change.target for change in changes if change.target is not None}
        wanted |= {parent for path in wanted for parent in _parents(path)}
        self._there = tree.look(sorted(wanted))
        self._read: dict[str, State] = {}
        self._now: dict[str, State | None] = {}
        self._renamed: dict[str, str] = {}
        self._tops: dict[str, bool] = {}
        # A name may be taken by what the same patch moves away, as in an exchange of names.
        self._leaving = {self._source(one) for one in changes if one.removes}

    def run(self) -> Plan:
        for change in self._changes:
            self._check_parents(change)
            if not change.names or (change.may_create and self._get(self._source(change)) is None):
                self._add(change)
            elif change.target is not None:
                self._rename(change)
            else:
                self._change(change)
        self._check_places()
        steps = [
            Step(path, self._there.get(path), after)
            for path, after in sorted(self._now.items())
            if after is not None or path in self._there
        ]
        return Plan(steps, self._renamed)

    def _add(self, change: FileChange) -> None:
        path = change.target or self._source(change)
        if self._occupied(path):
            raise PatchConflictError(
                path, "exists, and the patch adds it", hint="Delete it first, or patch it instead."
            )
        content = self._with_hunks(path, b"", change)
        mode = change.new_mode or 0o100644
        self._now[path] = State(content, mode & 0o777 or 0o777, mode == SYMLINK)

    def _rename(self, change: FileChange) -> None:
        source, path = change.names[0], change.shown
        # What is renamed or copied is what was there before the patch, whatever its order.
        state = self._original(source)
        if state is None:
            raise _missing(source)
        if path not in self._leaving and self._occupied(path):
            raise PatchConflictError(
                path,
                f"exists, and the patch moves {source!r} there",
                hint="Delete it first.",
            )
        self._now[path] = self._changed(path, state, change)
        self._renamed[path] = source
        if change.removes and source not in self._renamed and source != path:
            self._now[source] = None

    def _change(self, change: FileChange) -> None:
        path = self._source(change)
        state = self._get(path)
        if state is None:
            raise _missing(path)
        after = self._changed(path, state, change)
        if change.removes and after.content and change.hunks:
            raise PatchConflictError(
                path,
                "has more content than the patch deletes",
                hint="Take the changes it has since into the patch, or delete it yourself.",
            )
        self._now[path] = None if change.removes else after

    def _changed(self, path: str, state: State, change: FileChange) -> State:
        moved_only = change.target is not None and not change.hunks
        if state.symlink != change.symlink and not moved_only:
            kind = "a symlink" if state.symlink else "no symlink"
            raise PatchConflictError(
                path, f"is {kind}, unlike in the patch", hint="Delete it, then add it anew."
            )
        content = self._with_hunks(path, state.content, change)
        mode = state.mode
        if change.new_mode is not None and not state.symlink:
            # Of a mode, patches carry the right to execute; who may read may then execute.
            mode &= ~0o111
            if change.new_mode & 0o111:
                mode |= (mode & 0o444) >> 2
        return State(content, mode, state.symlink)

    def _with_hunks(self, path: str, content: bytes, change: FileChange) -> bytes:
        try:
            content = hunks.apply(content, change.hunks)
        except hunks.MisfitError as error:
            raise PatchConflictError(
                path,
                f"does not fit the patch: {error}",
                hint="Nothing was changed. Read the file as it is now and make the patch anew.",
            ) from error
        if len(content) > MAX_FILE_BYTES:
            raise _too_large(path)
        return content

    def _source(self, change: FileChange) -> str:
        if not change.names:
            return change.shown
        for name in change.names:
            if name in self._there:
                return name
        named = change.names[0]
        # A third name, when there is one, is without the two directories that were compared.
        if change.may_create and len(change.names) == 3:
            return named if self._keeps_top(named.partition("/")[0]) else change.names[2]
        return named

    def _keeps_top(self, top: str) -> bool:
        """Whether names of `diff -uN` with this top directory mean it, or begin below it.

        As with the patch's files that are there; without any, if the tree has such a directory.
        """
        if top not in self._tops:
            self._tops[top] = top in self._there
            for one in self._changes:
                names = one.names if one.names and one.names[0].startswith(f"{top}/") else ()
                if any(name in self._there for name in names):
                    self._tops[top] = names[0] in self._there
                    break
        return self._tops[top]

    def _get(self, path: str) -> State | None:
        return self._now[path] if path in self._now else self._original(path)

    def _original(self, path: str) -> State | None:
        found = self._there.get(path)
        if found is None:
            return None
        if path not in self._read:
            if found.kind not in ("file", "symlink"):
                raise PatchConflictError(
                    path, f"is a {found.kind}", hint="A patch changes files and symlinks alone."
                )
            if found.size_bytes > MAX_FILE_BYTES:
                raise _too_large(path)
            content = self._tree.read(path)
            self._read[path] = State(content, found.mode, found.kind == "symlink")
        return self._read[path]

    def _occupied(self, path: str) -> bool:
        """Whether something is in the way of what comes new to a path."""
        if path not in self._now and self._is_cleared(path):
            return False
        return self._get(path) is not None

    def _is_cleared(self, path: str) -> bool:
        """Whether it is a directory, out of which the patch takes files."""
        found = self._there.get(path)
        return (
            found is not None
            and found.kind == "directory"
            and any(source.startswith(f"{path}/") for source in self._leaving)
        )

    def _check_parents(self, change: FileChange) -> None:
        for path in {self._source(change), change.target or self._source(change)}:
            if path in self._there:
                continue
            for parent in _parents(path):
                found = self._there.get(parent)
                blocked = found is not None and found.kind != "directory"
                if parent in self._now:
                    blocked = self._now[parent] is not None
                if blocked and parent not in self._leaving:
                    kind = found.kind if found is not None else "file"
                    raise _below(path, parent, kind)

    def _check_places(self) -> None:
        """Refuse two that would need one place: a file, and what lies below it."""
        kept = {path for path, after in self._now.items() if after is not None}
        for path in sorted(kept):
            for parent in _parents(path):
                if parent in kept:
                    raise _below(path, parent, "file")
            found = self._there.get(path)
            if found is None or found.kind != "directory":
                continue
            for below in self._tree.below(path):
                if self._now.get(below, below) is not None:
                    raise PatchConflictError(
                        path,
                        f"is a directory, and the patch leaves {below!r} in it",
                        hint="Nothing was changed. Delete the directory first.",
                    )


def _parents(path: str) -> Iterator[str]:
    at = path.find("/")
    while at > 0:
        yield path[:at]
        at = path.find("/", at + 1)


def _below(path: str, parent: str, kind: str) -> PatchConflictError:
    return PatchConflictError(path, f"lies below {parent!r}, a {kind}", hint="Name its real place.")


def _missing(path: str) -> PatchConflictError:
    return PatchConflictError(
        path, "does not exist, and the patch changes it", hint="'file list' shows what there is."
    )


def _too_large(path: str) -> PatchConflictError:
    return PatchConflictError(
        path,
        f"is larger than {MAX_FILE_BYTES >> 20} MiB",
        hint="Change it with a command in the workspace.",
    )
