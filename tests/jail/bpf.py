"""A machine for the classic BPF of seccomp filters, as plain as the manual describes it."""

from __future__ import annotations

import struct
from typing import NamedTuple


class Call(NamedTuple):
    """One system call as a filter sees it."""

    number: int
    arguments: tuple[int, ...] = ()
    architecture: int = 0xC000003E

    def data(self) -> bytes:
        """`struct seccomp_data`, see seccomp(2)."""
        arguments = [*self.arguments, 0, 0, 0, 0, 0, 0][:6]
        return struct.pack("<IIQ6Q", self.number, self.architecture, 0x400000, *arguments)


def instructions(program: bytes) -> list[tuple[int, int, int, int]]:
    """The program as (code, jump if true, jump if false, operand)."""
    return list(struct.iter_unpack("<HBBI", program))


def verdict(program: bytes, call: Call) -> int:
    """What the program answers; an instruction outside the language is an error here too."""
    data, code = call.data(), instructions(program)
    accumulator = at = 0
    while True:
        operation, jump_true, jump_false, operand = code[at]
        at += 1
        match operation:
            case 0x20:  # load a word of the data
                (accumulator,) = struct.unpack_from("<I", data, operand)
            case 0x05:  # jump
                at += operand
            case 0x15:
                at += jump_true if accumulator == operand else jump_false
            case 0x25:
                at += jump_true if accumulator > operand else jump_false
            case 0x35:
                at += jump_true if accumulator >= operand else jump_false
            case 0x45:
                at += jump_true if accumulator & operand else jump_false
            case 0x06:
                return operand
            case _:
                raise AssertionError(f"instruction {operation:#x} at {at - 1}")
