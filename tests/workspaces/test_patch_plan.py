"""Which patches are understood and where they go, on a plain directory of this host."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import PatchConflictError, PatchError
from pyro_mcp.workspaces import line_matching, patch_text
from pyro_mcp.workspaces.git_patch import Version
from tests.support.needs import needs
from tests.workspaces.host_tree import HostTree, content, write

TEN = b"".join(b"line %d\n" % at for at in range(1, 11))
CHANGE_FIVE = """\
--- a/file
+++ b/file
@@ -3,5 +3,5 @@
 line 3
 line 4
-line 5
+line five
 line 6
 line 7
"""


@pytest.fixture
def tree(tmp_path: Path) -> HostTree:
    root = tmp_path / "tree"
    root.mkdir()
    write(root, "file", TEN)
    write(root, "run.sh", b"#!/bin/sh\n", 0o755)
    write(root, "dir/other", b"one\n")
    return HostTree(root)


def git_diff(folder: Path, *options: str) -> str:
    """What `git diff` says of `old` and `new` in a directory."""
    with_both = folder / "git"
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    git = [needs("git"), "-C", str(with_both), "-c", "user.name=a", "-c", "user.email=a@b"]
    shutil.copytree(folder / "old", with_both)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "old"]):
        run([*git, *command])
    for path in with_both.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(folder / "new", with_both, dirs_exist_ok=True)
    run([*git, "add", "-A"])
    return run([*git, "diff", "--cached", *options]).stdout


def text_of(tree: HostTree, path: str) -> bytes:
    return (tree.root / path).read_bytes()


def test_a_hunk_finds_its_lines_when_they_have_moved(tree: HostTree) -> None:
    write(tree.root, "file", b"// new\n" * 30 + TEN)

    tree.patched(CHANGE_FIVE)

    assert text_of(tree, "file") == b"// new\n" * 30 + TEN.replace(b"line 5", b"line five")


def test_later_hunks_follow_where_earlier_ones_went(tree: HostTree) -> None:
    """All lines alike: only the offset that the first hunk found tells the second its place."""
    write(tree.root, "file", b"top\n" + b"x\n" * 3 + b"a\n" + b"x\n" * 9 + b"end\n")

    tree.patched("--- file\n+++ file\n@@ -3,2 +3,2 @@\n x\n-a\n+b\n@@ -8 +8 @@\n-x\n+y\n")

    assert text_of(tree, "file") == b"top\n" + b"x\n" * 3 + b"b\n" + b"x\n" * 3 + b"y\n" + (
        b"x\n" * 5 + b"end\n"
    )


def test_what_does_not_fit_is_said_by_file_hunk_and_line(tree: HostTree) -> None:
    write(tree.root, "file", TEN.replace(b"line 6", b"LINE 6"))

    with pytest.raises(PatchConflictError) as refused:
        tree.patched(CHANGE_FIVE)

    assert "'file' does not fit the patch: hunk 1 of 1 (@@ -3,5 +3,5 @@): line 6 should be " in str(
        refused.value
    )
    assert "'line 6' and there is 'LINE 6'" in str(refused.value)
    assert isinstance(refused.value, RuntimeError)


def test_a_patch_that_was_applied_already_is_recognised(tree: HostTree) -> None:
    tree.patched(CHANGE_FIVE)

    with pytest.raises(PatchConflictError, match="its result is there already"):
        tree.patched(CHANGE_FIVE)


def test_one_file_that_does_not_fit_keeps_all_others_as_they_are(tree: HostTree) -> None:
    before = content(tree.root)

    with pytest.raises(PatchConflictError, match="'dir/other' does not fit"):
        tree.patched(f"{CHANGE_FIVE}--- a/dir/other\n+++ b/dir/other\n@@ -1 +1 @@\n-two\n+2\n")

    assert content(tree.root) == before


@pytest.mark.parametrize("mode", ["100644", "100755"])
def test_a_patch_moves_the_right_to_execute_and_no_other(tree: HostTree, mode: str) -> None:
    write(tree.root, "file", TEN, 0o640)

    tree.patched(f"diff --git a/file b/file\nold mode 100644\nnew mode {mode}\n")

    expected = {"100644": 0o640, "100755": 0o750}[mode]
    assert (tree.root / "file").stat().st_mode & 0o777 == expected


def test_a_changed_script_stays_a_program(tree: HostTree) -> None:
    tree.patched("--- a/run.sh\n+++ b/run.sh\n@@ -1 +1,2 @@\n #!/bin/sh\n+exit\n")

    assert (tree.root / "run.sh").stat().st_mode & 0o777 == 0o755


def test_two_files_exchange_their_names(tree: HostTree) -> None:
    write(tree.root, "a", b"a\n")
    write(tree.root, "b", b"b\n")

    tree.patched(
        "diff --git a/a b/b\nsimilarity index 100%\nrename from a\nrename to b\n"
        "diff --git a/b b/a\nsimilarity index 100%\nrename from b\nrename to a\n"
    )

    assert (text_of(tree, "a"), text_of(tree, "b")) == (b"b\n", b"a\n")


@pytest.mark.parametrize("renamed", [False, True])
def test_what_git_writes_where_a_file_and_a_directory_change_places(
    tmp_path: Path, renamed: bool
) -> None:
    """With and without renames recognised; git names the file before what is below it."""
    old = {"a": b"a\n" * 9, "dir/one": b"1\n" * 9, "dir/deep/two": b"2\n" * 9}
    new = {"a/one": b"1\n" * 9, "a/more/a": b"a\n" * 9, "dir": b"2\n" * 9}
    for side, files in (("old", old), ("new", new)):
        for path, file in files.items():
            write(tmp_path / side, path, file)
    text = git_diff(tmp_path, *(["-M"] if renamed else ["--no-renames"]))

    HostTree(tmp_path / "old").patched(text)

    assert content(tmp_path / "old") == content(tmp_path / "new")


def test_a_directory_stays_when_the_patch_leaves_something_in_it(tree: HostTree) -> None:
    write(tree.root, "dir/kept", b"kept\n")

    with pytest.raises(PatchConflictError, match="'dir' is a directory, and the patch leaves"):
        tree.patched(
            "--- /dev/null\n+++ b/dir\n@@ -0,0 +1 @@\n+a\n"
            "--- a/dir/other\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n"
        )


def test_two_that_would_need_one_place_are_refused(tree: HostTree) -> None:
    with pytest.raises(PatchConflictError, match="'x/y' lies below 'x', a file"):
        tree.patched(
            "--- /dev/null\n+++ b/x/y\n@@ -0,0 +1 @@\n+a\n"
            "--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+a\n"
        )


def test_lines_keep_their_carriage_returns(tree: HostTree) -> None:
    write(tree.root, "file", b"one\r\ntwo\r\n")

    tree.patched("--- a/file\n+++ b/file\n@@ -1,2 +1,2 @@\n one\r\n-two\r\n+zwei\r\n")

    assert text_of(tree, "file") == b"one\r\nzwei\r\n"


def test_names_below_workspace_are_taken_as_they_are(tree: HostTree) -> None:
    tree.patched("--- /workspace/dir/other\n+++ /workspace/dir/other\n@@ -1 +1 @@\n-one\n+two\n")

    assert text_of(tree, "dir/other") == b"two\n"


def test_what_diff_u_writes_of_two_directories_applies(tmp_path: Path) -> None:
    """`diff -urN`: names with the directories in front, additions told by the time alone."""
    old, new = tmp_path / "before", tmp_path / "after"
    for root in (old, new):
        write(root, "sub/kept", TEN)
    write(old, "gone", b"gone\n")
    write(new, "with space/come", b"come")
    write(new, "sub/kept", TEN.replace(b"9", b"nine"))
    done = subprocess.run(
        [needs("diff"), "-urN", "before", "after"], cwd=tmp_path, capture_output=True, check=False
    )
    tree = HostTree(old)

    tree.patched(done.stdout.decode())

    assert content(old) == content(new)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("dir.orig/new", "dir/new", "dir/new"),
        ("before/new", "after/new", "new"),
        ("before/deep/new", "after/deep/new", "deep/new"),
        ("a/deep/new", "b/deep/new", "deep/new"),
        ("new.orig", "new", "new"),
    ],
)
def test_a_patch_of_additions_alone_keeps_the_top_directory_that_is_there(
    tree: HostTree, old: str, new: str, place: str
) -> None:
    tree.patched(
        f"--- {old}\t1970-01-01 00:00:00.000000000 +0000\n"
        f"+++ {new}\t2026-01-01 00:00:00.000000000 +0000\n@@ -0,0 +1 @@\n+new\n"
    )

    assert text_of(tree, place) == b"new\n"


def test_an_addition_goes_where_the_other_files_of_its_directory_are(tmp_path: Path) -> None:
    """A project that has a directory of its own name, as Python's often do."""
    for root in (tmp_path / "app.orig", tmp_path / "app"):
        write(root, "app/main.py", TEN)
        write(root, "setup.py", TEN)
    write(tmp_path / "app", "new.py", b"new\n")
    write(tmp_path / "app", "setup.py", TEN.replace(b"9", b"nine"))
    done = subprocess.run(
        [needs("diff"), "-urN", "app.orig", "app"], cwd=tmp_path, capture_output=True, check=False
    )

    HostTree(tmp_path / "app.orig").patched(done.stdout.decode())

    assert content(tmp_path / "app.orig") == content(tmp_path / "app")


