"""Each page of the documentation runs as it is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyro_mcp.config import Settings
from tests.recipes.not_run import NOT_RUN
from tests.support.needs import CHECKOUT
from tests.support.pages import PAGES, README, blocks, name_of

WALK_THROUGHS = sorted((CHECKOUT / "docs" / "walk-throughs").glob("*.md"))
WITH_COMMANDS = [page for page in PAGES if blocks(page, "sh")]


@pytest.fixture
def reader(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of somebody who follows a page, who has some chat programs.

    The home is an empty one: commands that change a user's files must not change the files of
    whoever runs the tests. Images are the real ones.
    """
    # Not pytest's tmp_path, whose names are too long for the sockets of a state directory.
    home = settings.state_dir.parent / "home"
    for made in (".cache/pyro-mcp", ".codex", ".cursor", ".gemini", ".config/opencode", "bin"):
        (home / made).mkdir(parents=True)
    (home / ".claude.json").write_text("{}\n")
    (home / ".cache/pyro-mcp/environments").symlink_to(settings.cache_dir)
    pyro = home / "bin/pyro"
    pyro.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pyro_mcp "$@"\n')
    pyro.chmod(0o755)
    place = home / "place"
    place.mkdir()
    (place / "README.md").write_bytes(README.read_bytes())
    for variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{pyro.parent}:{os.environ['PATH']}")
    return place


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_the_commands_of_a_page_work(page: Path, reader: Path, images: object) -> None:
    lines = "\n".join(blocks(page, "sh")).splitlines()
    script = "\n".join(line for line in lines if _command(line) not in NOT_RUN)

    done = subprocess.run(
        ["sh", "-e"], input=script.encode(), cwd=reader, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    assert b"fault in pyro" not in done.stderr


def test_every_command_that_is_left_out_is_one_of_a_page() -> None:
    written = {
        _command(line)
        for page in PAGES
        for block in blocks(page, "sh")
        for line in block.splitlines()
    }

    assert set(NOT_RUN) - written == set()


def test_there_is_a_page_for_each_use_case() -> None:
    """Five walk-throughs; the index and the page about use cases name each of them."""
    index, cases = ((CHECKOUT / "docs" / name).read_text() for name in ("index.md", "use-cases.md"))

    assert len(WALK_THROUGHS) == 5
    for page in WALK_THROUGHS:
        assert f"walk-throughs/{page.name}" in index
        assert f"walk-throughs/{page.name}" in cases


def test_every_page_is_in_the_index() -> None:
    index = (CHECKOUT / "docs/index.md").read_text()

    for page in (page for page in PAGES if page.parent.name == "docs" and page.stem != "index"):
        assert f"({page.name})" in index, page.name


def _command(line: str) -> str:
    return line.partition(" # ")[0].strip()
