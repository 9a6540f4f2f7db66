"""The engine `uml`: User-mode Linux, a guest kernel that is an ordinary host process.

Facts about its options come from the kernel's own help (`linux --help`) and its documentation
(Documentation/virt/uml/user_mode_linux_howto_v2.rst), the rest was measured.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyro_mcp import protocol
from pyro_mcp.engines.base import WIRE, Availability, Exposed, GuestSpec, LaunchPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

_DISKS = "/run/disks"
_VSOCK = "/run/vsock"
_VIRTIO_ID_VSOCK = 19  # Virtio 1.2, 5: device types

KERNEL_OPTIONS = (
    # Guest processes run in stub processes under seccomp, the fast one of the two modes.
    "seccomp=on",
    # For the distribution's kernel; the one that comes with pyro has none of these. The RAID
    # benchmarks cost 0.85 s. Without hostfs a guest cannot mount the jail's file system; without
    # the console nobody can attach files of the jail as disks.
    "initcall_blacklist=raid6_init,calibrate_xor_blocks,init_hostfs,mconsole_init",
    "pty.legacy_count=0",
    # No interface but loopback until a guest makes one.
    "dummy.numdummies=0",
    "lpj=20000000",
    "quiet",
    # A panic ends the process at once instead of looping.
    "panic=-1",
    "con=null",
    "con0=null,fd:1",
    "uml_dir=/tmp",
    "root=/dev/ubda",
    "ro",
    "rootfstype=ext4",
)
_INIT = ("init=/usr/bin/python3", "--", "-I", "-S", "-B", "/init.py")


class UmlEngine:
    """User-mode Linux; needs an x86-64 host and nothing of its kernel."""

    name = "uml"
    isolation = "guest kernel (user-mode Linux) in a namespace, seccomp and rlimit jail"

    def available(self) -> Availability:
        """Only the architecture matters; the jail says for itself what it needs."""
        machine = os.uname().machine
        if machine != "x86_64":
            return Availability(
                False,
                f"user-mode Linux runs on x86_64 and this host is {machine}",
                "use an x86_64 host",
            )
        return Availability(True, "runs as an ordinary process")

    def plan(self, spec: GuestSpec) -> LaunchPlan:
        """Disks keep their letters: a agent, b environment, c seed, d data, e output (if any)."""
        exposed = [
            Exposed(spec.agent_image, f"{_DISKS}/agent", False),
            Exposed(spec.environment_image, f"{_DISKS}/environment", False),
            Exposed(spec.data_disk, f"{_DISKS}/data", not spec.inspect),
        ]
        # The flag d stops the driver from following a copy-on-write header that a guest wrote
        # on its own disk: it names a file of the jail as backing store.
        disks = [
            f"ubd0dr={_DISKS}/agent",
            f"ubd1dr={_DISKS}/environment",
            f"ubd3{'dr' if spec.inspect else 'd'}={_DISKS}/data",
        ]
        if spec.seed_image is not None:
            exposed.append(Exposed(spec.seed_image, f"{_DISKS}/seed", False))
            disks.append(f"ubd2dr={_DISKS}/seed")
        if spec.output_disk is not None:
            exposed.append(Exposed(spec.output_disk, f"{_DISKS}/output", True))
            disks.append(f"ubd4d={_DISKS}/output")
        return LaunchPlan(
            program=[
                "/linux",
                f"mem={spec.mem_mib}M",
                *KERNEL_OPTIONS,
                *disks,
                f"virtio_uml.device={_VSOCK}:{_VIRTIO_ID_VSOCK}",
                *([_interface()] if spec.network or spec.network_later else []),
                *_INIT,
                *(["inspect"] if spec.inspect else []),
                *(["network"] if spec.network else []),
                *(["network-later"] if spec.network_later else []),
            ],
            # The kernel panics without a writable HOME; its memory file goes to TMPDIR.
            environment={"HOME": "/tmp", "TMPDIR": "/tmp"},
            root=spec.jail_root,
            exposed=exposed,
            vsock_socket=_VSOCK,
            scratch_bytes=_scratch_bytes(spec.mem_mib),
            seccomp_profile="uml",
            vcpu_count=1,
            one_cpu=True,
        )


def _interface() -> str:
    # One system call a frame (vec=0): frames are large, and a vector of them is more memory than
    # a small guest has.
    mac = protocol.GUEST_MAC.hex(":")
    return f"vec0:transport=fd,fd={WIRE},vec=0,mtu={protocol.MTU},mac={mac}"


def _scratch_bytes(mem_mib: int) -> int:
    # The memory file is exactly mem=; its directory needs a little more. When the guest reaches
    # this end it dies of SIGBUS, the host keeps its memory.
    return (mem_mib + mem_mib // 20 + 4) << 20


def engines() -> Sequence[UmlEngine]:
    """All engines, best first."""
    return (UmlEngine(),)
