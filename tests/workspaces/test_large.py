"""Much of it: many files, one that is large; in as seed and push, saved, put back, and out again.

100,000 files and 5 GB with `scripts/dev test-large`; otherwise less, by the same ways.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp import Pyro

FULL = bool(os.environ.get("PYRO_TEST_LARGE"))
FILES = 100_000 if FULL else 3_000
LARGE_MIB = 5 * 1024 if FULL else 128
_FOLDER = 500
"""So many files lie in one directory."""
_PIECE = 1 << 20


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Many small files, and a large one with holes and data."""
    root = tmp_path_factory.mktemp("large") / "tree"
    for number in range(FILES):
        if number % _FOLDER == 0:
            (root / f"d{number // _FOLDER}").mkdir(parents=True)
        (root / f"d{number // _FOLDER}/f{number}").write_bytes(b"%d\n" % number)
    with (root / "large").open("wb") as large:
        large.truncate(LARGE_MIB << 20)
        for at in range(0, LARGE_MIB, 64):
            large.seek((at << 20) + at)
            large.write(os.urandom(_PIECE))
    yield root
    shutil.rmtree(root)


@pytest.mark.timeout(3600 if FULL else 300)
def test_much_goes_in_is_saved_and_comes_out(pyro: Pyro, tree: Path, tmp_path: Path) -> None:
    large = digest(tree / "large")
    made = pyro.create_workspace(environment="debian:12", mem_mib=512, seed_path=tree)
    workspace_id = str(made["workspace_id"])

    def run(command: str) -> str:
        ran = pyro.exec_workspace(workspace_id, command=command, timeout_seconds=1800)
        assert ran["exit_code"] == 0, ran
        return str(ran["stdout"])

    def look(folder: str) -> tuple[int, str]:
        said = run(f"cd {folder}; find . -name 'f*' -type f | wc -l; md5sum < large")
        return int(said.split()[0]), said.split()[1]

    entries = FILES + FILES // _FOLDER + 1
    assert made["workspace_seed"]["entry_count"] == entries
    assert look(".") == (FILES, large)

    run("echo changed > d0/f7; rm d1/f500; chmod +x d0/f8")
    changed = [entry["path"] for entry in pyro.diff_workspace(workspace_id)["entries"]]
    assert changed == ["d0/f7", "d0/f8", "d1/f500"]

    pushed = pyro.push_workspace_sync(workspace_id, tree, dest="again")["workspace_sync"]
    assert pushed["entry_count"] == entries
    assert look("again") == (FILES, large)

    pyro.create_snapshot(workspace_id, "full")
    run("rm -r again; sync")
    against = pyro.diff_workspace(workspace_id, against="full", names_only=True)
    assert against["summary"]["deleted"] == FILES + 1
    pyro.reset_workspace(workspace_id, snapshot="full")
    assert look("again") == (FILES, large)

    exported = pyro.export_workspace(workspace_id, "again", output_path=tmp_path / "out")
    assert (exported["entry_count"], exported["skipped"]) == (entries, [])
    assert digest(tmp_path / "out/large") == large
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("d*/*")}
    assert found == {f"f{number}": b"%d\n" % number for number in range(FILES)}
    shutil.rmtree(tmp_path / "out")


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
