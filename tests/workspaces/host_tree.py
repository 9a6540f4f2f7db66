"""A directory of this host as the tree that a patch is applied to."""

from __future__ import annotations

import shutil
import stat
from typing import TYPE_CHECKING

from pyro_mcp.workspaces import git_patch, patch_plan, patch_text
from pyro_mcp.workspaces.patch_plan import Found, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Files = dict[str, git_patch.Version]


class HostTree:
    """`patch_plan.Tree` over a real directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def look(self, paths: Sequence[str]) -> dict[str, Found]:
        """Of these, the ones that exist."""
        found = {}
        for path in paths:
            try:
                status = (self.root / path).lstat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            kind = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}.get(
                stat.S_IFMT(status.st_mode), "special"
            )
            found[path] = Found(kind, stat.S_IMODE(status.st_mode), status.st_size, status.st_mtime)
        return found

    def below(self, path: str) -> list[str]:
        """All files and symlinks below a directory."""
        return [str(leaf.relative_to(self.root)) for leaf in _leaves(self.root / path)]

    def read(self, path: str) -> bytes:
        """A file's content, a symlink's target."""
        file = self.root / path
        return bytes(file.readlink()) if file.is_symlink() else file.read_bytes()

    def take(self, plan: Plan) -> None:
        """Take all steps."""
        for step in plan.steps:
            if step.before is not None and step.before.kind != "directory":
                (self.root / step.path).unlink()
        for step in plan.steps:
            if step.before is not None and step.before.kind == "directory":
                shutil.rmtree(self.root / step.path)
        for step in plan.steps:
            if step.after is not None:
                write(self.root, step.path, step.after.content, step.after.mode, step.after.symlink)

    def patched(self, text: str) -> Plan:
        """Apply a patch."""
        plan = patch_plan.plan(patch_text.parse(text), self)
        self.take(plan)
        return plan


def write(root: Path, path: str, content: bytes, mode: int = 0o644, symlink: bool = False) -> None:
    """Make a file or symlink with its directories."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if symlink:
        file.symlink_to(content.decode())
    else:
        file.write_bytes(content)
        file.chmod(mode)


def fill(root: Path, files: Files) -> None:
    """Make a directory of these files."""
    root.mkdir()
    for path, file in files.items():
        write(root, path, file.content, file.mode & 0o777, file.mode == git_patch.SYMLINK)


def content(root: Path) -> Files:
    """What a directory has, apart from empty directories and git's own."""
    return {str(path.relative_to(root)): _version(path) for path in _leaves(root)}


def _leaves(root: Path) -> Iterable[Path]:
    for path in root.rglob("*"):
        if path.is_symlink() or path.is_file():
            yield path


def _version(path: Path) -> git_patch.Version:
    if path.is_symlink():
        return git_patch.Version(bytes(path.readlink()), git_patch.SYMLINK)
    return git_patch.Version(path.read_bytes(), git_patch.git_mode(path.stat().st_mode))


def patch_between(old: Files, new: Files) -> str:
    """One patch of all that differs."""
    parts = [git_patch.between(path, old.get(path), new.get(path)) for path in sorted({*old, *new})]
    return "".join(part.text for part in parts if part is not None)
