"""From a machine that is asked for to a monitor that runs it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from pyro_mcp.engines.base import GuestSpec
from pyro_mcp.errors import GuestLostError, GuestStartError, NetworkError, NoEngineError
from pyro_mcp.jail import limits
from pyro_mcp.jail.bubblewrap import confine
from pyro_mcp.jail.seccomp import program
from pyro_mcp.machines import channel
from pyro_mcp.machines.choose import find_tools
from pyro_mcp.machines.monitor.status import NO_NETWORK
from pyro_mcp.machines.monitor_process import MonitorProcess

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.engines.base import Engine, LaunchPlan
    from pyro_mcp.machines.spec import Images

_START_SECONDS = 75.0
_BOOT_BLOCK = 1024
"""The part of an ext4 disk that the file system leaves alone."""


class Boot(NamedTuple):
    """One start of a machine: from which files, and how long it lives."""

    home: Path
    """Its directory, locked by the caller."""
    data_disk: Path
    seed_image: Path | None
    mem_mib: int
    vcpu_count: int
    cpu: int | None
    owner_pid: int
    """The machine ends with this process; if `kept`, only until its agent answers."""
    kept: bool
    life_seconds: float
    """Ends it after that time, 0: never."""
    idle_file: Path | None = None
    """See `monitor.idleness`."""
    inspect: bool = False
    """See `GuestSpec`."""
    output_disk: Path | None = None
    network: dict[str, Any] | None = None
    """Its way out, as `network.way.plan` describes it."""
    network_later: bool = False
    """It has none, and may get one while it runs."""


class Started(NamedTuple):
    """A machine whose agent answers."""

    monitor: MonitorProcess
    plan: LaunchPlan
    report: dict[str, Any]


def boot(request: Boot, images: Images, engine: Engine, *, lock: int) -> Started:
    """Start a monitor for the machine and wait until the guest's agent answers.

    `lock` is the locked descriptor of `home`; the monitor shares it.

    Raises:
        ToolMissingError: A program that the jail needs is not installed.
        NoEngineError: This host does not let a jail be made.
        NetworkError: This host gives the guest no network; none was booted.
        GuestStartError: The guest did not come up.
    """
    tools = find_tools()
    if not request.inspect:
        _forget_header(request.data_disk)
    network_later = request.network_later and request.network is None
    plan = engine.plan(
        GuestSpec(
            jail_root=images.jail_root,
            agent_image=images.agent_image,
            environment_image=images.environment_image,
            data_disk=request.data_disk,
            mem_mib=request.mem_mib,
            vcpu_count=request.vcpu_count,
            seed_image=request.seed_image,
            inspect=request.inspect,
            output_disk=request.output_disk,
            network=request.network is not None,
            network_later=network_later,
        )
    )
    vsock = (str(request.home / channel.VSOCK_SOCKET), plan.vsock_socket, True)
    confinement = confine(
        plan.program,
        root=str(plan.root),
        exposed=[*((str(f.source), f.target, f.writable) for f in plan.exposed), vsock],
        scratch_bytes=plan.scratch_bytes,
        environment=plan.environment,
        bwrap=tools.bwrap,
        setarch=tools.setarch,
    )
    # Under root the jail has a uid of its own, and opens what that uid owns.
    owned = [request.data_disk]
    if request.output_disk is not None:
        owned.append(request.output_disk)
    launch = {
        "directory": str(request.home),
        "argv": list(confinement.argv),
        "sources": dict(confinement.sources),
        "seccomp": program(plan.seccomp_profile),
        "limits": limits.rlimits(
            mem_mib=request.mem_mib,
            disk_bytes=max(disk.stat().st_size for disk in owned),
        ),
        "uid": limits.jail_uid(),
        "owned_files": [str(disk) for disk in owned],
        "cpu": request.cpu if plan.one_cpu else None,
        "owner_pid": request.owner_pid,
        "kept": request.kept,
        "life_seconds": request.life_seconds,
        "network": request.network,
        "wire": network_later,
        "idle_file": None if request.idle_file is None else str(request.idle_file),
    }
    monitor = MonitorProcess.start(launch, directory=request.home, lock=lock)
    try:
        event = monitor.next_event(within_seconds=_START_SECONDS)
        if event is None or event.get("event") != "ready":
            raise _start_error(event, engine.name, request.home)
        return Started(monitor, plan, dict(event["report"]))
    except BaseException:
        if request.kept:
            # The process we started has handed over to one that is not our child.
            with contextlib.suppress(GuestLostError):
                channel.stop(request.home)
        monitor.end()
        raise


def _start_error(event: dict[str, Any] | None, engine: str, home: Path) -> Exception:
    if event is None:
        return GuestStartError("its monitor ended without a word", console=_log_tail(home))
    console = str(event.get("console", ""))
    reason = str(event.get("reason"))
    if reason.startswith(NO_NETWORK):
        return NetworkError(reason.removeprefix(NO_NETWORK))
    for line in console.splitlines():
        if line.startswith(("bwrap:", "setarch:", "pyro: cannot start the jail")):
            return NoEngineError([f"{engine}: the jail cannot be made ({line})"])
    return GuestStartError(reason, console=console)


def _log_tail(home: Path) -> str:
    try:
        return (home / "monitor.log").read_text(errors="replace")[-2000:]
    except OSError:
        return ""


def _forget_header(disk: Path) -> None:
    # The block driver of user-mode Linux takes a disk's size from a copy-on-write header, and a
    # guest can write one. It lies where no file system keeps anything.
    with disk.open("r+b") as file:
        if any(file.read(_BOOT_BLOCK)):
            file.seek(0)
            file.write(bytes(_BOOT_BLOCK))
