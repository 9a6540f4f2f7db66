"""Does KVM really run a guest here? Tried with one: 64-bit, paged, a dozen instructions long.

`/dev/kvm` can exist, open and create machines on hosts where no guest ever runs. The guest here
starts in long mode with its own page tables, asks the CPU what it is, reads a model-specific
register, reloads its page tables, touches a second page, writes one byte to a port and halts. That
is what every kernel does first; a host may still fail a whole kernel later on.

Numbers are those of the KVM API (linux/kvm.h; Documentation/virt/kvm/api.rst). Runs as a program
of its own (`python -I -S kvm_probe.py`), so that a guest that hangs can be ended from outside;
prints one JSON object, {"runs": bool, "detail": str}.
"""

from __future__ import annotations

import json
import os
import struct
import sys

SECONDS = 2.0
"""A guest that has not halted by then does not run."""

_DEVICE = "/dev/kvm"
_CREATE_VM = 0xAE01
_GET_VCPU_MMAP_SIZE = 0xAE04
_CREATE_VCPU = 0xAE41
_SET_USER_MEMORY_REGION = 0x4020AE46
_RUN = 0xAE80
_SET_REGS = 0x4090AE82
_GET_SREGS = 0x8138AE83
_SET_SREGS = 0x4138AE84
_EXIT_IO, _EXIT_HLT = 2, 5

_MEMORY = 4 << 20
_PML4, _PDPT, _PD, _CODE = 0x1000, 0x2000, 0x3000, 0x4000
_PORT = 0x10
_PROGRAM = bytes.fromhex(
    "31c0 0fa2"  # xor eax, eax; cpuid
    "b9800000c0 0f32"  # mov ecx, IA32_EFER; rdmsr
    "0f20d8 0f22d8"  # mov rax, cr3; mov cr3, rax
    "4889042500002000"  # mov [0x200000], rax
    "b04b e610"  # mov al, 'K'; out 0x10, al
    "f4"  # hlt
)
_CR0 = 0x80050033  # PG, AM, WP, NE, ET, MP, PE
_CR4_PAE = 0x20
_EFER_LME_LMA = 0x500
_SEGMENTS = 8  # cs ds es fs gs ss tr ldt, 24 bytes each, then gdt and idt, 16 each
_CONTROL = _SEGMENTS * 24 + 2 * 16


def probe(python: str = sys.executable) -> tuple[bool, str]:
    """Whether a guest runs, and what was seen. Takes at most `SECONDS`; never raises for KVM."""
    import subprocess

    try:
        ended = subprocess.run(
            [python, "-I", "-S", __file__],
            capture_output=True,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return False, f"a probe guest did not halt within {SECONDS:.0f} s"
    try:
        answer = json.loads(ended.stdout)
        return bool(answer["runs"]), str(answer["detail"])
    except (ValueError, KeyError, TypeError):
        return False, f"the probe ended with status {ended.returncode} and no answer"


def _main() -> None:
    try:
        runs, detail = _run()
    except OSError as error:
        runs, detail = False, f"{error.filename or _DEVICE}: {error.strerror}"
    print(json.dumps({"runs": runs, "detail": detail}))


def _run() -> tuple[bool, str]:
    import ctypes
    import fcntl
    import mmap
    import time

    begun = time.perf_counter()
    kvm = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    machine = fcntl.ioctl(kvm, _CREATE_VM, 0)
    memory = mmap.mmap(-1, _MEMORY)
    struct.pack_into("<Q", memory, _PML4, _PDPT | 3)
    struct.pack_into("<Q", memory, _PDPT, _PD | 3)
    struct.pack_into("<QQ", memory, _PD, 0x83, 0x200083)  # two pages of 2 MiB, as they lie
    memory[_CODE : _CODE + len(_PROGRAM)] = _PROGRAM
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(machine, _SET_USER_MEMORY_REGION, struct.pack("IIQQQ", 0, 0, 0, _MEMORY, address))
    cpu = fcntl.ioctl(machine, _CREATE_VCPU, 0)
    shared = mmap.mmap(cpu, fcntl.ioctl(kvm, _GET_VCPU_MMAP_SIZE, 0))
    special = bytearray(312)
    fcntl.ioctl(cpu, _GET_SREGS, special)
    segments = [_segment(8, 11, long_mode=True)] + [_segment(16, 3, long_mode=False)] * 5
    for index, segment in enumerate(segments):
        special[24 * index : 24 * index + 24] = segment
    struct.pack_into("<6Q", special, _CONTROL, _CR0, 0, _PML4, _CR4_PAE, 0, _EFER_LME_LMA)
    fcntl.ioctl(cpu, _SET_SREGS, bytes(special))
    registers = [0] * 18
    registers[6], registers[16], registers[17] = _MEMORY - 16, _CODE, 2  # rsp, rip, rflags
    fcntl.ioctl(cpu, _SET_REGS, struct.pack("18Q", *registers))
    for expected in (_EXIT_IO, _EXIT_HLT):
        fcntl.ioctl(cpu, _RUN, 0)
        reason = struct.unpack_from("I", shared, 8)[0]
        if reason != expected:
            return False, f"a probe guest ended with exit reason {reason}"
    return True, f"a probe guest ran and halted in {(time.perf_counter() - begun) * 1000:.0f} ms"


def _segment(selector: int, kind: int, *, long_mode: bool) -> bytes:
    # struct kvm_segment: base, limit, selector, type, present, dpl, db, s, l, g, avl, unusable
    return struct.pack(
        "<QIH10B",
        0, 0xFFFFFFFF, selector, kind, 1, 0, not long_mode, 1, long_mode, 1, 0, 0, 0,
    )  # fmt: skip


if __name__ == "__main__":
    _main()
