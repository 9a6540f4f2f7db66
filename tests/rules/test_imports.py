"""Who may import whom, and what a start-up may load."""

import subprocess
import sys
from pathlib import Path

import pytest

import pyro_mcp
from tests.support.needs import CHECKOUT

SOURCE = CHECKOUT / "src"

HEAVY_FOR_USERS = {
    "asyncio", "click", "ctypes", "dataclasses", "importlib.metadata", "inspect", "json",
    "logging", "platformdirs", "rich", "socket", "sqlite3", "subprocess", "tempfile", "urllib",
}  # fmt: skip
"""Each costs milliseconds before the first line of a user's program that may never need it."""

HEAVY_FOR_THE_MONITOR = {
    "asyncio", "click", "ctypes", "dataclasses", "inspect", "logging", "pathlib", "platformdirs",
    "rich", "sqlite3", "subprocess", "tempfile", "threading",
    "pyro_mcp.config", "pyro_mcp.errors", "pyro_mcp.sdk",
}  # fmt: skip
"""The monitor is on the path of every start: a quarter of a second for everything."""


def test_imports_follow_the_layers() -> None:
    """The contracts are in pyproject.toml, under tool.importlinter."""
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize("name", pyro_mcp.__all__)
def test_every_exported_name_resolves(name: str) -> None:
    assert getattr(pyro_mcp, name) is not None


def test_every_exported_name_is_shown_to_completion() -> None:
    assert set(pyro_mcp.__all__) <= set(dir(pyro_mcp))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = pyro_mcp.no_such_name


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = _modules_loaded_by(["pyro_mcp"])

    assert loaded & HEAVY_FOR_USERS == set()


def test_the_monitor_loads_nothing_heavy() -> None:
    """Including what it imports late: every module it consists of."""
    parts = [*_modules_below("machines/monitor"), *_modules_below("vsock")]

    loaded = _modules_loaded_by(parts)

    assert loaded & HEAVY_FOR_THE_MONITOR == set()


def test_what_a_start_waits_for_loads_next_to_nothing() -> None:
    """A kernel that boots waits for its monitor; what is rare is imported when it is asked for."""
    loaded = _modules_loaded_by(
        [f"pyro_mcp.machines.monitor.{name}" for name in ("jailed", "uplink", "loop", "status")]
    )

    assert loaded & {"collections", "contextlib", "enum", "json", "re", "selectors"} == set()


def test_the_guest_agent_loads_the_standard_library_and_the_protocol_only() -> None:
    loaded = _modules_loaded_by(_modules_below("guest"))

    ours = {name for name in loaded if name.startswith("pyro_mcp.")}
    assert {name for name in ours if not name.startswith("pyro_mcp.guest")} <= {"pyro_mcp.protocol"}
    assert not [name for name in loaded - ours if _distribution_of(name)]


def _modules_below(folder: str) -> list[str]:
    files = sorted((SOURCE / "pyro_mcp" / folder).rglob("*.py"))
    names = [".".join(file.relative_to(SOURCE).with_suffix("").parts) for file in files]
    return [name.removesuffix(".__init__") for name in names]


def _modules_loaded_by(names: list[str]) -> set[str]:
    program = (
        "import sys, importlib\n"
        f"before = set(sys.modules); sys.path.insert(0, {str(SOURCE)!r})\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(*sorted(set(sys.modules) - before), sep='\\n')"
    )
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False
    )
    assert loaded.returncode == 0, loaded.stderr
    return set(loaded.stdout.split())


def _distribution_of(name: str) -> bool:
    top = name.partition(".")[0]
    return top not in sys.stdlib_module_names and top != "pyro_mcp"
