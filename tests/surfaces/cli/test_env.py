"""`pyro env`: for people and for programs."""

import json
from pathlib import Path

import pytest

from pyro_mcp import Pyro
from pyro_mcp.config import CACHE_VARIABLE
from tests.surfaces.cli.support import run_pyro
from tests.surfaces.shapes import SHAPES


@pytest.fixture
def empty(tmp_path: Path) -> dict[str, str]:
    """The variable that gives a process a cache of its own."""
    return {CACHE_VARIABLE: str(tmp_path / "cache")}


def test_list_shows_every_environment(empty: dict[str, str]) -> None:
    lines = run_pyro("env", "list", variables=empty).stdout.decode().splitlines()

    assert lines[0].startswith("Catalog version: ")
    names = [line.split(" [")[0] for line in lines[1:]]
    assert names[:4] == ["debian:12", "debian:12-base", "debian:12-build", "debian:13"]
    assert all(" [not installed] " in line for line in lines[1:])


def test_list_for_programs_is_what_the_sdk_says() -> None:
    answer = json.loads(run_pyro("env", "list", "--json").stdout)

    assert answer["environments"] == Pyro().list_environments()
    assert answer["catalog_version"] == answer["environments"][0]["catalog_version"]
    for one in answer["environments"]:
        assert SHAPES["environment"].keys() <= one.keys()


def test_inspect_for_programs_is_what_the_sdk_says() -> None:
    answer = json.loads(run_pyro("env", "inspect", "debian:12", "--json").stdout)

    assert answer == Pyro().inspect_environment("debian:12")


def test_inspect_for_people_is_lines_of_key_and_value(empty: dict[str, str]) -> None:
    lines = run_pyro("env", "inspect", "debian:12", variables=empty).stdout.decode().splitlines()

    assert lines[0] == "name: debian:12"
    assert "installed: no" in lines


@pytest.mark.usefixtures("images")
def test_pulling_what_is_there_says_where_it_is() -> None:
    finished = run_pyro("env", "pull", "debian:12", "--json")

    answer = json.loads(finished.stdout)
    assert finished.stderr == b""
    assert SHAPES["environment_pulled"].keys() <= answer.keys()
    assert Path(answer["rootfs_image"]).exists()
    assert Path(answer["kernel_image"]).exists()


def test_prune_counts_what_it_removed(empty: dict[str, str]) -> None:
    stale = Path(empty[CACHE_VARIABLE]) / "linux-x86_64" / "gone-1.0.0"
    stale.mkdir(parents=True)

    people = run_pyro("env", "prune", variables=empty).stdout.decode().splitlines()
    again = json.loads(run_pyro("env", "prune", "--json", variables=empty).stdout)

    assert people[0] == "Removed entries: 1"
    assert people[1].startswith("- ")
    assert "gone-1.0.0" in people[1]
    assert again["count"] == 0
    assert SHAPES["environments_pruned"].keys() <= again.keys()
