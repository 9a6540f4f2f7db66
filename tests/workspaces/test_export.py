"""What comes out of a workspace appears on the host whole or not at all."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.config import STATE_VARIABLE
from pyro_mcp.errors import (
    ExportRefusedError,
    InvalidInputError,
    OutputExistsError,
    WorkspaceFileError,
)
from pyro_mcp.machines.spec import Images
from pyro_mcp.sdk.manager import VmManager
from pyro_mcp.workspaces import commands, export, lifecycle, sync
from pyro_mcp.workspaces.store import Store
from tests.support import until
from tests.support.tars import listed

_FILL = """
mkdir -p d/sub d/empty
printf content > d/sub/file; chmod 4755 d/sub/file
ln -s ../sub/file d/empty/relative
ln -s /etc/passwd d/absolute
ln d/sub/file d/hard
mkfifo d/pipe; mknod d/device c 1 3
head -c 300000 /dev/urandom > big
"""


@pytest.fixture(scope="module")
def kept(_shared_state_dir: Path, images: Images) -> Iterator[tuple[Store, str]]:
    """One workspace with all kinds of things in it."""
    store = VmManager(base_dir=_shared_state_dir).workspaces
    made = lifecycle.create(store, environment="debian:12", mem_mib=256)
    filled = commands.execute(store, made.workspace_id, command=_FILL, timeout_seconds=60)
    assert filled.exit_code == 0, filled
    yield store, made.workspace_id
    lifecycle.delete(store, made.workspace_id)


def test_a_directory_comes_out_without_what_a_host_must_not_have(
    kept: tuple[Store, str], tmp_path: Path
) -> None:
    result = export.export(*kept, "d", output_path=tmp_path / "made/for/it").to_dict()

    out = tmp_path / "made/for/it"
    assert sorted(os.listdir(out)) == ["absolute", "empty", "hard", "sub"]  # noqa: PTH208
    assert (out / "sub/file").stat().st_mode & 0o7777 == 0o755
    assert (out / "absolute").readlink() == Path("/etc/passwd")
    assert (out / "empty/relative").read_text() == "content"
    assert (out / "hard").samefile(out / "sub/file")
    assert len(result.pop("skipped")) == 2
    assert result == {
        "workspace_id": kept[1],
        "workspace_path": "/workspace/d",
        "output_path": str(out.resolve()),
        "artifact_type": "directory",
        "entry_count": 6,
        "bytes_written": 7,
        "execution_mode": "guest_vsock",
        "packed": False,
        "workspace_started": False,
    }


@pytest.mark.parametrize(("path", "kind"), [("big", "file"), ("d/absolute", "symlink")])
def test_one_file_or_link_comes_out_as_itself(
    path: str, kind: str, kept: tuple[Store, str], tmp_path: Path
) -> None:
    """Also when its new name is that of an archive."""
    out = tmp_path / "it.tar.gz"

    result = export.export(*kept, path, output_path=out)

    assert (result.artifact_type, result.entry_count, result.packed) == (kind, 1, False)
    assert out.is_symlink() == (kind == "symlink")
    assert result.bytes_written == (300_000 if kind == "file" else 0)


def test_a_directory_comes_out_as_an_archive_that_can_be_pushed_again(
    kept: tuple[Store, str], tmp_path: Path
) -> None:
    out = tmp_path / "d.tar.gz"

    result = export.export(*kept, "d", output_path=out)
    sync.push(*kept, out, dest="again")

    found = listed(gzip.decompress(out.read_bytes()))
    assert sorted(found) == ["absolute", "empty", "empty/relative", "hard", "sub", "sub/file"]
    assert (result.packed, result.artifact_type) == (True, "directory")
    said = commands.execute(
        *kept, command="cat again/empty/relative; rm -r again", timeout_seconds=30
    )
    assert said.stdout == "content"


@pytest.mark.parametrize("path", ["", "/", "/etc/passwd", "../etc", "d/../d"])
def test_only_what_is_in_the_workspace_comes_out(
    path: str, kept: tuple[Store, str], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="path"):
        export.export(*kept, path, output_path=tmp_path / "out")


def test_nothing_comes_out_through_a_link(kept: tuple[Store, str], tmp_path: Path) -> None:
    with pytest.raises(WorkspaceFileError):
        export.export(*kept, "d/absolute/below", output_path=tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_said_and_nothing_made(kept: tuple[Store, str], tmp_path: Path) -> None:
    with pytest.raises(WorkspaceFileError):
        export.export(*kept, "nowhere", output_path=tmp_path / "a/b")

    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_is_refused_by_its_name(kept: tuple[Store, str], tmp_path: Path) -> None:
    with pytest.raises(WorkspaceFileError, match=r"^/workspace/d/pipe is a device, a pipe"):
        export.export(*kept, "d/pipe", output_path=tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def test_more_than_the_limit_is_refused(kept: tuple[Store, str], tmp_path: Path) -> None:
    with pytest.raises(ExportRefusedError, match="beyond the limit of 100000 bytes"):
        export.export(*kept, "big", output_path=tmp_path / "out", limit_bytes=100_000)

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_export_left_goes_with_the_next_one_there(
    kept: tuple[Store, str], tmp_path: Path
) -> None:
    """And what a living one is writing stays."""
    call = (
        "import sys, pathlib; from pyro_mcp import Pyro\n"
        "Pyro().export_workspace(sys.argv[1], 'large', output_path=pathlib.Path(sys.argv[2]))"
    )
    commands.execute(*kept, command="head -c 900M /dev/zero > large", timeout_seconds=60)
    environment = {**os.environ, STATE_VARIABLE: str(kept[0].settings.state_dir)}
    words = [sys.executable, "-c", call, kept[1], str(tmp_path / "large")]
    with subprocess.Popen(words, env=environment) as exporting:
        until(lambda: list(tmp_path.glob(".pyro-*.part/tree/*")))
        exporting.send_signal(signal.SIGSTOP)
        export.export(*kept, "big", output_path=tmp_path / "beside")
        assert list(tmp_path.glob(".pyro-*.part"))
        exporting.kill()
    assert list(tmp_path.glob(".pyro-*.part"))

    export.export(*kept, "big", output_path=tmp_path / "next")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["beside", "next"]
    commands.execute(*kept, command="rm large", timeout_seconds=60)


def test_a_dangling_link_is_not_written_through(kept: tuple[Store, str], tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OutputExistsError):
        export.export(*kept, "big", output_path=tmp_path / "out")

    assert not (tmp_path / "elsewhere").exists()
