"""What keeps commands from taking the agent's means: process numbers, memory, descriptors."""

from __future__ import annotations

import os

from pyro_mcp.guest import system

OPEN_FILES = (4096, 1024 * 1024)
"""Soft and hard limit, of the agent and of every command."""

_PROCESSES_PER_MIB = 2
_PROCESSES_AT_LEAST = 512
_OOM_KILLS = b"\noom_kill "
_VMSTAT_BYTES = 32 * 1024


def group_commands(mount_point: str) -> int:
    """Make the control group of all commands, with a number of processes in step with the memory.

    It has the weight of one process of the agent's, so a thousand runnable commands leave the
    agent half of the processor.

    Returns the descriptor of the file through which a thread enters it. Threads are members one
    by one ("threaded"), so that a command is in from its first instant and the agent is not.
    """
    system.mount("cgroup2", mount_point, "cgroup2")
    group = f"{mount_point}/commands"
    _write(f"{mount_point}/cgroup.subtree_control", "+cpu +pids")
    os.mkdir(group)  # noqa: PTH102 - pathlib costs start-up time
    _write(f"{group}/cgroup.type", "threaded")
    memory_mib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    most = max(_PROCESSES_AT_LEAST, memory_mib * _PROCESSES_PER_MIB)
    _write(f"{group}/pids.max", str(most))
    return os.open(f"{group}/cgroup.threads", os.O_WRONLY | os.O_CLOEXEC)


def keep_agent_in_memory() -> None:
    """Commands that fill the memory must not push the agent's pages out of it.

    To the OOM killer PID 1 is taboo anyway.
    """
    system.keep_in_memory()


class OomCounter:
    """Counts the processes that the kernel killed for want of memory, in the whole machine."""

    def __init__(self) -> None:
        self._vmstat = os.open("/proc/vmstat", os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> int:
        """Kills since the machine booted (proc(5), /proc/vmstat)."""
        text = os.pread(self._vmstat, _VMSTAT_BYTES, 0)
        at = text.find(_OOM_KILLS)
        return int(text[at + len(_OOM_KILLS) :].split(None, 1)[0]) if at >= 0 else 0


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
