"""What differs from the baseline, in real guests; one workspace for all, a directory for each."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.errors import InvalidInputError, UnknownSnapshotError, UnknownWorkspaceError
from pyro_mcp.results.changes import DiffEntry
from pyro_mcp.sdk.manager import VmManager
from pyro_mcp.workspaces import commands, diff, lifecycle
from pyro_mcp.workspaces.store import Store
from tests.support.needs import needs
from tests.workspaces.host_tree import write

LINES = b"".join(b"line %d\n" % at for at in range(1, 31))


class Seeded:
    """A workspace, and the tree it began with."""

    def __init__(self, store: Store, workspace_id: str, seed: Path) -> None:
        self.store = store
        self.id = workspace_id
        self.seed = seed

    def run(self, command: str) -> None:
        """Run a command that succeeds."""
        result = commands.execute(self.store, self.id, command=command, timeout_seconds=60)
        assert result.exit_code == 0, result.stderr

    def changes(self, folder: str) -> dict[str, DiffEntry]:
        """What differs below a directory, by the rest of its path."""
        entries = diff.diff(self.store, self.id).entries
        start = f"{folder}/"
        return {one.path[len(start) :]: one for one in entries if one.path.startswith(start)}


@pytest.fixture(scope="module")
def seeded(
    tmp_path_factory: pytest.TempPathFactory, _shared_state_dir: Path, images: object
) -> Iterator[Seeded]:
    seed = tmp_path_factory.mktemp("seed")
    for folder in ("kinds", "same", "links", "limits", "text", "moved/below"):
        write(seed, f"{folder}/kept", LINES)
    write(seed, "kinds/edited", LINES)
    write(seed, "kinds/gone", b"gone\n")
    write(seed, "kinds/program", b"#!/bin/sh\n", 0o755)
    write(seed, "kinds/becomes-link", b"content\n")
    (seed / "kinds/empty").mkdir()
    (seed / "kinds/filled").mkdir()
    write(seed, "links/relative", b"../kinds/edited", symlink=True)
    write(seed, "links/loop", b"loop", symlink=True)
    write(seed, "text/binary", b"\0\1\2")
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
    yield Seeded(store, made.workspace_id, seed)
    lifecycle.delete(store, made.workspace_id)


def test_every_kind_of_change_is_told(seeded: Seeded) -> None:
    seeded.run(
        "cd kinds; sed -i 's/line 15/line fifteen/' edited; rm gone; chmod 644 program;"
        "rm becomes-link; ln -s edited becomes-link; rmdir empty; touch filled/first;"
        "mkdir -p new/deep; echo new > new/file; mkfifo pipe; : > void"
    )

    changes = seeded.changes("kinds")

    assert {path: one.status for path, one in changes.items()} == {
        "becomes-link": "type_changed",
        "edited": "modified",
        "empty": "deleted",
        "filled/first": "added",
        "gone": "deleted",
        "new/deep": "added",
        "new/file": "added",
        "program": "modified",
        "void": "added",
    }
    assert (changes["edited"].lines_added, changes["edited"].lines_removed) == (1, 1)
    assert (changes["program"].old_mode, changes["program"].new_mode) == ("0755", "0644")
    assert changes["becomes-link"].artifact_type == "symlink"
    assert changes["new/deep"].artifact_type == "directory"
    assert "kinds/pipe" in diff.diff(seeded.store, seeded.id).skipped


def test_what_is_as_it_was_is_no_change(seeded: Seeded) -> None:
    """Touched, rewritten with the same, renamed and back: only content and modes count."""
    seeded.run("cd same; touch kept; cp kept x; mv x kept; mv kept y; mv y kept; chmod 644 kept")

    assert seeded.changes("same") == {}


def test_a_renamed_directory_is_removed_and_added(seeded: Seeded) -> None:
    """The overlay keeps one note of it, and no file of it."""
    seeded.run("mv moved/below moved/after")

    assert {path: one.status for path, one in seeded.changes("moved").items()} == {
        "after/kept": "added",
        "below/kept": "deleted",
    }


def test_links_with_dots_and_loops_are_compared_and_never_followed(seeded: Seeded) -> None:
    seeded.run("cd links; ln -sfn ../../../etc/passwd relative; ln -s ../pkg/x added")

    changes = seeded.changes("links")

    assert {path: one.status for path, one in changes.items()} == {
        "relative": "modified",
        "added": "added",
    }
    assert "+../../../etc/passwd\n\\ No newline" in str(changes["relative"].text_patch)


def test_only_text_has_a_patch_and_all_else_is_listed(seeded: Seeded) -> None:
    seeded.run("cd text; printf '\\0new' > binary; printf '\\377' > latin; printf é > utf8")

    changes = seeded.changes("text")

    assert changes["binary"].text_patch is changes["latin"].text_patch is None
    assert "+é\n\\ No newline" in str(changes["utf8"].text_patch)


def test_text_beyond_the_limit_is_left_out_and_said_to_be(seeded: Seeded) -> None:
    seeded.run("cd limits; seq 10000 > long; echo short > short")

    result = diff.diff(seeded.store, seeded.id, limit_bytes=20_000)

    entries = {one.path: one for one in result.entries}
    assert result.truncated
    assert entries["limits/long"].truncated
    assert entries["limits/long"].text_patch is None
    assert not entries["limits/short"].truncated
    assert "+short" in result.patch
    assert len(result.patch) <= 20_000


def test_names_alone_carry_no_text(seeded: Seeded) -> None:
    seeded.run("echo x > limits/name")

    result = diff.diff(seeded.store, seeded.id, names_only=True)

    assert "limits/name" in {one.path for one in result.entries}
    assert (result.patch, result.summary.text_patched) == ("", 0)
    assert result.summary.non_text == result.summary.total


def test_git_makes_the_new_tree_of_the_seed_with_the_patch(seeded: Seeded, tmp_path: Path) -> None:
    """The patch of a real workspace, odd names and bytes included, is one that git takes."""
    seeded.run(
        "mkdir odd; cd odd; echo 1 > 'with space'; echo 2 > 'quo\"te';"
        "printf 3 > \"$(printf 'a\\nb')\";"
        "echo 4 > \"$(printf 'byte\\377')\"; echo 5 > né; printf 'a\\r\\nb\\r\\n' > crlf"
    )
    text = diff.diff(seeded.store, seeded.id).patch

    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(seeded.seed), str(copy)], check=True)
    subprocess.run(
        [needs("git"), "apply", "--whitespace=nowarn"], cwd=copy, input=text.encode(), check=True
    )

    assert (copy / "odd/crlf").read_bytes() == b"a\r\nb\r\n"
    assert (copy / "odd/a\nb").read_bytes() == b"3"
    assert Path(bytes(copy).decode() + "/odd/byte\udcff").read_bytes() == b"4\n"
    assert (copy / "odd/with space").read_bytes() == b"1\n"


def test_what_cannot_be_asked_is_refused(seeded: Seeded) -> None:
    with pytest.raises(UnknownWorkspaceError):
        diff.diff(seeded.store, "000000000000")
    with pytest.raises(InvalidInputError):
        diff.diff(seeded.store, seeded.id, limit_bytes=-1)
    with pytest.raises(UnknownSnapshotError, match="'first'"):
        diff.diff(seeded.store, seeded.id, against="first")
