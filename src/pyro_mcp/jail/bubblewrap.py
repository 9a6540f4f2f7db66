"""The jail as bubblewrap builds it: every namespace new, no capability, one small file system.

What the jailed program sees is a read-only root, the exposed files, `/dev/null` and
`/dev/urandom`, and one writable directory of limited size, `/tmp`. There is no `/proc`.

Sources are placeholders here: which path stands for them is known only when the jail starts (see
`staging`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DEVICES = ("null", "urandom")
_SEARCH = "/usr/local/bin:/usr/bin:/bin"


class Confinement(NamedTuple):
    """A jail, ready to be carried out: `argv` with `{NAME}` where a source's path goes."""

    argv: Sequence[str]
    sources: Mapping[str, str]
    """Placeholder → host path."""


SECCOMP = "seccomp"
"""Placeholder of the descriptor that holds the compiled system call filter."""


def find_tool(name: str) -> str | None:
    """Full path of a program, or None."""
    for folder in os.environ.get("PATH", _SEARCH).split(os.pathsep):
        path = os.path.join(folder or ".", name)  # noqa: PTH118 - on the path of every start
        if os.access(path, os.X_OK):
            return path
    return None


def confine(
    program: Sequence[str],
    *,
    root: str,
    exposed: Sequence[tuple[str, str, bool]],
    scratch_bytes: int,
    environment: Mapping[str, str],
    bwrap: str,
    setarch: str,
) -> Confinement:
    """Plan a jail for `program`.

    `root` is the directory that becomes `/`; `exposed` lists (host path, path in the jail,
    writable). Runs nothing and opens nothing.
    """
    sources = {"root": root}
    # fmt: off
    argv = [
        # User-mode Linux re-executes itself through /proc unless addresses are already fixed.
        setarch, "-R", bwrap,
        "--unshare-all", "--unshare-user",
        "--die-with-parent", "--new-session", "--cap-drop", "ALL",
        "--hostname", "pyro", "--chdir", "/", "--clearenv",
        "--ro-bind", "{root}", "/",
        "--size", "65536", "--tmpfs", "/dev",
        "--size", "65536", "--tmpfs", "/run",
        "--size", str(scratch_bytes), "--perms", "0700", "--tmpfs", "/tmp",
    ]
    for device in _DEVICES:
        argv += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    for index, (source, target, writable) in enumerate(exposed):
        name = f"file{index}"
        sources[name] = source
        argv += ["--bind" if writable else "--ro-bind", f"{{{name}}}", target]
    for variable, value in environment.items():
        argv += ["--setenv", variable, value]
    argv += [
        "--remount-ro", "/dev", "--remount-ro", "/run",
        "--seccomp", f"{{{SECCOMP}}}",
        "--", *program,
    ]
    # fmt: on
    return Confinement(argv, sources)
