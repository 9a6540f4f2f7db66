"""What a test needs of the host, and what to install when it is not there."""

import os
import shutil
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

CHECKOUT = Path(__file__).parents[2]


class Listed(NamedTuple):
    """One line of `scripts/packages`."""

    when: str
    found_by: str
    package: str


@cache
def listed_packages() -> tuple[Listed, ...]:
    """What the set-up installs."""
    lines = (CHECKOUT / "scripts/packages").read_text().splitlines()
    return tuple(Listed(*line.split()) for line in lines if line and not line.startswith("#"))


def needs(tool: str, *, package: str = "") -> str:
    """Full path of a program; where it is missing the test fails and names the package.

    It fails rather than skips: `scripts/dev test` installs what tests need, so a missing program
    is a fault of the set-up. `package` may be left out for what `scripts/packages` lists.
    """
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    found = shutil.which(tool, path=path)
    if found is None:
        known = {line.found_by: line.package for line in listed_packages()}
        name = package or known.get(tool, tool)
        pytest.fail(
            f"{tool!r} is not installed (Debian: apt-get install {name}); "
            "'scripts/dev setup' installs what tests need",
            pytrace=False,
        )
    return found
