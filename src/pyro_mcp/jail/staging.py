"""Files of root, made reachable for an unprivileged uid, in a mount namespace of its own.

A jail that root starts runs under a uid that cannot walk to root's files (`/root` is closed), and
bubblewrap resolves every source by its path. So the process that becomes bubblewrap first takes a
private mount namespace, puts an empty tmpfs over `/tmp` there and binds each source into it. No
other process sees these mounts, and they end with the namespace.
"""

from __future__ import annotations

import os
import stat

_STAGE = "/tmp"
_CLONE_NEWNS = 0x00020000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000


def stage(sources: dict[str, str]) -> dict[str, str] | None:
    """Bind every source (name → path) into a private place; returns name → path there.

    None when this process may not make mounts: a container's root, say. Changes the calling
    process's mount namespace: for a child about to exec, never for a process that goes on.
    """
    # Costs some milliseconds, and only root needs it.
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: str, kind: str | None, flags: int, data: str | None) -> None:
        arguments = [None if a is None else a.encode() for a in (source, target, kind)]
        options = None if data is None else data.encode()
        if libc.mount(*arguments, ctypes.c_ulong(flags), options) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), target)

    if libc.unshare(_CLONE_NEWNS) != 0:
        return None
    mount("none", "/", None, _MS_REC | _MS_PRIVATE, None)
    # Opened in the new namespace (another one's mounts cannot be bound) and before the tmpfs
    # hides those that lie below it.
    opened = {name: os.open(path, os.O_PATH | os.O_CLOEXEC) for name, path in sources.items()}
    mount("pyro", _STAGE, "tmpfs", 0, "mode=0711,size=1m")
    staged = {}
    for name, descriptor in opened.items():
        target = f"{_STAGE}/{name}"
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.mkdir(target)  # noqa: PTH102 - pathlib is not loaded in the monitor
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC))
        mount(f"/proc/self/fd/{descriptor}", target, None, _MS_BIND, None)
        staged[name] = target
    return staged
