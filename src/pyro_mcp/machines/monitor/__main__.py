"""The monitor's process: `python -I -S` with this package on its path, one per machine.

Descriptors: 0 the launch (marshal, to its end), 1 the status pipe, 2 the monitor's log, 3 the lock
of the machine's directory, which stays locked as long as this process lives. The working
directory is the machine's. It imports little on purpose: it is on the path of every start.
"""

from __future__ import annotations

import marshal
import os


def main() -> None:
    """Run one machine to its end."""
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    # Written by the same interpreter a moment ago, and read in a tenth of the time of JSON.
    launch = marshal.loads(_read_all(0))
    # The lock lives on in this process alone.
    os.set_inheritable(3, False)
    for descriptor in (0, 1):
        os.set_inheritable(descriptor, False)
    os.chdir(launch["directory"])
    if launch["kept"] and os.fork():
        # Nobody waits for a machine that is kept: its monitor is a child of the system's init.
        os._exit(0)

    wire = None
    if launch["wire"]:
        from pyro_mcp.machines.monitor.wire import Wire

        wire = Wire.begin()  # beside what is loaded and prepared next
    from pyro_mcp.machines.monitor.jailed import Jailed
    from pyro_mcp.machines.monitor.uplink import NoNetworkError

    try:
        jailed = Jailed.start(launch, wire)
    except NoNetworkError as error:
        from pyro_mcp.machines.monitor.status import NO_NETWORK, Status

        Status(1).failed(f"{NO_NETWORK}{error}", "")
        os._exit(1)
    import resource

    # A guest's memory is mapped here, and what is said to it passes through: none of it may become
    # a file when this process crashes.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from pyro_mcp.machines.monitor.loop import NOBODY_LEFT, Monitor
    from pyro_mcp.machines.monitor.status import Status

    reason = Monitor(launch, jailed, Status(1)).run()
    # In any other case the owner is there, and may want to see it or start it again.
    if not launch["kept"] and reason in NOBODY_LEFT:
        _remove(launch["directory"])
    try:
        os.write(2, f"ended: {reason}\n".encode())
    finally:
        os._exit(0)  # also on a host without room


def _read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 65536):
        parts.append(part)
    return b"".join(parts)


def _remove(directory: str) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            os.unlink(entry.path)  # noqa: PTH108 - pathlib is not loaded here
    os.rmdir(directory)  # noqa: PTH106


if __name__ == "__main__":
    main()
