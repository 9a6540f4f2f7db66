"""System calls that `os` does not offer, through the C library.

`_ctypes` is loaded without the package around it, which costs three times as much.
"""

from __future__ import annotations

import _ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Argument = bytes | int | _ctypes._SimpleCData[int] | None

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_NOATIME = 1024
MS_BIND = 4096

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

CLONE_FS = 0x200
CLONE_NEWNS = 0x20000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_UMOUNT_DETACH = 2
_POWER_OFF = 0x4321FEDC
_RLIMIT_NOFILE = 7
_MLOCK_CURRENT_FUTURE_ON_FAULT = 7
_MADV_PAGEOUT = 21
# asm/unistd_64.h
_SYS_PIVOT_ROOT = 155
_SYS_FINIT_MODULE = 313
_SYS_RENAMEAT2 = 316
_SYS_OPENAT2 = 437

_CDECL_WITH_ERRNO = 1 | 8


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]  # no subscript at run time
    _type_ = "i"


class _Address(_ctypes._SimpleCData):  # type: ignore[type-arg]  # no subscript at run time
    _type_ = "P"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _CDECL_WITH_ERRNO
    _restype_ = _Int


_libc = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]


def _function(name: str) -> Callable[..., int]:
    call = _Function(_ctypes.dlsym(_libc, name))

    def checked(*arguments: Argument) -> int:
        result: int = call(*arguments)
        if result < 0:
            error = _ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return result

    return checked


_mount = _function("mount")
_umount2 = _function("umount2")
_unshare = _function("unshare")
_syscall = _function("syscall")
_setrlimit = _function("setrlimit")
_mlockall = _function("mlockall")
_munlockall = _function("munlockall")
_madvise = _function("madvise")
_reboot = _function("reboot")


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str = "") -> None:
    """mount(2); an `OSError` names source and target."""
    try:
        _mount(
            source.encode(),
            target.encode(),
            kind and kind.encode(),
            flags,
            options.encode() or None,
        )
    except OSError as error:
        error.filename = f"{source} on {target}"
        raise


def unmount(target: str) -> None:
    """Take a mount away; what still uses it keeps it until it ends."""
    _umount2(target.encode(), _UMOUNT_DETACH)


def unmount_if_unused(target: str) -> None:
    """Take a mount away; `OSError` (EBUSY) while something uses it."""
    _umount2(target.encode(), 0)


def unshare(flags: int) -> None:
    """unshare(2) of the calling thread."""
    _unshare(flags)


def enter_root(path: str) -> None:
    """Make `path`, a mount, the root of the calling thread's mount namespace.

    The former root is taken away: nothing in the namespace can reach it.
    """
    os.chdir(path)
    # pivot_root(2): with the same directory twice, the former root lies over the new one.
    _syscall(_SYS_PIVOT_ROOT, b".", b".")
    _umount2(b".", _UMOUNT_DETACH)
    os.chdir("/")


def load_module(path: str) -> None:
    """Load a kernel module; one that is there already is fine."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _syscall(_SYS_FINIT_MODULE, descriptor, b"", 0)
    except FileExistsError:
        pass
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)


def openat2(folder: int, path: bytes, flags: int, resolve: int) -> int:
    """openat2(2), for what exists."""
    how = b"".join(value.to_bytes(8, "little") for value in (flags, 0, resolve))
    return _syscall(_SYS_OPENAT2, folder, path, how, len(how))


def renameat2(folder: int, name: bytes, to_folder: int, to_name: bytes, flags: int) -> None:
    """renameat2(2)."""
    _syscall(_SYS_RENAMEAT2, folder, name, to_folder, to_name, flags)


def limit_open_files(soft: int, hard: int) -> None:
    """RLIMIT_NOFILE of this process and those it starts."""
    _setrlimit(_RLIMIT_NOFILE, soft.to_bytes(8, "little") + hard.to_bytes(8, "little"))


def keep_in_memory() -> None:
    """Lock every page this process has or will touch: memory pressure must not evict its code."""
    _mlockall(_MLOCK_CURRENT_FUTURE_ON_FAULT)


def unlock_memory() -> None:
    """Undo `keep_in_memory`."""
    _munlockall()


def page_out(start: int, length: int) -> None:
    """Take the pages of these addresses out of memory; those of a file are read again with use."""
    _madvise(_Address(start), _Address(length), _MADV_PAGEOUT)


def power_off() -> None:
    """End the machine, now; file systems are not flushed."""
    _reboot(_POWER_OFF)
