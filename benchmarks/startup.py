"""What pyro costs before it does anything."""

from __future__ import annotations

import sys

from benchmarks.ground import CLI, Ground
from benchmarks.rounds import Subject, alternate, seconds
from benchmarks.table import Table

_BARE = "python -c pass"


def measure(ground: Ground) -> list[Table]:
    """Whole processes, in milliseconds."""

    def python(label: str, program: str, goal: str = "") -> Subject:
        argv = [sys.executable, "-c", program]
        return Subject(label, lambda: seconds(argv) * 1000, goal=goal)

    rows = alternate(
        [
            python(_BARE, "pass"),
            python("import pyro_mcp", "import pyro_mcp", "≤ 60 ms over bare Python"),
            python("Pyro()", "from pyro_mcp import Pyro; Pyro()", "≤ 60 ms over bare Python"),
            Subject("pyro --help", lambda: seconds([CLI, "--help"]) * 1000, goal="≤ 100 ms"),
        ],
        rounds=ground.rounds(25, 7),
        warm_up=2,
    )
    return [
        Table(title="Start-up", unit="ms", rows=rows, references=[_BARE], digits=0),
    ]
