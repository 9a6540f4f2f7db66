"""The file systems of a guest.

/dev/ubda  agent's root, read-only      /
/dev/ubdb  environment, read-only       /env
/dev/ubdc  seed, read-only              /seed    absent in most machines
/dev/ubdd  data                         /data    all that commands ever changed

overlay(/env  + /data/root)             /sysroot
overlay(/seed + /data/workspace)        /sysroot/workspace    without a seed /data/workspace
"""

from __future__ import annotations

import os

from pyro_mcp import protocol
from pyro_mcp.guest import system

ROOT = "/sysroot"
SCRATCH = "/run"
CONTROL_GROUPS = "/sys"
TERMINALS = ROOT + "/dev/pts"
SEED = "/seed"
CHANGED_FILES = "/data/workspace"
"""What is different in the workspace; without a seed all of it."""

_ENVIRONMENT, _SEED, DATA_DISK = "/dev/ubdb", "/dev/ubdc", "/dev/ubdd"
_WORKSPACE = ROOT + protocol.WORKSPACE
# redirect_dir: a directory of the lower layer can be renamed. xino: a file keeps its inode number
# when it is copied up, which git and tar rely on; the bits it needs are free in ext4's.
# What cannot be written, because the host's disk is full, ends the machine before the journal says
# that it was: the next start finds all as it was then, and nothing that only seemed to be written.
_WHOLE = "errors=panic,data_err=abort"
_OVERLAY = "redirect_dir=on,metacopy=off,index=off,xino=on"

# Nothing that would give away the disks or the kernel's memory.
_NODES = (
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
)
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
_CHARACTER_DEVICE = 0o020000
_TTY_GROUP = 5
_PLAIN = system.MS_NOSUID | system.MS_NODEV
_NO_PROGRAMS = _PLAIN | system.MS_NOEXEC


def mount_own() -> None:
    """What the agent itself needs. `/dev` was mounted by the kernel."""
    system.mount("proc", "/proc", "proc", _NO_PROGRAMS)
    system.mount("tmpfs", SCRATCH, "tmpfs", _PLAIN, "mode=0700")


def mount_disks() -> None:
    """The environment and what was changed of it, as one tree at ROOT."""
    system.mount(_ENVIRONMENT, "/env", "ext4", system.MS_RDONLY)
    system.mount(DATA_DISK, "/data", "ext4", system.MS_NOATIME, _WHOLE)
    _directories("/data/root", "/data/workspace", "/data/workdir", "/data/workdir/root")
    _overlay("/env", "/data/root", "/data/workdir/root", ROOT)
    _directories(_WORKSPACE)
    if os.path.exists(_SEED):  # noqa: PTH110 - pathlib costs start-up time
        system.mount(_SEED, "/seed", "ext4", system.MS_RDONLY)
        _directories("/data/workdir/workspace")
        _overlay("/seed", "/data/workspace", "/data/workdir/workspace", _WORKSPACE)
    else:
        system.mount("/data/workspace", _WORKSPACE, None, system.MS_BIND)


def mount_for_inspection() -> None:
    """Everything read-only, the system where the workspace would be: files are served from there.

    `/workspace/etc` is then the machine's `/etc`, and `/workspace/workspace` its workspace.
    """
    system.mount(_ENVIRONMENT, "/env", "ext4", system.MS_RDONLY)
    try:
        system.mount(DATA_DISK, "/data", "ext4", system.MS_RDONLY)
    except OSError:
        # As it was left: its journal cannot be replayed on a disk that is only looked at.
        system.mount(DATA_DISK, "/data", "ext4", system.MS_RDONLY, "noload")
    system.mount("tmpfs", ROOT, "tmpfs", _PLAIN)
    _directories(_WORKSPACE)
    _layers(_WORKSPACE, "/data/root", "/env")
    inner = _WORKSPACE + protocol.WORKSPACE
    if not os.path.isdir(inner):  # noqa: PTH112 - removed by a command, with all that it held
        return
    if os.path.exists(_SEED):  # noqa: PTH110
        system.mount(_SEED, "/seed", "ext4", system.MS_RDONLY)
        _layers(inner, CHANGED_FILES, "/seed")
    elif os.path.isdir(CHANGED_FILES):  # noqa: PTH112
        system.mount(CHANGED_FILES, inner, None, system.MS_BIND)


def furnish() -> None:
    """The file systems of memory that programs expect; `/proc` is each command's own."""
    _directories(*(f"{ROOT}/{name}" for name in ("proc", "sys", "dev", "run", "tmp")))
    system.mount("sysfs", f"{ROOT}/sys", "sysfs", _NO_PROGRAMS | system.MS_RDONLY)
    system.mount("tmpfs", f"{ROOT}/run", "tmpfs", _PLAIN, "mode=0755")
    devices = f"{ROOT}/dev"
    system.mount("tmpfs", devices, "tmpfs", system.MS_NOSUID, "mode=0755")
    mask = os.umask(0)
    for name, major, minor in _NODES:
        os.mknod(f"{devices}/{name}", _CHARACTER_DEVICE | 0o666, os.makedev(major, minor))
    os.umask(mask)
    for name, target in _LINKS:
        os.symlink(target, f"{devices}/{name}")  # noqa: PTH211
    _directories(f"{devices}/pts", f"{devices}/shm")
    options = f"newinstance,ptmxmode=0666,mode=0620,gid={_TTY_GROUP}"
    system.mount("devpts", TERMINALS, "devpts", system.MS_NOSUID, options)
    system.mount("tmpfs", f"{devices}/shm", "tmpfs", _PLAIN, "mode=1777")


def unmount_disks() -> None:
    """Bring the data disk into its final state; when no command runs any more."""
    os.sync()
    try:
        for name in ("dev/shm", "dev/pts", "dev", "run", "sys", "workspace", ""):
            system.unmount(f"{ROOT}/{name}")
        system.unmount_if_unused("/data")
    except OSError:
        # Its journal has all, and the next boot replays it.
        os.sync()


def _layers(target: str, upper: str, lower: str) -> None:
    if os.path.isdir(upper):  # noqa: PTH112 - not there before the machine's first boot
        options = f"lowerdir={upper}:{lower},redirect_dir=follow,metacopy=off,xino=on"
        system.mount("overlay", target, "overlay", system.MS_RDONLY, options)
    else:
        system.mount(lower, target, None, system.MS_BIND)


def _overlay(lower: str, upper: str, work: str, target: str) -> None:
    options = f"lowerdir={lower},upperdir={upper},workdir={work},{_OVERLAY}"
    system.mount("overlay", target, "overlay", 0, options)


def _directories(*paths: str) -> None:
    for path in paths:
        try:  # noqa: SIM105 - contextlib costs start-up time
            os.mkdir(path)  # noqa: PTH102
        except FileExistsError:
            pass
