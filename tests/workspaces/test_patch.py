"""Patches in real guests: all of one, or nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.errors import (
    PatchConflictError,
    PatchError,
    UnknownWorkspaceError,
    WorkspaceFileError,
)
from pyro_mcp.machines import file_sets
from pyro_mcp.sdk.manager import VmManager
from pyro_mcp.workspaces import commands, diff, lifecycle, patch
from pyro_mcp.workspaces.store import Store
from tests.workspaces.host_tree import write


class Project:
    """A workspace with a seed."""

    def __init__(self, store: Store, workspace_id: str) -> None:
        self.store = store
        self.id = workspace_id

    def run(self, command: str) -> str:
        """Run a command that succeeds."""
        result = commands.execute(self.store, self.id, command=command, timeout_seconds=60)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    def apply(self, text: str) -> dict[str, str]:
        """Statuses by path."""
        result = patch.apply(self.store, self.id, patch=text)
        assert result.patch == text
        return {entry.path: entry.status for entry in result.entries}

    def whole(self) -> str:
        """All of /workspace, as text to compare."""
        return self.run(
            "find . -printf '%p %y %m %l\\n' | sort;"
            "find . -type f -print0 | sort -z | xargs -0 md5sum"
        )


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, _shared_state_dir: Path, images: object
) -> Iterator[Project]:
    seed = tmp_path_factory.mktemp("seed")
    write(seed, "src/main.py", b"".join(b"line %d\n" % at for at in range(1, 31)))
    write(seed, "run.sh", b"#!/bin/sh\necho one\n", 0o755)
    write(seed, "old name", b"content\n")
    write(seed, "gone", b"gone\n")
    write(seed, "block/deep/x", b"f\n")
    write(seed, "block/y", b"g\n")
    write(seed, "link", b"run.sh", symlink=True)
    write(seed, "out", b"/etc", symlink=True)
    store = VmManager().workspaces
    made = lifecycle.create(
        store,
        environment="debian:12",
        vcpu_count=1,
        mem_mib=256,
        ttl_seconds=600,
        network_policy="off",
        name=None,
        labels=None,
        seed_path=seed,
    )
    yield Project(store, made.workspace_id)
    lifecycle.delete(store, made.workspace_id)


ALL_KINDS = """\
diff --git a/gone b/gone
deleted file mode 100644
--- a/gone
+++ /dev/null
@@ -1 +0,0 @@
-gone
diff --git a/link b/link
index 1..2 120000
--- a/link
+++ b/link
@@ -1 +1 @@
-run.sh
\\ No newline at end of file
+src/main.py
\\ No newline at end of file
diff --git a/new/deep/tool b/new/deep/tool
new file mode 100755
--- /dev/null
+++ b/new/deep/tool
@@ -0,0 +1 @@
+echo tool
diff --git a/old name b/new name
similarity index 50%
rename from old name
rename to new name
--- a/old name\t
+++ b/new name\t
@@ -1 +1 @@
-content
+changed
diff --git a/run.sh b/run.sh
old mode 100755
new mode 100644
diff --git a/src/main.py b/src/main.py
--- a/src/main.py
+++ b/src/main.py
@@ -14,3 +14,3 @@
 line 14
-line 15
+line fifteen
 line 16
