"""Kernel modules that the agent needs; a kernel that has them built in needs no files."""

from __future__ import annotations

from pyro_mcp.guest import system

_FOLDER = "/usr/lib/pyro/modules"

VSOCK = ("vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport")
OVERLAY = ("overlay",)


def load(names: tuple[str, ...], folder: str = _FOLDER) -> None:
    """Load modules in the order given, which must be that of their dependencies.

    A missing file is passed over: what it would give is then built in, or missed by its user.
    """
    for name in names:
        try:
            system.load_module(f"{folder}/{name}.ko")
        except FileNotFoundError:
            return
