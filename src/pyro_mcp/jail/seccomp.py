"""System call filters: a readable allowlist becomes a program for the kernel.

The program is classic BPF over `struct seccomp_data` (seccomp(2)): 4 bytes system call number,
4 bytes architecture, 8 bytes instruction pointer, six arguments of 8 bytes each. `program` returns
it as an array of `struct sock_filter`, what bubblewrap reads from `--seccomp FD`.

What is not listed is answered with ENOSYS, what is listed with other arguments with EPERM. Nothing
is killed: the filter also stands over processes that run guest code, whose system calls must reach
the guest kernel, and an error is outranked by the trap that brings them there.

The language of the lists is described in `uml.seccomp`.
"""

from __future__ import annotations

import os
import struct
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp.jail.syscalls import CONSTANTS, SYSCALLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ALLOW = 0x7FFF0000
ERRNO = 0x00050000
NOT_LISTED = ERRNO | 38  # ENOSYS
REFUSED = ERRNO | 1  # EPERM

ARCH_X86_64 = 0xC000003E
X32_BIT = 0x40000000

_FILTER = struct.Struct("<HBBI")  # struct sock_filter: code, jt, jf, k
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP = 0x05
_JUMP_EQUAL = 0x15
_JUMP_GREATER = 0x25
_JUMP_GREATER_EQUAL = 0x35
_JUMP_SET = 0x45
_RETURN = 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_MAX_JUMP = 255
_MAX_PROGRAM = 4096  # BPF_MAXINSNS

_Instruction = tuple[int, int, int, int]


class Condition(NamedTuple):
    """One test of one argument."""

    argument: int
    whole: bool
    """All 64 bits, or the lower 32."""
    operator: str
    """`in`, `within` or `<=`; `==` is `in` with one value."""
    values: tuple[int, ...]


class Rule(NamedTuple):
    """One line of a list: a system call that is allowed if all conditions hold."""

    number: int
    conditions: tuple[Condition, ...]
    often: bool


class FilterSyntaxError(ValueError):
    """A line of a list that cannot be read."""

    def __init__(self, line: str, wrong: str) -> None:
        super().__init__(f"{wrong} in the rule {line!r}")


@cache
def program(profile: str = "uml") -> bytes:
    """The filter called `profile`, compiled: the list `<profile>.seccomp` beside this module."""
    path = os.path.join(os.path.dirname(__file__), f"{profile}.seccomp")  # noqa: PTH118, PTH120
    with open(path, encoding="ascii") as text:  # noqa: PTH123 - on the path of every start
        return assemble(parse(text.read()))


def parse(text: str) -> list[Rule]:
    """Read a list.

    Raises:
        FilterSyntaxError: A line that is no rule, or names something unknown.
    """
    rules = []
    for line in text.splitlines():
        words, _, _ = line.partition("#")
        words = words.strip()
        if words:
            rules.append(_rule(words))
    return rules


def assemble(rules: Iterable[Rule]) -> bytes:
    """Compile rules; the order of the list does not matter, except among the `often`."""
    calls: dict[int, list[tuple[Condition, ...]]] = {}
    often: dict[int, None] = {}
    for rule in rules:
        calls.setdefault(rule.number, []).append(rule.conditions)
        if rule.often:
            often[rule.number] = None
    code: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, ARCH_X86_64),
        (_RETURN, 0, 0, NOT_LISTED),
        (_LOAD, 0, 0, _NUMBER),
    ]
    # Numbers of the x32 kind need no test of their own: they are listed nowhere.
    for number in often:
        code += _call(number, calls[number])
    rest = sorted(calls.keys() - often)
    if rest:
        code += _search(rest, calls)
    code.append((_RETURN, 0, 0, NOT_LISTED))
    if len(code) > _MAX_PROGRAM:
        raise ValueError(f"a filter of {len(code)} instructions; the kernel takes {_MAX_PROGRAM}")
    return b"".join([_FILTER.pack(*instruction) for instruction in code])


def _rule(line: str) -> Rule:
    head, _, rest = line.partition(" ")
    often = head == "often"
    if often:
        head, _, rest = rest.lstrip().partition(" ")
    number = SYSCALLS.get(head)
    if number is None:
        raise FilterSyntaxError(line, f"unknown system call {head!r}")
    parts = rest.split(" and ") if rest.strip() else []
    return Rule(number, tuple(_condition(line, part) for part in parts), often)


