"""Measure pyro beside its peers: `python -m benchmarks [NAME ...] [--quick]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.ground import Ground, use_own_catalogue
from pyro_mcp import __version__
from pyro_mcp.errors import PyroError

_NAMES = {
    "startup": "pyro --help and import",
    "cold": "one command in a new machine",
    "exec": "a command in a running machine",
    "throughput": "bytes out of a guest and into it",
    "memory": "host memory of an idle machine",
    "density": "20 machines at once",
    "workspaces": "computers that are kept: create, exec, diff, snapshot, push, export",
    "shells": "terminals: a line and its answer, 100 MB of output",
    "services": "services: until one is ready; bytes and requests through a published port",
    "mcp": "the MCP server: first answer, cost of a call, 20 calls at once",
    "network": "bytes and connections through a guest's network",
    "kernels": "the guest kernel beside the distribution's: calls, faults, forks, boot, memory",
    "work_mix": "compilers, tests, git and more, step by step (minutes)",
}
_RESULTS = Path(__file__).with_name("results")


def main() -> int:
    """Run what is named, print tables, keep the series."""
    arguments = _arguments()
    use_own_catalogue()
    failed = False
    print(_host())
    with ExitStack() as owned:
        ground = Ground(quick=arguments.quick, owned=owned)
        owned.callback(ground.pyro.close)
        for name in arguments.names or _NAMES:
            try:
                tables = import_module(f"benchmarks.{name}").measure(ground)
            except PyroError as error:
                print(f"\n{name}: not measured. {error}", file=sys.stderr)
                failed = True
                continue
            for table in tables:
                print(f"\n{table.text()}", flush=True)
            _keep(name, [table.to_dict() for table in tables], quick=arguments.quick)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    listed = "\n".join(f"  {name:<11} {about}" for name, about in _NAMES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure pyro beside its peers. Prints tables and asserts nothing.",
        epilog=f"names:\n{listed}\n\nseries are kept in {_RESULTS.name}/ as JSON",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure; all if none")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in _NAMES:
            parser.error(f"nothing is named {name!r}; there are: {', '.join(_NAMES)}")
    return arguments


def _host() -> str:
    load = os.getloadavg()[0]
    busy = "" if load < 0.5 else "; others use it too, so figures are noisy"
    return (
        f"pyro {__version__}, Python {platform.python_version()}, Linux {platform.release()}, "
        f"{len(os.sched_getaffinity(0))} CPUs, load {load:.1f}{busy}"
    )


def _keep(name: str, tables: list[dict[str, Any]], *, quick: bool) -> None:
    _RESULTS.mkdir(exist_ok=True)
    now = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    record = {"measured_at": now, "host": _host(), "quick": quick, "tables": tables}
    (_RESULTS / f"{stamp}-{name}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
