"""The guest's boot is the product's start-up: what the agent imports is counted in milliseconds."""

import subprocess
import sys

import pytest

from tests.support.needs import CHECKOUT

HEAVY = {
    "_strptime", "asyncio", "collections", "contextlib", "ctypes", "dataclasses", "enum",
    "functools", "inspect", "json", "logging", "pathlib", "re", "selectors", "signal", "socket",
    "string", "struct", "subprocess", "tempfile", "threading", "traceback", "types", "typing",
}  # fmt: skip


def modules_after(statement: str) -> set[str]:
    program = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT / 'src')!r})\n"
        # The image of the agent carries an empty package; the host's has names of its own.
        "package = type(sys)('pyro_mcp')\n"
        f"package.__path__ = [{str(CHECKOUT / 'src' / 'pyro_mcp')!r}]\n"
        "sys.modules['pyro_mcp'] = package\n"
        f"{statement}\nprint(*sys.modules)"
    )
    finished = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(finished.stdout.split())


@pytest.mark.parametrize("module", ["__main__", "service"])
def test_the_agent_imports_nothing_heavy(module: str) -> None:
    loaded = modules_after(f"import pyro_mcp.guest.{module}")

    assert loaded & HEAVY == set()


def test_what_serves_is_not_loaded_before_the_guest_is_ready() -> None:
    loaded = modules_after("import pyro_mcp.guest.__main__")

    assert {name for name in loaded if name.startswith("pyro_mcp.")} == {
        "pyro_mcp.guest",
        "pyro_mcp.guest.__main__",
        "pyro_mcp.guest.modules",
        "pyro_mcp.guest.mounts",
        "pyro_mcp.guest.plain_json",
        "pyro_mcp.guest.system",
        "pyro_mcp.protocol",
    }