def _condition(line: str, text: str) -> Condition:
    operand, _, rest = text.strip().partition(" ")
    operator, _, right = rest.strip().partition(" ")
    kind, position = operand[:3], operand[3:]
    if kind not in ("arg", "int") or position not in ("0", "1", "2", "3", "4", "5"):
        raise FilterSyntaxError(line, f"{operand!r} is no argument")
    right = right.strip()
    if operator == "in":
        if not (right.startswith("{") and right.endswith("}")):
            raise FilterSyntaxError(line, f"{right!r} is no set")
        values = tuple(_value(line, item) for item in right[1:-1].split(","))
    elif operator in ("==", "within", "<="):
        values = (_value(line, right),)
        operator = "in" if operator == "==" else operator
    else:
        raise FilterSyntaxError(line, f"unknown operator {operator!r}")
    return Condition(int(position), kind == "arg", operator, values)


def _value(line: str, text: str) -> int:
    value = 0
    for name in text.split("|"):
        name = name.strip()
        known = CONSTANTS.get(name)
        if known is None:
            if not name.isdecimal():
                raise FilterSyntaxError(line, f"unknown constant {name!r}")
            known = int(name)
        value |= known
    if value >> 32:
        raise FilterSyntaxError(line, f"{text!r} has more than 32 bits")
    return value


def _search(
    numbers: Sequence[int], calls: dict[int, list[tuple[Condition, ...]]]
) -> list[_Instruction]:
    """Binary search for the loaded number; falls through to no one: every path returns."""
    if len(numbers) == 1:
        return [*_call(numbers[0], calls[numbers[0]]), (_RETURN, 0, 0, NOT_LISTED)]
    middle = len(numbers) // 2
    left = _search(numbers[:middle], calls)
    right = _search(numbers[middle:], calls)
    pivot = numbers[middle]
    if len(left) <= _MAX_JUMP:
        return [(_JUMP_GREATER_EQUAL, len(left), 0, pivot), *left, *right]
    # A conditional jump reaches 255 instructions, an unconditional one any distance.
    return [
        (_JUMP_GREATER_EQUAL, 0, 1, pivot),
        (_JUMP, 0, 0, len(left)),
        *left,
        *right,
    ]


def _call(number: int, alternatives: list[tuple[Condition, ...]]) -> list[_Instruction]:
    """Answer one system call; any other falls through with its number still loaded."""
    body: list[_Instruction] = []
    for conditions in alternatives:
        if not conditions:
            body = [(_RETURN, 0, 0, ALLOW)]
            break
        body += _alternative(conditions)
    else:
        body.append((_RETURN, 0, 0, REFUSED))
    return [(_JUMP_EQUAL, 0, _jump(len(body)), number), *body]


def _alternative(conditions: tuple[Condition, ...]) -> list[_Instruction]:
    """Return ALLOW if all conditions hold, otherwise go on after the last instruction."""
    code: list[_Instruction] = [(_RETURN, 0, 0, ALLOW)]
    for condition in reversed(conditions):
        code = _test(condition, len(code)) + code
    return code


def _test(condition: Condition, beyond: int) -> list[_Instruction]:
    """Go on if the condition holds, otherwise jump over the `beyond` instructions that follow.

    Values have 32 bits, so a whole register passes only if its upper half is zero.
    """
    lower = _ARGUMENTS + 8 * condition.argument
    values = condition.values
    code: list[_Instruction] = [(_LOAD, 0, 0, lower)]
    if condition.operator == "within":
        code.append((_JUMP_SET, _jump(beyond), 0, ~values[0] & 0xFFFFFFFF))
    elif condition.operator == "<=":
        code.append((_JUMP_GREATER, _jump(beyond), 0, values[0]))
    else:
        left = len(values)
        for value in values:
            left -= 1
            code.append((_JUMP_EQUAL, left, 0 if left else _jump(beyond), value))
    if condition.whole:
        upper = [(_LOAD, 0, 0, lower + 4), (_JUMP_EQUAL, 0, _jump(len(code) + beyond), 0)]
        code = upper + code
    return code


def _jump(distance: int) -> int:
    if distance > _MAX_JUMP:
        raise ValueError(f"conditions of one system call take {distance} instructions, at most 255")
    return distance
