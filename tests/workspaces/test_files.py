"""Files of a workspace in a real guest: over the overlay, beside commands, across a stop."""

from __future__ import annotations

import contextlib
import io
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest

from pyro_mcp.errors import GuestLostError, InvalidInputError, WorkspaceFileError
from pyro_mcp.machines import files as transport
from pyro_mcp.machines.stillness import frozen
from pyro_mcp.sdk.manager import VmManager
from pyro_mcp.workspaces import files, lifecycle

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.config import Settings
    from tests.workspaces.conftest import SharedWorkspace


def test_a_file_is_written_read_and_listed(shared_workspace: SharedWorkspace) -> None:
    store, workspace_id = shared_workspace

    written = files.write_text(store, workspace_id, "plain/app.py", text="print('tromsø')\n")
    read = files.read_text(store, workspace_id, "/workspace//plain/./app.py", max_bytes=7)
    listed = files.list_files(store, workspace_id, path="plain")

    assert written.to_dict() == {
        "workspace_id": workspace_id,
        "path": "/workspace/plain/app.py",
        "size_bytes": 17,
        "bytes_written": 17,
        "execution_mode": "guest_vsock",
        "workspace_started": False,
    }
    assert (read.content, read.size_bytes, read.truncated) == ("print('", 17, True)
    assert [entry.to_dict() for entry in listed.entries] == [
        {
            "path": "/workspace/plain/app.py",
            "artifact_type": "file",
            "size_bytes": 17,
            "link_target": None,
        }
    ]
    assert shared_workspace.run("cat plain/app.py; stat -c %a plain/app.py").stdout == (
        "print('tromsø')\n644\n"
    )


def test_bytes_come_back_as_they_were_also_from_a_range(shared_workspace: SharedWorkspace) -> None:
    store, workspace_id = shared_workspace
    content = bytes(range(256)) * 8192  # 2 MiB: more than the text calls take

    files.write_bytes(store, workspace_id, "binary/data", content=content, mode=0o600)

    assert files.read_bytes(store, workspace_id, "binary/data") == content
    assert (
        files.read_bytes(store, workspace_id, "binary/data", offset=300, length=5)
        == (content[300:305])
    )
    files.write_bytes(store, workspace_id, "binary/data", content=bytearray(content))
    assert files.read_bytes(store, workspace_id, "binary/data") == content
    text = files.read_text(store, workspace_id, "binary/data", offset=len(content) - 2)
    assert (text.content, text.bytes_read, text.truncated) == ("\ufffd\ufffd", 2, False)


@pytest.mark.parametrize(
    "path", ["", " ", "/", "..", "a/../b", "/etc/passwd", "/workspaces", "a\0b"]
)
def test_a_path_that_is_no_workspace_path_is_invalid_input(
    shared_workspace: SharedWorkspace, path: str
) -> None:
    with pytest.raises(InvalidInputError):
        files.read_text(*shared_workspace, path)
    with pytest.raises(InvalidInputError):
        files.list_files(*shared_workspace, path=path)


@pytest.mark.parametrize("max_bytes", [0, 1048577, -1, True])
def test_how_much_is_read_has_bounds(shared_workspace: SharedWorkspace, max_bytes: int) -> None:
    with pytest.raises(InvalidInputError, match="max_bytes"):
        files.read_text(*shared_workspace, "seed/file", max_bytes=max_bytes)


def test_text_over_a_mebibyte_is_refused(shared_workspace: SharedWorkspace) -> None:
    with pytest.raises(InvalidInputError, match="1048578 bytes"):
        files.write_text(*shared_workspace, "large", text="é" * 524289)


