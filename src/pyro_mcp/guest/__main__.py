"""PID 1 of the guest: builds its file systems, says that it is ready, serves the host."""

from __future__ import annotations

import _socket
import fcntl
import os
import time
from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.guest import limits, modules, mounts, system
from pyro_mcp.guest.loop import Loop
from pyro_mcp.guest.namespace import Ground, Sandbox
from pyro_mcp.guest.requests import encode
from pyro_mcp.guest.server import Server
from pyro_mcp.guest.standby import Standby

if TYPE_CHECKING:
    from pyro_mcp.guest.channel import Channel

HOST_NAME = "pyro"
_BACKLOG = 128
_READY_SECONDS = 10.0
_LAST_WORD_SECONDS = 1.0

# From netdevice(7).
_SIOCSIFFLAGS = 0x8914
_IFF_UP_RUNNING = 0x41


def main() -> None:
    """Run the agent; ends only with the machine."""
    try:
        listener = boot()
        report_ready()
        serve(listener)
    except BaseException as error:  # noqa: BLE001 - PID 1 has nobody above it
        say(f"fatal: {_describe(error)}")
    finally:
        # Without it the machine would panic, or stay without an agent.
        system.power_off()


def boot() -> _socket.socket:
    """All that can fail because of what the host gave; returns the listening socket."""
    mounts.mount_own()
    modules.load(modules.OVERLAY)
    mounts.mount_disks()
    modules.load(modules.VSOCK)
    listener = _socket.socket(_socket.AF_VSOCK, _socket.SOCK_STREAM)
    listener.setblocking(False)
    listener.bind((_socket.VMADDR_CID_ANY, protocol.AGENT_PORT))
    listener.listen(_BACKLOG)
    return listener


def report_ready() -> None:
    """Tell the host that requests will be answered from now on; `boot_ms` is since power-on."""
    report = encode(
        {
            "protocol": protocol.VERSION,
            "boot_ms": round(time.monotonic() * 1000),
            "kernel": os.uname().release,
        }
    )
    sock = _socket.socket(_socket.AF_VSOCK, _socket.SOCK_STREAM)
    sock.settimeout(_READY_SECONDS)
    try:
        sock.connect((protocol.HOST_CID, protocol.READY_PORT))
        sock.sendall(protocol.preamble() + protocol.frame(protocol.REPLY, report))
    except OSError as error:
        error.filename = "telling the host over vsock"
        raise
    finally:
        sock.close()


def serve(listener: _socket.socket) -> None:
    """Finish what the host need not wait for, then answer it, for ever."""
    mounts.furnish()
    system.limit_open_files(*limits.OPEN_FILES)
    ground = Ground(mounts.ROOT, mounts.SCRATCH, limits.limit_processes(mounts.CONTROL_GROUPS))
    loop = Loop()
    standby = Standby(loop, lambda on_ready: Sandbox(loop, ground, on_ready))
    standby.refill()
    _socket.sethostname(HOST_NAME)
    _bring_up_loopback()

    def halt(channel: Channel) -> None:
        standby.close()
        _halt(channel)

    Server(
        loop,
        listener,
        standby,
        count_oom_kills=limits.OomCounter().read,
        null=ground.null,
        on_halt=halt,
        on_idle=standby.refill,
        log=say,
    )
    limits.keep_agent_in_memory()
    loop.run()


def say(line: str) -> None:
    """Write a line to the console, if there is one."""
    try:
        os.write(2, f"pyro-agent: {line}\n".encode(errors="replace"))
    except OSError:
        return


def _halt(channel: Channel) -> None:
    mounts.unmount_disks()
    channel.say_last(protocol.REPLY, b"{}", _LAST_WORD_SECONDS)
    system.power_off()


def _bring_up_loopback() -> None:
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    request = b"lo".ljust(16, b"\0") + _IFF_UP_RUNNING.to_bytes(2, "little") + bytes(22)
    fcntl.ioctl(sock.fileno(), _SIOCSIFFLAGS, request)
    sock.close()


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
