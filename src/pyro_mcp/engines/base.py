"""What every engine is: it says whether it can run here, and turns a guest into a launch plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class GuestSpec(NamedTuple):
    """One guest, as asked for; every engine is given the same."""

    jail_root: Path
    """Directory with the kernel at `/linux` and what it needs to be executed."""
    agent_image: Path
    """Read-only ext4: the root of the guest agent."""
    environment_image: Path
    """Read-only ext4: what commands see below their own changes."""
    data_disk: Path
    """Read-write ext4: everything the guest changes."""
    mem_mib: int
    vcpu_count: int
    seed_image: Path | None = None
    """Read-only ext4: the baseline of the workspace."""
    inspect: bool = False
    """Nothing is changed: the data disk is read-only too, and no command runs."""
    network: bool = False
    """The guest gets one interface."""
    network_later: bool = False
    """It has one that no command sees, and that leads nowhere, until it is told otherwise."""
    output_disk: Path | None = None
    """Read-write: where an inspecting guest puts an image that it makes."""


WIRE = 4
"""The descriptor of the kernel process that carries the frames of the guest's interface."""


class Exposed(NamedTuple):
    """One host file that the jailed kernel sees."""

    source: Path
    target: str
    writable: bool


class LaunchPlan(NamedTuple):
    """How a kernel is run: plain data, carried out by the monitor inside a jail.

    Paths in `program` and `Exposed.target` are those of the jail.
    """

    program: Sequence[str]
    environment: dict[str, str]
    root: Path
    exposed: Sequence[Exposed]
    vsock_socket: str
    """Where the kernel process looks for the unix socket of its vsock device."""
    scratch_bytes: int
    """Size of the only writable directory, `/tmp`: the guest's memory lies there."""
    seccomp_profile: str
    vcpu_count: int
    """What the guest really gets."""
    one_cpu: bool
    """Whether all its processes belong on one host CPU."""


class Availability(NamedTuple):
    """Whether an engine can run on this host."""

    ok: bool
    reason: str
    remedy: str = ""


class Engine(Protocol):
    """A way to run a guest kernel. Engines differ in nothing else."""

    name: str
    isolation: str
    """What stands between a guest and the host, in a few words for results and reports."""

    def available(self) -> Availability:
        """Look at this host, cheaply; called before every start."""

    def plan(self, spec: GuestSpec) -> LaunchPlan:
        """Turn a guest into a launch plan; runs nothing and opens nothing."""