def test_move_mkdir_stat_search_and_delete(shared_workspace: SharedWorkspace) -> None:
    store, workspace_id = shared_workspace
    files.write_text(store, workspace_id, "small/one.txt", text="first\nthe needle\n")

    made = files.make_directory(store, workspace_id, "small/a/b")
    files.move_file(store, workspace_id, "small/one.txt", "small/a/b/two.txt")
    status = files.stat_file(store, workspace_id, "small/a/b/two.txt")
    found = files.search(store, workspace_id, "ne+dle", path="small", globs="*.txt")
    gone = files.delete_file(store, workspace_id, "small", recursive=True)

    assert made.artifact_type == "directory"
    assert (status.size_bytes, status.mode) == (17, 0o644)
    assert [match.to_dict() for match in found.matches] == [
        {
            "path": "/workspace/small/a/b/two.txt",
            "line": 2,
            "column": 5,
            "text": "the needle",
            "text_truncated": False,
        }
    ]
    assert gone.deleted_count == 4
    with pytest.raises(WorkspaceFileError) as caught:
        files.stat_file(store, workspace_id, "small")
    assert caught.value.reason == "not_found"


def test_links_of_the_guest_do_not_lead_to_its_system(shared_workspace: SharedWorkspace) -> None:
    shared_workspace.run("mkdir -p links; ln -sfn /etc links/etc; ln -sf /data links/data")

    for path in ("links/etc/passwd", "links/data/work"):
        with pytest.raises(WorkspaceFileError):
            files.read_text(*shared_workspace, path)
    with pytest.raises(WorkspaceFileError):
        files.write_text(*shared_workspace, "links/etc/planted", text="x")

    assert "planted" not in shared_workspace.run("ls /etc").stdout


def test_a_pattern_that_never_ends_leaves_others_alone_and_dies_with_its_caller(
    shared_workspace: SharedWorkspace,
) -> None:
    files.write_text(*shared_workspace, "slow/text", text="a" * 60 + "b\n")
    ended: list[object] = []

    def hopeless() -> None:
        with pytest.raises(GuestLostError):
            transport.search(shared_workspace.home, "(a|aa)+$", path="slow", silent_seconds=2)
        ended.append(True)

    thread = threading.Thread(target=hopeless)
    thread.start()
    assert shared_workspace.run("echo alive").stdout == "alive\n"
    thread.join(20)

    assert ended == [True]


def test_an_archive_comes_in_whole_over_the_seed_and_goes_out_again(
    shared_workspace: SharedWorkspace,
) -> None:
    def packed(**contents: bytes) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, content in contents.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(content), 0o755
                tar.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    home = shared_workspace.home
    transport.import_tar(home, "seed", packed(kept=b"pushed\n", brought=b"new\n"))
    with pytest.raises(WorkspaceFileError) as caught:
        transport.import_tar(home, "seed", packed(another=b"x", gone=b"a directory is there"))
    data = bytearray()
    outcome = transport.export_tar(home, "seed/kept", data.extend)

    assert caught.value.reason == "conflict"
    assert shared_workspace.run("cat seed/kept seed/brought; ls -A . seed").stdout.split() == (
        ["pushed", "new", *shared_workspace.run("ls -A . seed").stdout.split()]
    )
    assert "another" not in shared_workspace.run("ls seed; ls -A").stdout
    assert "staging" not in shared_workspace.run("ls -A").stdout
    assert (outcome.entries, outcome.artifact_type) == (1, "file")
    with tarfile.open(fileobj=io.BytesIO(bytes(data))) as tar:
        assert [member.name for member in tar] == ["kept"]
    shared_workspace.run("rm seed/brought; printf 'kept\\n' > seed/kept; chmod 644 seed/kept")