"""


def test_a_patch_of_every_kind_applies_and_its_reverse_is_the_diff(project: Project) -> None:
    """What was applied is what `diff` then tells, and that text applies to a second workspace."""
    assert project.apply(ALL_KINDS) == {
        "/workspace/gone": "deleted",
        "/workspace/link": "modified",
        "/workspace/new name": "added",
        "/workspace/new/deep/tool": "added",
        "/workspace/old name": "deleted",
        "/workspace/run.sh": "modified",
        "/workspace/src/main.py": "modified",
    }
    assert project.run("sh new/deep/tool; cat 'new name'; readlink link; stat -c %a run.sh") == (
        "tool\nchanged\nsrc/main.py\n644\n"
    )
    told = diff.diff(project.store, project.id).patch
    assert "rename" not in told  # shown as removed and added
    assert told.count("diff --git") == 7
    # Back to the baseline, by hand, and forward again by the diff.
    after = project.whole()
    project.run(
        "rm -r new 'new name'; echo gone > gone; ln -sfn run.sh link; chmod 755 run.sh;"
        "echo content > 'old name'; sed -i 's/fifteen/15/' src/main.py"
    )
    assert not diff.diff(project.store, project.id).changed
    project.apply(told)
    assert project.whole() == after


def test_a_file_makes_way_for_a_directory(project: Project) -> None:
    project.run("echo f > way; ln -s way lane")

    project.apply(
        "diff --git a/lane b/lane\ndeleted file mode 120000\n--- a/lane\n+++ /dev/null\n"
        "@@ -1 +0,0 @@\n-way\n\\ No newline at end of file\n"
        "--- /dev/null\n+++ b/lane/x\n@@ -0,0 +1 @@\n+x\n"
        "--- a/way\n+++ /dev/null\n@@ -1 +0,0 @@\n-f\n"
        "--- /dev/null\n+++ b/way/y\n@@ -0,0 +1 @@\n+y\n"
    )

    assert project.run("cat lane/x way/y") == "x\ny\n"


def test_a_directory_makes_way_for_a_file(project: Project) -> None:
    """Also one that came with the seed, and directories in it that are left empty."""
    project.run("cp -r block pile; echo stays > block/z")
    text = "".join(
        f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+file\n"
        f"--- a/{name}/deep/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-f\n"
        f"--- a/{name}/y\n+++ /dev/null\n@@ -1 +0,0 @@\n-g\n"
        for name in ("block", "pile")
    )

    with pytest.raises(PatchConflictError, match="leaves 'block/z' in it"):
        project.apply(text)
    project.run("rm block/z")
    statuses = project.apply(text)

    assert statuses["/workspace/block"] == "added"
    assert project.run("cat block pile") == "file\nfile\n"


def test_a_directory_that_got_a_file_meanwhile_stays(project: Project) -> None:
    project.run("mkdir filled; echo f > filled/x; echo g > filled/late")
    home = project.store.place(project.id).home
    there = file_sets.look(home, ["filled/x"])
    before = project.whole()

    with pytest.raises(WorkspaceFileError, match="filled/late is in the way of a file"):
        file_sets.commit(
            home,
            [
                file_sets.Step(
                    path="filled", before=None, kind="file", content=b"A", replaces_directory=True
                ),
                file_sets.Step(path="filled/x", before=there["filled/x"].mtime, kind=None),
            ],
        )

    assert project.whole() == before


def test_a_patch_that_fits_in_part_changes_nothing(project: Project) -> None:
    before = project.whole()

    with pytest.raises(
        PatchConflictError, match=r"'src/main.py' does not fit the patch: hunk 1 of 1"
    ):
        project.apply(
            "--- /dev/null\n+++ b/aaa\n@@ -0,0 +1 @@\n+a\n"
            "--- a/src/main.py\n+++ b/src/main.py\n@@ -1 +1 @@\n-not there\n+b\n"
        )

    assert project.whole() == before


def test_nothing_is_written_through_a_link_or_outside(project: Project) -> None:
    before = project.whole()
    hosts = project.run("ls -l /etc | md5sum")

    with pytest.raises(PatchConflictError, match="below 'out', a symlink"):
        project.apply("--- /dev/null\n+++ b/out/pyro\n@@ -0,0 +1 @@\n+a\n")
    with pytest.raises(PatchError, match="outside /workspace"):
        project.apply("--- /dev/null\n+++ /etc/pyro\n@@ -0,0 +1 @@\n+a\n")

    assert project.whole() == before
    assert project.run("ls -l /etc | md5sum") == hosts


def test_steps_are_undone_when_a_later_one_cannot_be_taken(project: Project) -> None:
    """Replaced, added in a new directory, removed; then one that changed since it was looked at."""
    project.run("mkdir undo; cd undo; echo a > a; echo b > b; echo c > c; ln -s a l")
    home = project.store.place(project.id).home
    there = file_sets.look(home, ["undo/a", "undo/b", "undo/c", "undo/l"])
    before = project.whole()
    project.run("echo C > undo/c")
    changed = project.whole()

    with pytest.raises(WorkspaceFileError, match="undo/c was changed in the meantime"):
        file_sets.commit(
            home,
            [
                file_sets.Step(
                    path="undo/a", before=there["undo/a"].mtime, kind="file", content=b"A"
                ),
                file_sets.Step(path="undo/b", before=there["undo/b"].mtime, kind=None),
                file_sets.Step(
                    path="undo/l", before=there["undo/l"].mtime, kind="symlink", content=b"x"
                ),
                file_sets.Step(path="undo/new/x", before=None, kind="file", content=b"x"),
                file_sets.Step(
                    path="undo/c", before=there["undo/c"].mtime, kind="file", content=b"x"
                ),
            ],
        )

    assert changed != before
    assert project.whole() == changed


def test_a_patch_of_many_files_takes_one_look_and_one_commit(project: Project) -> None:
    """More files than the agent may have open at once."""
    text = "".join(
        f"--- /dev/null\n+++ b/many/{at // 50}/{at}\n@@ -0,0 +1 @@\n+{at}\n" for at in range(1500)
    )

    assert len(project.apply(text)) == 1500
    assert (
        project.run("cat many/*/* | sort -n | md5sum; seq 0 1499 | md5sum").split()[::2][0]
        == (project.run("seq 0 1499 | md5sum").split()[0])
    )


def test_what_cannot_be_asked_is_refused(project: Project) -> None:
    with pytest.raises(PatchError, match="is empty"):
        project.apply(" \n")
    with pytest.raises(UnknownWorkspaceError):
        patch.apply(project.store, "000000000000", patch=ALL_KINDS)
