"""Each integration by itself, and what it says where its package is missing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pyro_mcp.errors.integrations import MissingExtraError
from tests.support.needs import CHECKOUT

EXTRAS = {
    "openai": ("openai", "openai"),
    "openai_agents": ("openai-agents", "agents"),
    "langchain": ("langchain", "langchain_core"),
    "pydantic_ai": ("pydantic-ai", "pydantic_ai"),
}
"""Module → extra, and the package that stands for its library."""


@pytest.mark.parametrize("module", EXTRAS)
def test_a_missing_package_is_named_with_the_command_that_installs_it(module: str) -> None:
    extra, package = EXTRAS[module]
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        f"try: import pyro_mcp.integrations.{module}\n"
        "except ImportError as error: print(error, type(error).__name__)"
    )

    said = _python(program)

    assert f"pip install 'pyro-mcp[{extra}]'" in said
    assert said.strip().endswith(MissingExtraError.__name__)


@pytest.mark.parametrize("module", [*EXTRAS, "callables"])
def test_an_integration_imports_no_library_but_its_own(module: str) -> None:
    own = {"openai": {"openai"}, "openai_agents": {"agents", "openai", "mcp"}}
    loaded = set(_python(
        f"import sys, pyro_mcp.integrations.{module}\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    ).split())  # fmt: skip

    foreign = {"openai", "agents", "langchain_core", "pydantic_ai", "mcp"}
    assert loaded & foreign <= own.get(module, {module, "langchain_core"})


def test_every_extra_is_declared() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]

    assert {extra for extra, _ in EXTRAS.values()} <= set(project["optional-dependencies"])
    for module in EXTRAS:
        assert importlib.util.find_spec(f"pyro_mcp.integrations.{module}") is not None


def _python(program: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False,
        cwd=Path(CHECKOUT),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
