"""`pyro workspace file`, `sync`, `export`, `diff` and `patch`."""

import json
import subprocess
from pathlib import Path

import pytest

from pyro_mcp import Pyro
from tests.surfaces.cli.support import run_pyro
from tests.surfaces.shapes import check


def _pyro(*words: str) -> str:
    finished = run_pyro("workspace", *words)
    assert finished.returncode == 0, finished.stderr.decode()
    return finished.stdout.decode()


def test_a_file_is_written_listed_read_and_moved(kept: Pyro, workspace_id: str) -> None:
    assert _pyro("file", "write", workspace_id, "src/a.txt", "--text", "one\ntwo") == (
        f"[workspace-file-write] workspace_id={workspace_id} path=/workspace/src/a.txt "
        "bytes_written=7 execution_mode=guest_vsock\n"
    )
    kept.exec_workspace(workspace_id, command="ln -s a.txt src/link; printf 'x\\ny' > \"src/n\nl\"")

    assert _pyro("file", "list", workspace_id, "--recursive").splitlines() == [
        "Workspace path: /workspace (recursive=yes)",
        "/workspace/src [directory] size=0",
        "/workspace/src/a.txt [file] size=7",
        "/workspace/src/link [symlink] size=0 -> a.txt",
        "/workspace/src/n\\nl [file] size=3",
    ]
    shown = run_pyro("workspace", "file", "read", workspace_id, "src/a.txt")
    assert shown.stdout == b"one\ntwo\n"
    assert shown.stderr.decode() == (
        f"[workspace-file-read] workspace_id={workspace_id} path=/workspace/src/a.txt "
        "size_bytes=7 truncated=False execution_mode=guest_vsock\n"
    )
    only = run_pyro(
        "workspace", "file", "read", workspace_id, "src/a.txt", "--content-only",
        "--max-bytes", "2", "--offset", "4",
    )  # fmt: skip
    assert (only.stdout, only.stderr) == (b"tw", b"")

    _pyro("file", "move", workspace_id, "src/a.txt", "b/c.txt")
    _pyro("file", "mkdir", workspace_id, "new")
    assert "mode: 644" in _pyro("file", "stat", workspace_id, "b/c.txt")
    found = _pyro("file", "search", workspace_id, "t.o", "--glob", "*.txt")
    assert found == "/workspace/b/c.txt:2:1:two\n"
    _pyro("file", "delete", workspace_id, "src", "--recursive")
    names = [one["path"] for one in kept.list_workspace_files(workspace_id)["entries"]]
    assert names == ["/workspace/b", "/workspace/new"]


def test_text_from_a_file_is_kept_as_it_is(kept: Pyro, workspace_id: str, tmp_path: Path) -> None:
    source = tmp_path / "text"
    source.write_bytes("a\r\nü\n".encode())

    _pyro("file", "write", workspace_id, "text", "--text-file", str(source))

    assert kept.read_workspace_file_bytes(workspace_id, "text") == source.read_bytes()


def test_text_and_patches_come_from_standard_input(kept: Pyro, workspace_id: str) -> None:
    """What another program writes needs no file in between."""
    patch = b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-one\n+two\n"

    wrote = run_pyro(
        "workspace", "file", "write", workspace_id, "f", "--text-file", "-", stdin=b"one\n"
    )
    patched = run_pyro(
        "workspace", "patch", "apply", workspace_id, "--patch-file", "-", stdin=patch
    )

    assert (wrote.returncode, patched.returncode) == (0, 0)
    assert kept.read_workspace_file(workspace_id, "f")["content"] == "two\n"


def test_a_patch_of_a_source_in_an_older_encoding_applies(
    kept: Pyro, workspace_id: str, tmp_path: Path
) -> None:
    kept.write_workspace_file_bytes(workspace_id, "f", content=b"stra\xdfe\n")
    patch = tmp_path / "patch"
    patch.write_bytes(b"--- a/f\n+++ b/f\n@@ -1 +1,2 @@\n stra\xdfe\n+caf\xe9\n")

    _pyro("patch", "apply", workspace_id, "--patch-file", str(patch))

    assert kept.read_workspace_file_bytes(workspace_id, "f") == b"stra\xdfe\ncaf\xe9\n"


