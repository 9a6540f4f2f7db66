"""PID 1 of the guest: builds its file systems, says that it is ready, serves the host."""

from __future__ import annotations

import _socket
import os
import sys
import time

from pyro_mcp import protocol
from pyro_mcp.guest import modules, mounts, system
from pyro_mcp.guest.plain_json import encode

INSPECT = "inspect" in sys.argv[1:]
"""Asked for on the kernel's command line: look at the disks, change nothing."""
NETWORK = "network" in sys.argv[1:]
"""The host gave an interface."""
NETWORK_LATER = "network-later" in sys.argv[1:]
"""The host gave one for later: nobody sees it until then."""
_BACKLOG = 128
_READY_SECONDS = 10.0


def main() -> None:
    """Run the agent; ends only with the machine."""
    try:
        listener = boot()
        report_ready()
        # Imported while the host acts on that.
        from pyro_mcp.guest.service import serve

        serve(listener, log=say, inspect=INSPECT, network=NETWORK, later=NETWORK_LATER)
    except BaseException as error:  # noqa: BLE001 - PID 1 has nobody above it
        say(f"fatal: {_describe(error)}")
    finally:
        # Without it the machine would panic, or stay without an agent.
        system.power_off()


def boot() -> _socket.socket:
    """All that can fail because of what the host gave; returns the listening socket."""
    mounts.mount_own()
    modules.load(modules.OVERLAY)
    (mounts.mount_for_inspection if INSPECT else mounts.mount_disks)()
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


def say(line: str) -> None:
    """Write a line to the console, if there is one."""
    try:
        os.write(2, f"pyro-agent: {line}\n".encode(errors="replace"))
    except OSError:
        return


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