def test_changes_are_those_against_the_seed_whatever_the_overlay_keeps(
    shared_workspace: SharedWorkspace,
) -> None:
    """Renamed directories, whiteouts, opaque directories and rewrites that change nothing."""
    shared_workspace.run(
        "cd seed; cp file file2; cat file2 > file; rm file2; mv moved renamed; rm -r gone;"
        "mkdir gone; echo new > gone/other; chmod 600 kept"
    )
    found = {
        change.path: change
        for change in transport.changes(shared_workspace.home, content_bytes=100)
        if change.path.startswith("seed/")
    }
    shared_workspace.run(
        "cd seed; mv renamed moved; rm -r gone; mkdir -p gone/deep;"
        "echo gone/deep/file > gone/deep/file; chmod 644 kept"
    )
    restored = [
        change.path
        for change in transport.changes(shared_workspace.home)
        if change.path.startswith("seed/")
    ]

    assert {path: change.status for path, change in found.items()} == {
        "seed/gone/deep": "deleted",
        "seed/gone/deep/file": "deleted",
        "seed/gone/other": "added",
        "seed/kept": "modified",
        "seed/moved": "deleted",
        "seed/moved/inner": "deleted",
        "seed/renamed": "added",
        "seed/renamed/inner": "added",
    }
    kept, inner = found["seed/kept"], found["seed/renamed/inner"]
    assert (kept.content, kept.base and kept.base.mode, kept.now and kept.now.mode) == (
        *(False, 0o644, 0o600),
    )
    assert inner.now is not None
    assert inner.now.data == b"moved/inner\n"
    assert restored == []
    base, _ = transport.read_file(shared_workspace.home, "seed/moved/inner", base=True)
    assert base == b"moved/inner\n"


def test_a_frozen_disk_does_not_change_and_goes_on_afterwards(
    shared_workspace: SharedWorkspace,
) -> None:
    with frozen(shared_workspace.home):
        pass

    assert shared_workspace.run("echo thawed > thawed; cat thawed; rm thawed").stdout == "thawed\n"


def test_a_disk_that_is_frozen_too_long_thaws_by_itself_and_the_caller_learns_of_it(
    shared_workspace: SharedWorkspace,
) -> None:
    with pytest.raises(GuestLostError, match="held still"):
        with frozen(shared_workspace.home, seconds=1):
            assert shared_workspace.run("sync; echo thawed > t; cat t; rm t").stdout == "thawed\n"


def test_a_stopped_workspace_is_started_for_a_file_and_says_so(
    settings: Settings, images: object
) -> None:
    store = VmManager(base_dir=settings.state_dir).workspaces
    workspace_id = lifecycle.create(store, environment="debian:12", mem_mib=256).workspace_id
    try:
        files.write_text(store, workspace_id, "stays/file", text="x")
        lifecycle.stop(store, workspace_id)

        read = files.read_text(store, workspace_id, "stays/file")
        again = files.read_text(store, workspace_id, "stays/file")

        assert (read.content, read.workspace_started, again.workspace_started) == ("x", True, False)
    finally:
        lifecycle.delete(store, workspace_id)


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.2, 0.4])
def test_a_machine_that_ends_during_a_push_has_all_of_it_afterwards_or_nothing(
    settings: Settings, images: object, tmp_path: Path, seconds: float
) -> None:
    """Whatever moment it is, and both where files are new and where they replace others."""
    seed = tmp_path / "tree"
    for number in range(0, 300, 2):
        (seed / f"d{number % 7}").mkdir(parents=True, exist_ok=True)
        (seed / f"d{number % 7}" / f"f{number}").write_text("old")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(300):
            info = tarfile.TarInfo(f"d{number % 7}/f{number}")
            info.size = 20_000
            tar.addfile(info, io.BytesIO(b"x" * 20_000))
    store = VmManager(base_dir=settings.state_dir).workspaces
    made = lifecycle.create(store, environment="debian:12", mem_mib=256, seed_path=seed)
    try:
        place = store.place(made.workspace_id)
        killer = threading.Timer(seconds, lambda: store.kill(place))
        killer.start()
        with contextlib.suppress(GuestLostError):
            transport.import_tar(place.home, "", buffer.getvalue())
        killer.join()
        lifecycle.start(store, made.workspace_id)

        listed = files.list_files(store, made.workspace_id, recursive=True)
        found = [entry for entry in listed.entries if entry.artifact_type == "file"]
        kinds = {(len(found), entry.size_bytes) for entry in found}

        assert kinds in ({(150, 3)}, {(300, 20_000)})
    finally:
        lifecycle.delete(store, made.workspace_id)
