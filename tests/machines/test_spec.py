"""Bad input is refused before anything is made, with what to do instead."""

from typing import Any, cast

import pytest

from pyro_mcp.errors import HostMemoryError, InvalidInputError
from pyro_mcp.machines.spec import (
    MachineSpec,
    available_memory_mib,
    check_command,
    check_timeout,
)

GOOD = MachineSpec("debian:12", 1, 512, 600, False, False)


def test_what_lies_within_the_limits_is_accepted() -> None:
    GOOD.check()
    GOOD._replace(vcpu_count=8, mem_mib=256, ttl_seconds=60).check()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("vcpu_count", 0, "1 to 8"),
        ("vcpu_count", 9, "1 to 8"),
        ("vcpu_count", True, "whole number"),
        ("mem_mib", -1, "256 to 32768"),
        ("mem_mib", 255, "256 to 32768"),
        ("mem_mib", 32769, "256 to 32768"),
        ("mem_mib", 512.5, "whole number"),
        ("ttl_seconds", 59, "60 to 3600"),
        ("ttl_seconds", 3601, "60 to 3600"),
        ("environment", "  ", "is empty"),
    ],
)
def test_what_lies_outside_is_refused_with_the_range(field: str, value: object, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as caught:
        GOOD._replace(**cast(dict[str, Any], {field: value})).check()

    assert field in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_more_memory_than_the_host_has_free_is_refused_with_both_figures() -> None:
    available = available_memory_mib()
    if available >= 32768:
        assert available > 0  # a host this large has room for the largest machine
        return
    with pytest.raises(HostMemoryError, match=r"32768 MiB .* free"):
        GOOD._replace(mem_mib=32768).check()


@pytest.mark.parametrize("command", ["", "   ", "\n", None, 5, "a\0b"])
def test_a_command_no_shell_could_take_is_refused(command: object) -> None:
    with pytest.raises(InvalidInputError, match="command"):
        check_command(command)


@pytest.mark.parametrize("timeout", [0, -1, True, "30", None, float("nan"), float("inf")])
def test_a_time_limit_that_is_none_is_refused(timeout: object) -> None:
    with pytest.raises(InvalidInputError, match="timeout_seconds"):
        check_timeout(timeout)
