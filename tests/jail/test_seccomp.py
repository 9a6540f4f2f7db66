"""The compiled filter says what the list says, to the last bit, and the kernel takes it."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.jail import seccomp
from pyro_mcp.jail.seccomp import Condition, FilterSyntaxError, Rule, assemble, parse, program
from pyro_mcp.jail.syscalls import SYSCALLS
from tests.jail.bpf import Call, instructions, verdict

_ANSWERS = {seccomp.ALLOW, seccomp.NOT_LISTED, seccomp.REFUSED}
_WORDS = st.integers(0, 2**32 - 1)
_EDGES = st.sampled_from([0, 1, 2, 7, 2**31, 2**32 - 1])


def _expected(rules: Iterable[Rule], call: Call) -> int:
    """The meaning of a list, without any of the compiler's code."""
    mine = [rule for rule in rules if rule.number == call.number]
    if not mine:
        return seccomp.NOT_LISTED
    if any(all(_holds(c, call) for c in rule.conditions) for rule in mine):
        return seccomp.ALLOW
    return seccomp.REFUSED


def _holds(condition: Condition, call: Call) -> bool:
    value = [*call.arguments, 0, 0, 0, 0, 0, 0][condition.argument]
    if not condition.whole:
        value %= 2**32
    match condition.operator:
        case "in":
            return value in condition.values
        case "within":
            return value | condition.values[0] == condition.values[0]
        case "<=":
            return value <= condition.values[0]
    raise AssertionError(condition)


@st.composite
def _conditions(draw: st.DrawFn) -> Condition:
    operator = draw(st.sampled_from(["in", "within", "<="]))
    values = st.lists(_WORDS | _EDGES, min_size=1, max_size=5 if operator == "in" else 1)
    return Condition(
        argument=draw(st.integers(0, 5)),
        whole=draw(st.booleans()),
        operator=operator,
        values=tuple(draw(values)),
    )


_RULES = st.builds(
    Rule,
    number=st.integers(0, 60) | st.integers(0, 600),
    conditions=st.lists(_conditions(), max_size=3).map(tuple),
    often=st.booleans(),
)


@st.composite
def _lists_and_calls(draw: st.DrawFn) -> tuple[list[Rule], Call]:
    rules = draw(st.lists(_RULES, max_size=60))
    numbers = [rule.number for rule in rules] or [0]
    values = [v for rule in rules for c in rule.conditions for v in c.values] or [0]
    near = st.sampled_from(values).flatmap(lambda v: st.sampled_from([v, v ^ 1, v + 1, v | 2**32]))
    call = Call(
        draw(st.sampled_from(numbers) | st.integers(0, 600)),
        tuple(draw(st.lists(near | st.integers(0, 2**64 - 1), max_size=6))),
    )
    return rules, call


@given(_lists_and_calls())
def test_any_list_compiles_to_a_program_with_the_same_verdicts(
    case: tuple[list[Rule], Call],
) -> None:
    rules, call = case

    assert verdict(assemble(rules), call) == _expected(rules, call)


def _uml_rules() -> list[Rule]:
    from importlib import resources

    return parse((resources.files("pyro_mcp.jail") / "uml.seccomp").read_text())


@given(st.lists(_WORDS | _EDGES | st.integers(0, 2**64 - 1), max_size=6).map(tuple))
def test_the_shipped_program_answers_every_system_call_as_its_list_says(
    arguments: tuple[int, ...],
) -> None:
    compiled, rules = program("uml"), _uml_rules()

    for number in range(600):
        call = Call(number, arguments)
        assert verdict(compiled, call) == _expected(rules, call), call


@pytest.mark.parametrize("architecture", [0x40000003, 0x4000003E, 0xC00000B7, 0])
def test_another_architecture_may_do_nothing(architecture: int) -> None:
    """`int 0x80` reaches the 32-bit table, where the same numbers are other calls."""
    for number in range(600):
        call = Call(number, architecture=architecture)
        assert verdict(program("uml"), call) == seccomp.NOT_LISTED


def test_the_x32_numbers_may_do_nothing() -> None:
    for number in range(600):
        assert verdict(program("uml"), Call(number | 0x4000_0000)) == seccomp.NOT_LISTED


def test_no_verdict_kills_or_traps() -> None:
    """Guest system calls meet the filter as well; a kill would outrank the stub's own trap."""
    returns = {operand for code, _, _, operand in instructions(program("uml")) if code == 0x06}

    assert returns == _ANSWERS


def test_the_switch_to_guest_code_is_decided_first() -> None:
    """Each costs a few host calls, and both filters of a stub run in full for each."""
    first = [i for i in instructions(program("uml")) if i[0] == 0x15][1:4]

    assert [operand for *_, operand in first] == [
        SYSCALLS[name] for name in ("futex", "rt_sigreturn", "recvmsg")
    ]


def test_a_list_too_large_for_short_jumps_still_compiles() -> None:
    conditions = tuple(Condition(1, True, "in", (n, n + 1)) for n in range(8))
    rules = [Rule(number, conditions, often=False) for number in range(80)]
    compiled = assemble(rules)

    assert len(compiled) // 8 > 1000
    for number in (0, 39, 40, 79, 80):
        assert verdict(compiled, Call(number, (0,))) == _expected(rules, Call(number, (0,)))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("opne", "unknown system call 'opne'"),
        ("socket int0 == AF_UNIKS", "unknown constant 'AF_UNIKS'"),
        ("socket int0 = AF_UNIX", "unknown operator '='"),
        ("socket int0 != AF_UNIX", "unknown operator '!='"),
        ("socket int6 == AF_UNIX", "'int6' is no argument"),
        ("socket == AF_UNIX", "'==' is no argument"),
        ("socket int0 in AF_UNIX", "'AF_UNIX' is no set"),
        ("mmap arg1 <= 4294967296", "more than 32 bits"),
        ("often", "unknown system call ''"),
    ],
)
def test_a_line_that_is_no_rule_is_refused(line: str, why: str) -> None:
    """A typing error must not quietly open or close something."""
    with pytest.raises(FilterSyntaxError, match=why):
        parse(f"read\n{line}\n")


def test_lists_may_have_comments_and_alternatives() -> None:
    rules = parse("# none\n\nclose # a descriptor\nmmap arg3 == 1 and arg1 <= 8\nmmap arg3 == 2\n")
    compiled = assemble(rules)

    assert verdict(compiled, Call(SYSCALLS["close"])) == seccomp.ALLOW
    assert verdict(compiled, Call(SYSCALLS["mmap"], (0, 8, 0, 1))) == seccomp.ALLOW
    assert verdict(compiled, Call(SYSCALLS["mmap"], (0, 9, 0, 1))) == seccomp.REFUSED
    assert verdict(compiled, Call(SYSCALLS["mmap"], (0, 9, 0, 2))) == seccomp.ALLOW


def test_the_program_is_an_array_of_sock_filter() -> None:
    compiled = program("uml")

    assert len(compiled) % 8 == 0
    assert struct.unpack_from("<HBBI", compiled) == (0x20, 0, 0, 4)  # the architecture first
