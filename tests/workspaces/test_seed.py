"""What a workspace begins with: a directory or archive of the host, as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.environments.image import loader_command
from pyro_mcp.errors import InvalidInputError, WorkspaceStateError
from pyro_mcp.machines.spec import Images
from pyro_mcp.sdk.manager import VmManager
from pyro_mcp.workspaces import commands, export, lifecycle, seed, sync
from pyro_mcp.workspaces.store import Store
from tests.support.tars import folder, link, member, tar_of


@pytest.fixture
def store(images: Images, state_dir: Path) -> Iterator[Store]:
    """The workspaces of this test; all are removed afterwards."""
    store = VmManager().workspaces
    yield store
    for item in lifecycle.list_all(store).workspaces:
        lifecycle.delete(store, item.workspace_id)


def run(store: Store, workspace_id: str, command: str) -> str:
    result = commands.execute(store, workspace_id, command=command, timeout_seconds=60)
    assert result.exit_code == 0, result
    return result.stdout


def _project(root: Path) -> Path:
    """What npm and venv make, and names that no tool expects."""
    (root / "node_modules/.bin").mkdir(parents=True)
    (root / "node_modules/tool").mkdir()
    (root / "node_modules/tool/cli.js").write_text("#!/bin/sh\necho from the tool\n")
    (root / "node_modules/tool/cli.js").chmod(0o755)
    (root / "node_modules/.bin/tool").symlink_to("../tool/cli.js")
    (root / "node_modules/tool/same.js").hardlink_to(root / "node_modules/tool/cli.js")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / "venv"], check=True)
    (root / "venv/bin/absolute").symlink_to("/usr/bin/python3")
    os.mkfifo(root / "pipe")
    (root / os.fsdecode(b"line\nbreak-\xff")).write_text("odd")
    old = root / "old"
    old.write_text("old")
    old.chmod(0o600)
    os.utime(old, (1_000_000_000, 1_000_000_000))
    return root


def _shape(root: Path) -> dict[Path, object]:
    found: dict[Path, object] = {}
    for path in root.rglob("*"):
        key = path.relative_to(root)
        if path.is_symlink():
            found[key] = path.readlink()
        elif path.is_file():
            status = path.stat()
            found[key] = (status.st_mode, int(status.st_mtime), path.read_bytes())
        elif path.is_dir():
            found[key] = "directory"
    return found


def test_a_project_goes_in_works_and_comes_back(store: Store, tmp_path: Path) -> None:
    """The links of npm and of virtual environments, hard links, modes, times, any name."""
    source = _project(tmp_path / "project")

    made = lifecycle.create(store, environment="debian:12", mem_mib=256, seed_path=source)
    told = made.workspace_seed
    said = run(store, made.workspace_id, "node_modules/.bin/tool; stat -c '%U %a %Y' old; ls -A")
    exported = export.export(store, made.workspace_id, ".", output_path=tmp_path / "back")

    assert said.startswith("from the tool\nroot 600 1000000000\n")
    assert "lost+found" not in said
    assert (told.mode, told.seed_path) == ("directory", str(source))
    assert told.skipped == ["'pipe' is a pipe"]
    before, after = _shape(source), _shape(tmp_path / "back")
    assert after == before
    assert told.entry_count == exported.entry_count == len(before)
    assert (tmp_path / "back/node_modules/tool/same.js").samefile(
        tmp_path / "back/node_modules/tool/cli.js"
    )


def test_an_archive_is_a_seed_too_and_push_counts_as_change(store: Store, tmp_path: Path) -> None:
    archive = tmp_path / "seed.tar"
    archive.write_bytes(tar_of(folder("src"), member("src/a", b"one"), link("l", "src/a")))

    made = lifecycle.create(store, environment="debian:12", mem_mib=256, seed_path=archive)
    (tmp_path / "push").mkdir()
    (tmp_path / "push/a").write_text("two")
    sync.push(store, made.workspace_id, tmp_path / "push", dest="src")
    looked = lifecycle.look(store, made.workspace_id).workspace_seed

    assert run(store, made.workspace_id, "cat src/a l") == "twotwo"
    assert (looked.mode, looked.entry_count, looked.bytes_written) == ("tar_archive", 3, 3)


def test_a_workspace_whose_seed_is_gone_is_not_taken_for_an_empty_one(
    store: Store, tmp_path: Path
) -> None:
    source = tmp_path / "project"
    source.mkdir()
    (source / "file").write_text("kept")
    made = lifecycle.create(store, environment="debian:12", mem_mib=256, seed_path=source)
    lifecycle.stop(store, made.workspace_id)
    seed_image = store.place(made.workspace_id).seed
    away = seed_image.rename(tmp_path / "away")

    with pytest.raises(WorkspaceStateError, match=rf"{seed_image} is missing"):
        run(store, made.workspace_id, "ls")

    away.rename(seed_image)
    assert run(store, made.workspace_id, "cat file") == "kept"


@pytest.mark.parametrize("bad", ["missing", "hostile.tar", "text.txt"])
def test_a_bad_seed_leaves_nothing(bad: str, store: Store, tmp_path: Path) -> None:
    (tmp_path / "hostile.tar").write_bytes(tar_of(member("../up")))
    (tmp_path / "text.txt").write_text("text")

    with pytest.raises(InvalidInputError, match="seed_path"):
        lifecycle.create(store, environment="debian:12", seed_path=tmp_path / bad)

    folder_of_all = store.settings.state_dir / "workspaces"
    assert not folder_of_all.exists() or not list(folder_of_all.iterdir())


def test_an_image_of_odd_content_is_sound_and_holds_no_more(images: Images, tmp_path: Path) -> None:
    tree = images.jail_root.with_name("tree")
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3000):
        (source / f"{'n' * 200}{number}").write_bytes(b"x" * (number % 5))
    (source / "empty").mkdir()

    with seed.opened(source, exclude=["empty"]) as opened:
        info = seed.build(tree, opened, tmp_path / "seed.ext4")

    checked = subprocess.run(
        loader_command(tree, "usr/sbin/e2fsck", "-f", "-n", str(tmp_path / "seed.ext4")),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    assert info.entry_count == 3000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed.ext4", "source"]


def test_a_source_that_breaks_while_it_is_read_leaves_no_image(
    images: Images, tmp_path: Path
) -> None:
    tree = images.jail_root.with_name("tree")
    source = tmp_path / "source"
    source.mkdir()
    (source / "big").write_bytes(bytes(40 << 20))

    def cut(_phase: str, fraction: float | None) -> None:
        if fraction and fraction < 1:
            os.truncate(source / "big", 0)

    with seed.opened(source) as opened, pytest.raises(InvalidInputError, match="became shorter"):
        seed.build(tree, opened, tmp_path / "seed.ext4", progress=cut)

    assert [path.name for path in tmp_path.iterdir()] == ["source"]
