"""What is published starts: installed by itself, far from the checkout, it runs a guest."""

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import pyro_mcp
from tests.support.needs import CHECKOUT, needs


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of this checkout, and the wheel built from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(CHECKOUT)])
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that holds the wheel and what it depends on."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=True)
    constraints = str(CHECKOUT / "scripts/constraints.txt")
    _run([str(home / "bin/pip"), "install", "--quiet", "--constraint", constraints, str(wheel)])
    return home / "bin"


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    """Data files too: one that is missing shows only when it is used."""
    listed = subprocess.run(
        [needs("git"), "ls-files", "--cached", "--others", "--exclude-standard", "src"],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    ours = {name for name in listed.stdout.split() if (CHECKOUT / name).exists()}

    packed = {f"src/{name}" for name in zipfile.ZipFile(wheel).namelist()}

    assert ours - packed == set()
    assert {name for name in packed - ours if ".dist-info/" not in name} == set()


def test_the_source_distribution_can_be_worked_on(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    for name in ("LICENSE", "README.md", "CHANGELOG.md", "Makefile", "pyproject.toml",
                 "scripts/dev", "scripts/packages", "scripts/constraints.txt",
                 "docs/index.md", "tests/conftest.py", "src/pyro_mcp/py.typed"):  # fmt: skip
        assert name in names, name


def test_an_installed_pyro_knows_its_version(installed: Path) -> None:
    assert pyro_mcp.__version__ in _pyro(installed, "--version")


def test_an_installed_pyro_is_the_one_that_is_imported(installed: Path) -> None:
    place = _run([str(installed / "python"), "-c", "import pyro_mcp; print(pyro_mcp.__file__)"])

    assert Path(place.strip()).is_relative_to(installed.parent)


def test_an_installed_pyro_reports_on_its_host(installed: Path) -> None:
    report = json.loads(_pyro(installed, "doctor", "--json"))

    assert isinstance(report, dict)


def test_an_installed_pyro_runs_a_command_in_a_guest(installed: Path) -> None:
    assert _pyro(installed, "run", "debian:12", "--", "git", "--version").startswith("git version")


def _pyro(programs: Path, *words: str) -> str:
    return _run([str(programs / "pyro"), *words])


def _run(argv: list[str]) -> str:
    """Standard output of a program that knows nothing of this checkout."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    ended = subprocess.run(
        argv, cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{argv}\n{ended.stdout}{ended.stderr}"
    return ended.stdout