def test_what_git_format_patch_adds_around_a_patch_is_no_part_of_it(tree: HostTree) -> None:
    tree.patched(
        "From 0123 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nSubject: change\n\n---\n"
        f" file | 2 +-\n 1 file changed\n\ndiff --git a/file b/file\n{CHANGE_FIVE}"
        "-- \n2.39.5\n\n"
    )

    assert b"line five" in text_of(tree, "file")


@pytest.mark.parametrize(
    ("patch", "wrong"),
    [
        ("just words\n", "holds no change"),
        ("@@ -1 +1 @@\n-a\n+b\n", "without the names"),
        ("--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n+b\n", "malformed"),
        ("--- a/x\n+++ b/x\n@@ -1 +1 @@\n\\ No newline\n-a\n+b\n@@ -1 +1\n", "malformed in line 7"),
        ("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n+c\n", "more lines than its header says"),
        ("diff --cc x\n--- a/x\n+++ b/x\n@@@ -1 -1 +1 @@@\n--a\n++b\n", "malformed in line 4"),
        ("--- a/../x\n+++ b/../x\n@@ -1 +1 @@\n-a\n+b\n", "without '..'"),
        ("--- /dev/null\n+++ /etc/cron.d/x\n@@ -0,0 +1 @@\n+a\n", "outside /workspace"),
        ("--- /dev/null\n+++ b/\n@@ -0,0 +1 @@\n+a\n", "no file of"),
        ("diff --git a/x b/x\nindex 1..2\nGIT binary patch\nliteral 1\nIcmZ\n", "binary file 'x'"),
        ("diff --git a/x b/x\nindex 1..2\nBinary files a/x and b/x differ\n", "binary file"),
        ("Binary files a/x and b/x differ\n", "binary file"),
        ("diff --git a/x b/x\nindex 1..2 100644\n", "says nothing"),
        ("diff --git a/s b/s\nnew file mode 160000\nindex 0..1\n", "has the mode 160000"),
        ('diff --git "a/x\\q" "b/x\\q"\nnew file mode 100644\n', "quotes a name wrongly"),
        ("--- a/x\n+++ b/x\n@@ -" + "9" * 5000 + " +1 @@\n-a\n+b\n", "malformed"),
    ],
)
def test_what_cannot_be_applied_is_refused_before_anything_is_looked_at(
    patch: str, wrong: str
) -> None:
    with pytest.raises(PatchError, match=wrong) as refused:
        patch_text.parse(patch)

    assert isinstance(refused.value, ValueError)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("patch", "wrong"),
    [
        ("--- /dev/null\n+++ b/file\n@@ -0,0 +1 @@\n+a\n", "'file' exists"),
        ("--- a/none\n+++ b/none\n@@ -1 +1 @@\n-a\n+b\n", "'none' does not exist"),
        ("--- a/dir\n+++ b/dir\n@@ -1 +1 @@\n-a\n+b\n", "'dir' is a directory"),
        ("--- /dev/null\n+++ b/out/x\n@@ -0,0 +1 @@\n+a\n", "below 'out', a symlink"),
        ("--- /dev/null\n+++ b/file/x\n@@ -0,0 +1 @@\n+a\n", "below 'file', a file"),
        ("--- a/out\n+++ b/out\n@@ -1 +1 @@\n-/etc\n+/\n", "is a symlink, unlike"),
        ("--- a/dir/other\n+++ /dev/null\n@@ -1 +0,0 @@\n-two\n", "does not fit"),
        (
            "diff --git a/dir/other b/file\nrename from dir/other\nrename to file\n",
            "'file' exists, and the patch moves",
        ),
    ],
)
def test_a_tree_that_is_not_what_the_patch_is_for_stays_as_it_is(
    tree: HostTree, patch: str, wrong: str
) -> None:
    write(tree.root, "out", b"/etc", symlink=True)
    before = content(tree.root)

    with pytest.raises(PatchConflictError, match=wrong) as refused:
        tree.patched(patch)

    assert content(tree.root) == before
    assert refused.value.hint


