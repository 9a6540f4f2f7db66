"""Public methods about what is in a workspace: files, patches, and copies in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from pyro_mcp import protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from pyro_mcp.sdk.manager import VmManager

    OnProgress = Callable[[str, float | None], None]


class FileMethods:
    """See `Pyro`. All of these start a stopped workspace; `workspace_started` says so."""

    _manager: VmManager

    def list_workspace_files(
        self, workspace_id: str, *, path: str = protocol.WORKSPACE, recursive: bool = False
    ) -> dict[str, Any]:
        """Children of a directory sorted by path, or the entry itself when it is none."""
        from pyro_mcp.workspaces import files

        return files.list_files(
            self._manager.workspaces, workspace_id, path=path, recursive=recursive
        ).to_dict()

    def stat_workspace_file(self, workspace_id: str, path: str) -> dict[str, Any]:
        """One entry; a link itself, not what it points to."""
        from pyro_mcp.workspaces import files

        return files.stat_file(self._manager.workspaces, workspace_id, path).to_dict()

    def read_workspace_file(
        self, workspace_id: str, path: str, *, max_bytes: int = 65536, offset: int = 0
    ) -> dict[str, Any]:
        """Part of a file as text; bytes that are not UTF-8 are replaced.

        Args:
            workspace_id: Which.
            path: Below /workspace.
            max_bytes: At most so many, 1 to 1048576; `truncated` says that there is more behind.
            offset: The first byte.
        """
        from pyro_mcp.workspaces import files

        return files.read_text(
            self._manager.workspaces, workspace_id, path, max_bytes=max_bytes, offset=offset
        ).to_dict()

    def read_workspace_file_bytes(
        self, workspace_id: str, path: str, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        """A file's bytes, from `offset` to its end or for `length`; all kept in memory."""
        from pyro_mcp.workspaces import files

        return files.read_bytes(
            self._manager.workspaces, workspace_id, path, offset=offset, length=length
        )

    def write_workspace_file(self, workspace_id: str, path: str, *, text: str) -> dict[str, Any]:
        """Give a file this text as UTF-8, at once; directories are made, its mode is kept."""
        from pyro_mcp.workspaces import files

        return files.write_text(self._manager.workspaces, workspace_id, path, text=text).to_dict()

    def write_workspace_file_bytes(
        self,
        workspace_id: str,
        path: str,
        *,
        content: bytes | bytearray | memoryview | BinaryIO | Iterable[bytes],
        mode: int | None = None,
    ) -> dict[str, Any]:
        """The same for bytes of any length, which are streamed; `mode` as for chmod."""
        from pyro_mcp.workspaces import files

        return files.write_bytes(
            self._manager.workspaces, workspace_id, path, content=content, mode=mode
        ).to_dict()

    def delete_workspace_file(
        self, workspace_id: str, path: str, *, recursive: bool = False
    ) -> dict[str, Any]:
        """Remove a file, link or empty directory; with `recursive` a directory and all in it."""
        from pyro_mcp.workspaces import files

        return files.delete_file(
            self._manager.workspaces, workspace_id, path, recursive=recursive
        ).to_dict()

    def move_workspace_file(
        self, workspace_id: str, path: str, to: str, *, replace: bool = False
    ) -> dict[str, Any]:
        """Give an entry another path; missing directories are made."""
        from pyro_mcp.workspaces import files

        return files.move_file(
            self._manager.workspaces, workspace_id, path, to, replace=replace
        ).to_dict()

    def make_workspace_directory(
        self, workspace_id: str, path: str, *, parents: bool = True
    ) -> dict[str, Any]:
        """Make a directory; with `parents` those above it too, and one that is there is fine."""
        from pyro_mcp.workspaces import files

        return files.make_directory(
            self._manager.workspaces, workspace_id, path, parents=parents
        ).to_dict()

    def search_workspace_files(
        self,
        workspace_id: str,
        pattern: str,
        *,
        path: str = protocol.WORKSPACE,
        literal: bool = False,
        ignore_case: bool = False,
        globs: Iterable[str] = (),
        max_matches: int = 200,
    ) -> dict[str, Any]:
        """Lines of text files that match a Python regular expression, or contain a text.

        Args:
            workspace_id: Which.
            pattern: What to look for.
            path: Where, below /workspace.
            literal: `pattern` is text.
            ignore_case: Upper and lower case are the same.
            globs: Only these files: with a slash of the path, without of the name; `!` excludes.
            max_matches: Stop after so many, 1 to 10000.
        """
        from pyro_mcp.workspaces import files

        return files.search(
            self._manager.workspaces,
            workspace_id,
            pattern,
            path=path,
            literal=literal,
            ignore_case=ignore_case,
            globs=globs,
            max_matches=max_matches,
        ).to_dict()

    def push_workspace_sync(
        self,
        workspace_id: str,
        source_path: str | Path,
        *,
        dest: str = protocol.WORKSPACE,
        exclude: Sequence[str] = (),
        gitignore: bool = False,
        on_progress: OnProgress | None = None,
    ) -> dict[str, Any]:
        """Put what is in a host directory or archive over what is below `dest`, all or nothing.

        Args:
            workspace_id: Which.
            source_path: Directory, or archive (`.tar`, `.tar.gz`, `.tgz`, `.tar.zst`, `.zip`).
            dest: Directory below /workspace; made when it is missing.
            exclude: Patterns as in a `.gitignore` of what stays behind.
            gitignore: Leave behind what the source's `.gitignore` files name.
            on_progress: Called with the phase and how much of it is done.

        Raises:
            ValueError: The source or `dest` cannot be used.
            RuntimeError: Something in the workspace is in its way; nothing was changed.
        """
        from pyro_mcp.workspaces import sync

        return sync.push(
            self._manager.workspaces,
            workspace_id,
            source_path,
            dest=dest,
            exclude=exclude,
            gitignore=gitignore,
            progress=on_progress or _quiet,
        ).to_dict()

    def export_workspace(
        self,
        workspace_id: str,
        path: str,
        *,
        output_path: str | Path,
        limit_bytes: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> dict[str, Any]:
        """Copy a file, directory or link of a workspace to the host, whole or not at all.

        Args:
            workspace_id: Which.
            path: Below /workspace.
            output_path: Where nothing is yet; ending in `.tar.gz` or `.tgz` a directory becomes
                an archive.
            limit_bytes: More content than this is refused; a generous default when left out.
            on_progress: Called with the phase and how much of it is done.

        Raises:
            ValueError: A path cannot be used.
            RuntimeError: There is no such thing, something is at `output_path`, or what the
                guest sent may not be on a host.
        """
        from pyro_mcp.boundary.limits import EXPORT_LIMIT_BYTES
        from pyro_mcp.workspaces import export

        return export.export(
            self._manager.workspaces,
            workspace_id,
            path,
            output_path=output_path,
            limit_bytes=EXPORT_LIMIT_BYTES if limit_bytes is None else limit_bytes,
            progress=on_progress or _quiet,
        ).to_dict()

    def diff_workspace(
        self,
        workspace_id: str,
        *,
        against: str = "baseline",
        names_only: bool = False,
        limit_bytes: int | None = None,
    ) -> dict[str, Any]:
        """How /workspace differs from what it was when the workspace was made.

        Args:
            workspace_id: Which.
            against: The name of a snapshot to compare with instead.
            names_only: Leave out all text.
            limit_bytes: Text beyond this is left out, and `truncated` says so.
        """
        from pyro_mcp.workspaces import diff

        return diff.diff(
            self._manager.workspaces,
            workspace_id,
            against=against,
            names_only=names_only,
            limit_bytes=diff.LIMIT_BYTES if limit_bytes is None else limit_bytes,
        ).to_dict()

    def apply_workspace_patch(self, workspace_id: str, *, patch: str) -> dict[str, Any]:
        """Apply the output of `git diff` or `diff -u` to /workspace, all or nothing.

        Raises:
            ValueError: The patch is malformed, or names what is not in /workspace.
            RuntimeError: It does not fit the files there are; says which and why.
        """
        from pyro_mcp.workspaces import patch as patches

        return patches.apply(self._manager.workspaces, workspace_id, patch=patch).to_dict()


def _quiet(_phase: str, _fraction: float | None) -> None:
    return
