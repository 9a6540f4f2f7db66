"""The program that is PID 1 of a command's namespace: 90 bytes of x86-64 machine code.

It has the kernel reap every orphan (SIGCHLD ignored), then reads its input: each byte is a signal
to send to every other process of the namespace; at the end of the input it ends, and the kernel
ends the namespace with it. Outside of a PID namespace of its own it does nothing.

Of the programs at hand none would do: a shell does not reap orphans while it reads, and starting
any of them costs two milliseconds where this takes less than one, because each mapping and
each page of a program is a call to the host (System V ABI, ELF-64 object file format, for the
header; Linux x86-64 calling convention for the calls).
"""

from __future__ import annotations

from _struct import Struct, pack

_CODE = (
    # if getpid() != 1: goto done
    "6a 27  58  0f 05"  # push 39; pop rax; syscall
    "ff c8  75 32"  # dec eax; jnz done
    # rt_sigaction(SIGCHLD, &ignore, NULL, 8)
    "6a 0d  58  6a 11  5f"  # push 13; pop rax; push 17; pop rdi
    "48 8d 35 2c 00 00 00  31 d2"  # lea rsi, [ignore]; xor edx, edx
    "6a 08  41 5a  0f 05"  # push 8; pop r10; syscall
    # next: if read(0, stack, 1) != 1: goto done
    "31 c0  31 ff  50  48 89 e6"  # xor eax, eax; xor edi, edi; push rax; mov rsi, rsp
    "6a 01  5a  0f 05  5e"  # push 1; pop rdx; syscall; pop rsi
    "ff c8  75 0b"  # dec eax; jnz done
    # kill(-1, that byte); goto next
    "6a 3e  58  48 83 cf ff"  # push 62; pop rax; or rdi, -1
    "0f 05  eb e3"  # syscall; jmp next
    # done: end with status 0
    "6a 3c  58  31 ff  0f 05"  # push 60; pop rax; xor edi, edi; syscall
)
# ignore: struct sigaction of the kernel: SIG_IGN, no flags, no restorer, no mask
_IGNORE = pack("<4Q", 1, 0, 0, 0)

_BASE = 0x400000
_ELF_HEADER = Struct("<16s2HI3QI6H")
_PROGRAM_HEADER = Struct("<2I6Q")
_EXECUTABLE, _X86_64, _LOAD, _READ_EXECUTE = 2, 62, 1, 5


def executable() -> bytes:
    """The whole file, ready to be written and run."""
    code = bytes.fromhex("".join(_CODE)) + _IGNORE
    start = _ELF_HEADER.size + _PROGRAM_HEADER.size
    size = start + len(code)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    elf = _ELF_HEADER.pack(
        *(ident, _EXECUTABLE, _X86_64, 1, _BASE + start, _ELF_HEADER.size, 0, 0),
        *(_ELF_HEADER.size, _PROGRAM_HEADER.size, 1, 0, 0, 0),
    )
    program = _PROGRAM_HEADER.pack(_LOAD, _READ_EXECUTE, 0, _BASE, _BASE, size, size, 0x1000)
    return elf + program + code
