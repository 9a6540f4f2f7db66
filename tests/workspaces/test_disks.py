"""The disk of a stopped workspace: seen whole, changed by nothing, exported as one clean image."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pyro_mcp import Pyro
from pyro_mcp.environments import cache
from pyro_mcp.errors import (
    InvalidInputError,
    OutputExistsError,
    WorkspaceFileError,
    WorkspaceStateError,
)

LONG = "far/" * 100
"""A link's target that lies in a block of its own."""


@pytest.fixture
def stopped(pyro: Pyro, tmp_path: Path) -> str:
    """A workspace with a seed and changes inside and outside of /workspace."""
    seed = tmp_path / "seed"
    (seed / "folder").mkdir(parents=True)
    (seed / "folder" / "kept").write_text("from the seed\n")
    (seed / "gone").write_text("x")
    made = pyro.create_workspace(environment="debian:12", mem_mib=256, seed_path=seed)
    workspace_id = str(made["workspace_id"])
    pyro.exec_workspace(
        workspace_id,
        command="rm gone; printf 'naïve\\n' > new; ln -s new link; echo changed > /etc/motd;"
        f" mkdir 'with space'; echo odd > 'with space/quote\"d'; ln -s {LONG} long;"
        " rm -rf /usr/share/perl5",
    )
    pyro.stop_workspace(workspace_id)
    return workspace_id


def test_everything_can_be_listed_as_the_workspace_showed_it(pyro: Pyro, stopped: str) -> None:
    listed = pyro.list_workspace_disk(stopped, recursive=True)

    entries = {entry["path"]: entry for entry in listed["entries"]}
    assert sorted(entries) == [
        "/workspace/folder",
        "/workspace/folder/kept",
        "/workspace/link",
        "/workspace/long",
        "/workspace/new",
        "/workspace/with space",
        '/workspace/with space/quote"d',
    ]
    assert entries["/workspace/long"]["link_target"] == LONG
    assert entries["/workspace/link"]["link_target"] == "new"
    system = pyro.list_workspace_disk(stopped, path="/usr/share")
    assert "/usr/share/perl5" not in [entry["path"] for entry in system["entries"]]
    assert pyro.status_workspace(stopped)["state"] == "stopped"


def test_files_of_the_whole_system_can_be_read(pyro: Pyro, stopped: str) -> None:
    read = pyro.read_workspace_disk(stopped, "/etc/motd")
    cut = pyro.read_workspace_disk(stopped, "new", max_bytes=3)

    odd = pyro.read_workspace_disk(stopped, 'with space/quote"d')
    assert odd["content"] == "odd\n"
    with pytest.raises(WorkspaceFileError, match=r"^/etc/absent does not exist"):
        pyro.read_workspace_disk(stopped, "/etc/absent")
    assert (read["content"], read["truncated"]) == ("changed\n", False)
    assert (cut["content"], cut["size_bytes"], cut["truncated"]) == ("na�", 7, True)


def test_looking_changes_nothing(pyro: Pyro, stopped: str) -> None:
    store = pyro.manager.workspaces
    disk = store.place(stopped).disk(0)
    before = disk.read_bytes() if disk.stat().st_size < 1 << 20 else disk.stat().st_mtime_ns

    pyro.list_workspace_disk(stopped)

    after = disk.read_bytes() if disk.stat().st_size < 1 << 20 else disk.stat().st_mtime_ns
    assert after == before


def test_the_export_is_one_clean_image_of_all(pyro: Pyro, stopped: str, tmp_path: Path) -> None:
    output = tmp_path / "out" / "disk.ext4"

    exported = pyro.export_workspace_disk(stopped, output_path=output)

    assert exported["disk_format"] == "ext4"
    assert exported["bytes_written"] == output.stat().st_size
    tree = cache.ensure_runtime(pyro.manager.settings).tree
    loader = [
        str(tree / "lib64/ld-linux-x86-64.so.2"),
        "--library-path",
        str(tree / "usr/lib/x86_64-linux-gnu"),
    ]
    checked = subprocess.run(
        [*loader, str(tree / "usr/sbin/e2fsck"), "-f", "-n", str(output)],
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    shown = subprocess.run(
        [*loader, str(tree / "usr/sbin/debugfs"), "-R", "cat /workspace/new", str(output)],
        capture_output=True,
        check=True,
    )
    assert shown.stdout.decode() == "naïve\n"
    assert [p.name for p in output.parent.iterdir()] == ["disk.ext4"]


def test_what_is_there_is_not_overwritten(pyro: Pyro, stopped: str, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.symlink_to("nowhere")

    with pytest.raises(OutputExistsError):
        pyro.export_workspace_disk(stopped, output_path=taken)

    assert taken.is_symlink()


def test_a_running_workspace_is_refused(pyro: Pyro, stopped: str) -> None:
    pyro.start_workspace(stopped)

    with pytest.raises(WorkspaceStateError, match="stop"):
        pyro.list_workspace_disk(stopped)


@pytest.mark.parametrize("path", ["", " ", "../etc", "a/../b", "a\0b"])
def test_paths_that_mean_nothing_are_refused(pyro: Pyro, path: str) -> None:
    with pytest.raises(InvalidInputError, match="path"):
        pyro.read_workspace_disk("0" * 12, path)
