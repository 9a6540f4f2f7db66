"""Going into new namespaces; loaded while a kernel boots, so it loads next to nothing itself."""

from __future__ import annotations

import os
import sys

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


def unshare(flags: int) -> None:
    """Take this process into new namespaces. Raises `OSError`."""
    if sys.version_info >= (3, 12):
        os.unshare(flags)
        return
    import _ctypes  # the package around it costs three times as much

    class Int(_ctypes._SimpleCData):  # type: ignore[type-arg]  # no subscript at run time
        _type_ = "i"

    class Function(_ctypes.CFuncPtr):
        _flags_ = 1 | 8  # the C calling convention, and errno
        _restype_ = Int

    library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
    call = Function(_ctypes.dlsym(library, "unshare"))
    if int(call(flags)) != 0:
        code = _ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def become_root_inside(uid: int, gid: int) -> None:
    """In a new user namespace, be its root: `uid` and `gid` were ours before. Raises `OSError`."""
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"0 {uid} 1"),
        ("gid_map", f"0 {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(content)
