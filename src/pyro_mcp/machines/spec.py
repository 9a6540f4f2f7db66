"""What is asked of a machine, checked before anything is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp import config, protocol
from pyro_mcp.errors import HostMemoryError, InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.network.policy import Policy


class Images(NamedTuple):
    """The files a machine is made from; all are read-only and shared."""

    jail_root: Path
    agent_image: Path
    environment_image: Path
    environment_version: str
    blank_disk: Path
    """Formatted and empty: each machine takes a copy of it as its data disk."""


class MachineSpec(NamedTuple):
    """One machine, as asked for."""

    environment: str
    vcpu_count: int
    mem_mib: int
    ttl_seconds: int
    network: bool
    allow_host_compat: bool
    network_allow: tuple[str, ...] = ()
    """Of what it may reach, only this; see `network.policy`."""
    network_private: tuple[str, ...] = ()
    """Of what is closed otherwise, also this."""
    network_inherit: bool = False
    """Take over the host's proxies, package indexes and certificates."""

    def policy(self) -> Policy:
        """What it may reach.

        Raises:
            InvalidInputError: An entry that cannot be used.
        """
        from pyro_mcp.network import policy  # most machines have none

        mode = policy.EGRESS if self.network else policy.OFF
        return policy.parse(mode, self.network_allow, self.network_private)

    def check(self) -> None:
        """Refuse what is outside the limits.

        Raises:
            InvalidInputError: A number outside its range.
            HostMemoryError: More memory than this host has free.
        """
        if not self.environment.strip():
            raise InvalidInputError(
                "environment", "is empty", hint="'pyro env list' shows what can be named."
            )
        check_range("vcpu_count", self.vcpu_count, *config.VCPU_RANGE)
        check_range("mem_mib", self.mem_mib, *config.MEM_MIB_RANGE)
        check_range("ttl_seconds", self.ttl_seconds, *config.TTL_SECONDS_RANGE)
        if self.network or self.network_allow or self.network_private:
            self.policy()
        check_memory(self.mem_mib)


def check_range(name: str, value: object, low: int, high: int) -> None:
    """Refuse what is not a whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInputError(
            name, f"is {value!r}, not a whole number", hint=f"Give a number from {low} to {high}."
        )
    if not low <= value <= high:
        raise InvalidInputError(name, f"is {value}", hint=f"Give a number from {low} to {high}.")


def check_command(command: object) -> None:
    """Refuse an empty command, and one no shell could take."""
    if not isinstance(command, str) or not command.strip():
        raise InvalidInputError(
            "command", "is empty", hint="Give the command to run, for example 'git --version'."
        )
    if not _can_be_given(command):
        raise InvalidInputError(
            "command", "contains a NUL character, or half of one of a pair",
            hint="Remove it; no program can be given one.",
        )  # fmt: skip


def directory_of(cwd: object) -> str:
    """The absolute directory of the guest that is meant; a relative one is below /workspace."""
    if not isinstance(cwd, str) or not cwd.strip() or not _can_be_given(cwd):
        raise InvalidInputError(
            "cwd", f"is {cwd!r}", hint="Give a directory of the guest, for example /workspace/src."
        )
    return cwd if cwd.startswith("/") else f"{protocol.WORKSPACE}/{cwd}"


def check_environment(env: object) -> None:
    """Refuse variables that no program could be given."""
    if not isinstance(env, Mapping):
        raise InvalidInputError("env", f"is {env!r}", hint="Give names with their values.")
    for name, value in env.items():
        if not isinstance(name, str) or not name or "=" in name or not _can_be_given(name):
            raise InvalidInputError(
                "env", f"has a variable named {name!r}",
                hint="Name variables with letters, digits and '_'.",
            )  # fmt: skip
        if not isinstance(value, str) or not _can_be_given(value):
            raise InvalidInputError(
                "env", f"gives {name} a value that is no text without NUL characters",
                hint="Give text.",
            )  # fmt: skip


def _can_be_given(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def check_timeout(timeout_seconds: object) -> None:
    """Refuse a limit that is not a positive number."""
    if isinstance(timeout_seconds, bool) or not isinstance(timeout_seconds, int | float):
        raise InvalidInputError(
            "timeout_seconds", f"is {timeout_seconds!r}", hint="Give a number of seconds above 0."
        )
    if not 0 < timeout_seconds <= 10**9:
        raise InvalidInputError(
            "timeout_seconds", f"is {timeout_seconds}", hint="Give a number of seconds above 0."
        )


def check_memory(mem_mib: int) -> None:
    """Refuse a machine that may use more memory than this host has free."""
    available = available_memory_mib()
    if mem_mib > available:
        raise HostMemoryError(needed_mib=mem_mib, available_mib=available)


def available_memory_mib() -> int:
    """What this host can still give, MiB (MemAvailable of /proc/meminfo)."""
    with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 - on every start
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) // 1024
    return 1 << 30
