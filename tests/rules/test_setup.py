"""The set-up installs what is needed, and the words about it are true."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.needs import CHECKOUT, listed_packages
from tests.support.pages import PAGES, README, commands, name_of

PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_set_up_commands_of_the_documentation_exist(page: Path) -> None:
    known = set(re.findall(r"^  ([\w-]+)  ", _help(), re.MULTILINE))
    targets = set(re.findall(r"^([a-z -]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    made = {word for line in targets for word in line.split()}

    for words in commands(page, "scripts/dev", "make"):
        if words[0] == "scripts/dev":
            assert words[1] in known, words
        if words[0] == "make":
            assert words[1] in made, words


def test_the_readme_starts_with_the_two_commands() -> None:
    lines = [" ".join(words) for words in commands(README, "scripts/dev", "make", "pyro")]

    assert lines[:2] == ["scripts/dev demo", "scripts/dev test"]


def test_ci_runs_what_the_readme_says() -> None:
    script = (CHECKOUT / ".ci/run").read_text().splitlines()

    assert script[-1] == "exec scripts/dev test"


def test_make_offers_every_command() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()

    for command in ("demo", "test", "test-hosts", "check", "bench", "setup", "clean"):
        assert re.search(rf"^{command}\b|\b{command}\b.*:$", makefile, re.MULTILINE), command


def test_every_program_that_tests_need_is_installed_by_the_set_up() -> None:
    installed = {line.found_by for line in listed_packages() if line.when in ("run", "test")}

    assert set(_needed_tools()) - installed == set()


def test_every_dependency_is_pinned_within_its_range() -> None:
    """`scripts/dev lock` renews the pins after pyproject.toml changed."""
    lines = (CHECKOUT / "scripts/constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    declared = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]

    for requirement in map(Requirement, declared):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, requirement.name
        assert requirement.specifier.contains(version), requirement.name


def test_every_dependency_has_an_upper_bound() -> None:
    """A new major version of somebody else's package must not break an old pyro."""
    for requirement in map(Requirement, PROJECT["project"]["dependencies"]):
        assert "<" in str(requirement.specifier), requirement.name


def _help() -> str:
    shown = subprocess.run(
        [CHECKOUT / "scripts/dev", "help"], capture_output=True, text=True, check=True
    )
    return shown.stdout


def _needed_tools() -> Iterator[str]:
    for file in (CHECKOUT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "needs":
                tool = node.args[0]
                assert isinstance(tool, ast.Constant), f"{file}: needs() takes a literal"
                yield str(tool.value)
