"""Bounds that the host's kernel holds a jail to, and the uid it runs under.

The guest's memory is bounded by the size of the jail's tmpfs, where its file lies. These limits
are for a guest that took over its kernel process: they hold for each process of the jail, and the
processes are counted where a uid of its own makes that possible.
"""

from __future__ import annotations

import os

_MIB = 1 << 20

_PRIVATE_UIDS = range(0x7000_0000, 0x7800_0000)
"""Between what systemd gives to containers and the end of signed numbers: nobody's."""
_NOBODY = 65534

_CAP_CHOWN, _CAP_SETGID, _CAP_SETUID, _CAP_SYS_ADMIN = 0, 6, 7, 21
_NEEDED = 1 << _CAP_CHOWN | 1 << _CAP_SETGID | 1 << _CAP_SETUID | 1 << _CAP_SYS_ADMIN


def rlimits(*, mem_mib: int, disk_bytes: int) -> dict[str, int]:
    """Limits of every process of a jail: RLIMIT name to value, for soft and hard limit alike.

    `mem_mib` is the guest's memory, `disk_bytes` the size of its largest writable disk.
    """
    # A guest process is a host process, and one descriptor of the kernel process.
    processes = 256 + 2 * mem_mib
    limits = {
        "RLIMIT_CORE": 0,
        # Neither the disk nor the memory file can grow beyond what it is.
        "RLIMIT_FSIZE": max(disk_bytes, mem_mib * _MIB),
        "RLIMIT_NOFILE": processes + 256,
        # Guest memory is shared, so it is not counted here: this is the kernel's own heap.
        "RLIMIT_DATA": 64 * _MIB,
        # Guest pages may be mapped several times over; bounds the host's page tables.
        "RLIMIT_AS": (4 * mem_mib + 1024) * _MIB,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }
    if _has_private_uids():
        # Counted for the uid: for a uid with other work, that work would count too.
        limits["RLIMIT_NPROC"] = processes
    return limits


def jail_uid() -> int | None:
    """The host uid (and gid) for the next jail, or None to keep the caller's.

    Root gives each machine a number of its own that nobody else uses, so that machines cannot
    signal or inspect each other and own nothing on the host; where such numbers are not mapped (in
    a container), 65534. None for an ordinary user, and for a root that may not change its uid.
    """
    if _has_private_uids():
        return _PRIVATE_UIDS[int.from_bytes(os.urandom(4), "little") % len(_PRIVATE_UIDS)]
    if _may_change_uid() and _is_mapped(range(_NOBODY, _NOBODY + 1)):
        return _NOBODY
    return None


def _has_private_uids() -> bool:
    return _may_change_uid() and _is_mapped(_PRIVATE_UIDS)


def _may_change_uid() -> bool:
    if os.geteuid() != 0:
        return False
    with open("/proc/self/status", encoding="ascii") as lines:  # noqa: PTH123 - on every start
        for line in lines:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16) & _NEEDED == _NEEDED
    return False


def _is_mapped(numbers: range) -> bool:
    """Whether this user namespace has all of `numbers`, as uids and as gids."""
    for table in ("/proc/self/uid_map", "/proc/self/gid_map"):
        with open(table, encoding="ascii") as lines:  # noqa: PTH123 - on every start
            starts = [(int(inside), int(count)) for inside, _, count in map(str.split, lines)]
        if not any(at <= numbers[0] and numbers[-1] < at + count for at, count in starts):
            return False
    return True
