"""A push appears whole or not at all."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.errors import InvalidInputError, UnknownWorkspaceError, WorkspaceFileError
from pyro_mcp.machines.spec import Images
from pyro_mcp.sdk.manager import VmManager
from pyro_mcp.workspaces import commands, lifecycle, sync
from pyro_mcp.workspaces.store import Store
from tests.support import until
from tests.support.tars import folder, link, member, tar_of


@pytest.fixture(scope="module")
def kept(_shared_state_dir: Path, images: Images) -> Iterator[tuple[Store, str]]:
    """One workspace for the whole file."""
    store = VmManager(base_dir=_shared_state_dir).workspaces
    made = lifecycle.create(store, environment="debian:12", mem_mib=256)
    yield store, made.workspace_id
    lifecycle.delete(store, made.workspace_id)


@pytest.fixture
def pushed_to(kept: tuple[Store, str]) -> tuple[Store, str]:
    """The workspace, empty."""
    run(kept, "rm -rf ./* ./.[!.]*")
    return kept


def run(where: tuple[Store, str], command: str) -> str:
    result = commands.execute(where[0], where[1], command=command, timeout_seconds=60)
    assert result.exit_code == 0, result
    return result.stdout


def test_a_directory_lies_over_what_is_there(pushed_to: tuple[Store, str], tmp_path: Path) -> None:
    run(pushed_to, "mkdir d; echo old > d/changed; echo mine > d/mine")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/changed").write_text("new")
    (tmp_path / "d/run").write_text("#!/bin/sh\necho ran\n")
    (tmp_path / "d/run").chmod(0o755)
    (tmp_path / "noise.log").write_text("x")

    result = sync.push(*pushed_to, tmp_path, exclude=["*.log"]).to_dict()

    assert run(pushed_to, "cat d/changed d/mine; d/run; ls") == "newmine\nran\nd\n"
    assert result == {
        "workspace_id": pushed_to[1],
        "execution_mode": "guest_vsock",
        "workspace_sync": {
            "mode": "directory",
            "source_path": str(tmp_path.resolve()),
            "destination": "/workspace",
            "entry_count": 3,
            "bytes_written": 3 + 19,
            "skipped": [],
        },
        "workspace_started": False,
    }


def test_a_conflict_half_way_leaves_everything_as_it_was(
    pushed_to: tuple[Store, str], tmp_path: Path
) -> None:
    run(pushed_to, "echo old > a; mkdir z; touch z/inside")
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("new")
    (tmp_path / "z").write_text("a file where a directory is")

    with pytest.raises(WorkspaceFileError, match="z"):
        sync.push(*pushed_to, tmp_path)

    assert run(pushed_to, "cat a; ls -A . z") == "old\n.:\na\nz\n\nz:\ninside\n"


@pytest.mark.parametrize("fault", ["hostile", "cut off"])
def test_an_archive_that_turns_bad_leaves_everything_as_it_was(
    fault: str, pushed_to: tuple[Store, str], tmp_path: Path
) -> None:
    run(pushed_to, "echo old > a")
    content = tar_of(
        member("a", b"new"), member("big", os.urandom(4 << 20)), link("l", "/etc"), member("l/x")
    )
    archive = tmp_path / "bad.tgz"
    packed = gzip.compress(content)
    archive.write_bytes(packed if fault == "hostile" else packed[: 3 << 20])

    with pytest.raises(InvalidInputError, match="source_path"):
        sync.push(*pushed_to, archive)

    # The guest learns of it from the closed connection, and then removes what it had unpacked.
    until(lambda: run(pushed_to, "cat a; ls -A") == "old\na\n")


def test_a_push_never_leaves_the_workspace_through_a_link(
    pushed_to: tuple[Store, str], tmp_path: Path
) -> None:
    run(pushed_to, "ln -s /etc out")
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar_of(folder("out"), member("out/pushed", b"x")))

    with pytest.raises(WorkspaceFileError):
        sync.push(*pushed_to, archive)

    assert run(pushed_to, "ls /etc/pushed 2>&1 || true").startswith("ls: cannot access")


@pytest.mark.parametrize("dest", ["../up", "/etc", "", "/workspace/../etc", "a/../b"])
def test_a_destination_outside_is_refused(
    dest: str, kept: tuple[Store, str], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="dest"):
        sync.push(*kept, tmp_path, dest=dest)


def test_an_unknown_workspace_is_said_before_anything_is_read(
    kept: tuple[Store, str], tmp_path: Path
) -> None:
    with pytest.raises(UnknownWorkspaceError):
        sync.push(kept[0], "000000000000", tmp_path / "not even there")