def test_a_diff_names_what_its_patch_cannot_hold(kept: Pyro, workspace_id: str) -> None:
    kept.exec_workspace(workspace_id, command="printf '\\0' > binary; mkdir empty; echo x > text")

    shown = run_pyro("workspace", "diff", workspace_id)

    assert shown.stderr.decode().splitlines() == [
        "[workspace-diff] not in the patch: added binary 1 bytes",
        "[workspace-diff] not in the patch: added empty 0 bytes",
    ]
    assert b"b/text" in shown.stdout
    assert run_pyro("workspace", "diff", workspace_id, "--stat").stderr == b""


def test_what_limits_leave_out_is_said(kept: Pyro, workspace_id: str, tmp_path: Path) -> None:
    kept.exec_workspace(workspace_id, command="seq 100 > numbers; mkfifo pipe")

    listed = run_pyro("workspace", "file", "list", workspace_id)
    short = run_pyro("workspace", "diff", workspace_id, "--limit-bytes", "50")
    refused = run_pyro(
        *("workspace", "export", workspace_id, "numbers", "--output", str(tmp_path / "out")),
        *("--limit-bytes", "50"),
    )

    assert listed.stderr == b"[workspace-file-list] left out: 1 devices, sockets or pipes\n"
    assert b"[warning] some text was left out" in short.stderr
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"'numbers' takes it beyond the limit of 50 bytes" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_for_programs_each_answer_is_the_sdks(
    kept: Pyro, workspace_id: str, tmp_path: Path
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/new").write_text("new\n")
    patch = "--- a/file\n+++ b/file\n@@ -1 +1 @@\n-one\n+two\n"
    for shape, words in {
        "file_write": ("file", "write", workspace_id, "file", "--text", "one\n"),
        "file_read": ("file", "read", workspace_id, "file"),
        "file_list": ("file", "list", workspace_id),
        "patch_result": ("patch", "apply", workspace_id, "--patch", patch),
        "workspace_sync_result": ("sync", "push", workspace_id, str(tmp_path / "tree")),
        "workspace_diff": ("diff", workspace_id),
        "workspace_export_result": (
            "export", workspace_id, "new", "--output", str(tmp_path / "out")
        ),
    }.items():  # fmt: skip
        finished = run_pyro("workspace", *words, "--json")
        assert finished.returncode == 0, finished.stderr
        assert finished.stderr == b""
        check(json.loads(finished.stdout), shape)
    assert (tmp_path / "out").read_text() == "new\n"
    assert kept.read_workspace_file(workspace_id, "file")["content"] == "two\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small tree with a program, a link and what stays behind."""
    tree = tmp_path / "project"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/tool").write_text("#!/bin/sh\necho tool\n")
    (tree / "bin/tool").chmod(0o755)
    (tree / "link").symlink_to("bin/tool")
    (tree / "a.txt").write_text("one\ntwo\nthree\n")
    (tree / "build.log").write_text("noise\n")
    (tree / ".gitignore").write_text("*.log\n")
    return tree


def test_a_seed_is_what_diff_compares_with(kept: Pyro, project: Path, tmp_path: Path) -> None:
    created = json.loads(
        _pyro("create", "debian:12", "--json", "--seed-path", str(project), "--seed-gitignore")
    )
    workspace_id = created["workspace_id"]
    assert created["workspace_seed"]["mode"] == "directory"
    assert created["workspace_seed"]["seed_path"] == str(project)
    assert _pyro("diff", workspace_id) == "No workspace changes.\n"

    kept.exec_workspace(
        workspace_id,
        command="test ! -e build.log && ./link > out && sed -i s/two/2/ a.txt && rm .gitignore",
    )
    assert _pyro("diff", workspace_id, "--name-only").splitlines() == [
        ".gitignore", "a.txt", "out"
    ]  # fmt: skip
    stat = _pyro("diff", workspace_id, "--stat").splitlines()
    assert stat[0].startswith(
        f"[workspace-diff] workspace_id={workspace_id} total=3 added=1 modified=1 deleted=1 "
    )
    assert stat[1:] == ["deleted .gitignore +0 -1", "modified a.txt +1 -1", "added out +1 -0"]

    patch = tmp_path / "patch"
    patch.write_text(_pyro("diff", workspace_id))
    subprocess.run(["git", "apply", str(patch)], cwd=project, check=True)
    assert (project / "a.txt").read_text() == "one\n2\nthree\n"
    assert (project / "out").read_text() == "tool\n"

    kept.reset_workspace(workspace_id)
    applied = _pyro("patch", "apply", workspace_id, "--patch-file", str(patch))
    assert applied == (
        f"[workspace-patch] workspace_id={workspace_id} total=3 added=1 modified=1 deleted=1 "
        "execution_mode=guest_vsock\n"
    )
    assert kept.exec_workspace(workspace_id, command="cat a.txt")["stdout"] == "one\n2\nthree\n"


def test_what_is_pushed_is_exported_the_same(
    kept: Pyro, workspace_id: str, project: Path, tmp_path: Path
) -> None:
    pushed = _pyro("sync", "push", workspace_id, str(project), "--dest", "in", "--exclude", "*.log")
    assert pushed.startswith(
        f"[workspace-sync] workspace_id={workspace_id} mode=directory source={project} "
        "destination=/workspace/in entry_count="
    )

    exported = _pyro("export", workspace_id, "in", "--output", str(tmp_path / "deep/out"))

    out = tmp_path / "deep/out"
    assert exported.startswith(
        f"[workspace-export] workspace_id={workspace_id} workspace_path=/workspace/in "
        f"output_path={out} artifact_type=directory entry_count="
    )
    (project / "build.log").unlink()
    assert (
        subprocess.run(["diff", "-r", "--no-dereference", project, out], check=False).returncode
        == 0
    )
    assert (out / "bin/tool").stat().st_mode & 0o777 == 0o755
    again = run_pyro("workspace", "export", workspace_id, "in", "--output", str(out))
    assert again.returncode == 1
    assert b"overwrites nothing" in again.stderr


def test_the_disk_of_a_stopped_one_is_read_without_starting_it(
    kept: Pyro, workspace_id: str
) -> None:
    kept.exec_workspace(workspace_id, command="echo in > file; echo out > /opt/tool")
    running = run_pyro("workspace", "disk", "list", workspace_id)
    assert (running.returncode, running.stdout) == (1, b"")
    kept.stop_workspace(workspace_id)

    assert _pyro("disk", "list", workspace_id).splitlines() == [
        "Workspace path: /workspace (recursive=no)",
        "/workspace/file [file] size=3",
    ]
    shown = run_pyro("workspace", "disk", "read", workspace_id, "/opt/tool")
    assert shown.stdout == b"out\n"
    assert shown.stderr.startswith(b"[workspace-disk-read] workspace_id=")
    for shape, words in {
        "disk_list": ("list", workspace_id), "disk_read": ("read", workspace_id, "file"),
    }.items():  # fmt: skip
        check(json.loads(_pyro("disk", *words, "--json")), shape)
    assert kept.status_workspace(workspace_id)["state"] == "stopped"


@pytest.mark.parametrize(
    "words",
    [
        ("file", "read", "ID", "absent"),
        ("file", "read", "ID", "/etc/passwd"),
        ("file", "read", "ID", "../etc/passwd"),
        ("file", "read", "ID", "x", "--max-bytes", "0"),
        ("file", "list", "ID", "absent"),
        ("file", "write", "ID", "x", "--text-file", "/nowhere"),
        ("file", "search", "ID", "("),
        ("sync", "push", "ID", "/nowhere"),
        ("export", "ID", "absent", "--output", "/tmp/never-made"),
        ("patch", "apply", "ID", "--patch", "nonsense"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_refused_in_one_line(
    workspace_id: str, words: tuple[str, ...]
) -> None:
    finished = run_pyro("workspace", *(workspace_id if w == "ID" else w for w in words))

    assert finished.returncode == 1
    assert finished.stdout == b""
    assert finished.stderr.startswith(b"[error] ")
    assert len(finished.stderr.splitlines()) == 1
