"""Answers about one-shot machines."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyro_mcp.results.base import Result
from pyro_mcp.results.commands import ExecResult


@dataclass(frozen=True, kw_only=True)
class VmDeleted(Result):
    """A machine is gone."""

    vm_id: str
    deleted: bool
    reason: str
    """explicit_delete or post_exec_cleanup."""


@dataclass(frozen=True, kw_only=True)
class Vm(Result):
    """One machine of this process."""

    vm_id: str
    environment: str
    environment_version: str | None
    vcpu_count: int
    """As asked for."""
    vcpu_count_given: int
    """Extra: what the guest has."""
    mem_mib: int
    ttl_seconds: int
    created_at: float
    expires_at: float
    state: str
    """created, started or stopped."""
    network_enabled: bool
    allow_host_compat: bool
    guest_ip: str | None
    tap_name: str | None
    execution_mode: str
    """pending, guest_vsock or host_compat."""
    engine: str | None
    """Extra: how the guest kernel runs; null on the host."""
    isolation: str
    """Extra: what stands between the command and the host."""
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VmExecResult(ExecResult):
    """What one command in a one-shot machine did."""

    vm_id: str
    cleanup: VmDeleted
    engine: str | None
    """Extra."""
    isolation: str
    """Extra."""
    vcpu_count: int
    """Extra: as asked for."""
    vcpu_count_given: int
    """Extra: what the guest had."""


@dataclass(frozen=True, kw_only=True)
class Reaped(Result):
    """Machines whose time was over, now removed."""

    deleted_vm_ids: list[str]
    count: int
