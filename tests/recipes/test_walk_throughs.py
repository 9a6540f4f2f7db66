"""Each walk-through of docs/ runs as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.needs import CHECKOUT

WALK_THROUGHS = sorted((CHECKOUT / "docs" / "walk-throughs").glob("*.md"))
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", WALK_THROUGHS, ids=lambda page: page.stem)
def test_the_commands_of_a_walk_through_work(page: Path, tmp_path: Path, images: object) -> None:
    script = "\n".join(_BLOCK.findall(page.read_text()))
    assert "pyro" in script
    folder = tmp_path / "bin"
    folder.mkdir()
    pyro = folder / "pyro"
    pyro.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pyro_mcp "$@"\n')
    pyro.chmod(0o755)
    place = tmp_path / "place"
    place.mkdir()

    done = subprocess.run(
        ["sh", "-e"],
        input=script.encode(),
        cwd=place,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def test_there_is_a_page_for_each_and_the_index_names_it() -> None:
    index = (CHECKOUT / "docs" / "index.md").read_text()

    assert WALK_THROUGHS
    for page in WALK_THROUGHS:
        assert f"walk-throughs/{page.name}" in index
