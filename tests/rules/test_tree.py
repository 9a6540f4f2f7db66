"""What may be in the tree, and how large its parts may grow."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pip._internal.models.index import PyPI

from tests.support.needs import CHECKOUT, needs

MOST_LINES = {"src": 450, "benchmarks": 450, "tests": 700}
"""Tests read as tables of cases, which may be longer."""

_URL_HOST = re.compile(rb"https?://(?:[^@/\s]*@)?([A-Za-z0-9.-]+\.[A-Za-z]+)")


@pytest.mark.parametrize("folder", MOST_LINES)
def test_modules_have_one_subject(folder: str) -> None:
    """A module that outgrows a few hundred lines has a second subject in it."""
    modules = [path for path in _tracked() if path.suffix == ".py" and path.is_relative_to(folder)]
    lines = {str(path): len((CHECKOUT / path).read_text().splitlines()) for path in modules}

    assert {path: count for path, count in lines.items() if count > MOST_LINES[folder]} == {}


def test_no_registry_is_named() -> None:
    """Where packages come from is the business of the host that installs them."""
    hosts = _configured_hosts()

    assert hosts
    assert _files_with(hosts) == {}


def test_no_path_of_a_machine_is_named() -> None:
    interpreters = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    paths = {str(CHECKOUT), *(path for path in interpreters if not path.startswith("/usr"))}

    assert _files_with({path.encode() for path in paths}) == {}


def _tracked() -> list[Path]:
    git = needs("git")
    listed = subprocess.run(
        [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=CHECKOUT, capture_output=True, check=True, text=True,
    )  # fmt: skip
    paths = [Path(name) for name in listed.stdout.split("\0") if name]
    return [path for path in paths if (CHECKOUT / path).is_file()]


def _files_with(words: set[bytes]) -> dict[str, list[bytes]]:
    found = {}
    for path in _tracked():
        content = (CHECKOUT / path).read_bytes()
        if here := [word for word in words if word in content]:
            found[str(path)] = here
    return found


def _configured_hosts() -> set[bytes]:
    """The package hosts that pip, npm and apt of this host know; none is written down here."""
    texts = [PyPI.url.encode(), f"https://{PyPI.file_storage_domain}".encode()]
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, check=True
    )
    texts.append(pip.stdout)
    if npm := shutil.which("npm"):
        asked = subprocess.run([npm, "config", "get", "registry"], capture_output=True, check=False)
        texts.append(asked.stdout)
    apt = Path("/etc/apt")
    for file in (apt / "sources.list", *(apt / "sources.list.d").glob("*")):
        if file.is_file():
            texts.append(file.read_bytes())
    return {host for text in texts for host in _URL_HOST.findall(text)}