_PIECES = [
    "diff --git a/x b/x", 'diff --git "a/\\303" b/..', "--- a/x", "+++ b/x", "--- /dev/null",
    "+++ b/..", "@@ -1 +1 @@", "@@ -0,0 +1,2 @@", "@@ -1,3 +1,2 @@", "@@@ -1", "-a", "+b", " c",
    "", "\\ No newline", "new file mode 100644", "deleted file mode 120000", "old mode 7",
    "rename from ../x", "rename to y", 'copy from "\\777"', "copy to ",
    "Binary files a and b differ", "GIT binary patch", "index 1..2", "+++ /etc/x", "\udcff",
    "\x00", "\r", '--- "a/x', '+++ "b/\\056\\056/x"',
]  # fmt: skip


@given(st.lists(st.sampled_from(_PIECES), max_size=14))
def test_whatever_a_patch_is_made_of_it_is_refused_or_stays_inside(pieces: list[str]) -> None:
    try:
        changes = patch_text.parse("\n".join(pieces))
    except PatchError:
        return

    for change in changes:
        for name in (*change.names, change.shown):
            assert name
            assert not {"", ".", ".."} & set(name.split("/"))
            assert "\0" not in name


def test_a_file_is_deleted_only_when_the_patch_knows_all_of_it(tree: HostTree) -> None:
    write(tree.root, "dir/other", b"one\nand more\n")

    with pytest.raises(PatchConflictError, match="more content than the patch deletes"):
        tree.patched("--- a/dir/other\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n")


def test_line_matching_without_any_work_allowed_is_still_right() -> None:
    old, new = [b"a", b"b", b"c", b"d"], [b"a", b"c", b"b", b"d"]

    assert line_matching.changes(old, new, line_matching.Allowance(0)) == [(1, 3, 1, 3)]
    assert len(line_matching.changes(old, new)) == 2


def test_content_that_is_no_text_has_no_patch() -> None:
    from pyro_mcp.workspaces import git_patch

    assert git_patch.between("x", Version(b"\0", 0o100644), None) is None
    assert git_patch.between("x", None, Version(b"\xff", 0o100644)) is None
