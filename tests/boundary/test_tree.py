"""A directory of the host as a stream: as it is, and never beyond it."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from pyro_mcp.boundary.source import checked, open_source
from pyro_mcp.boundary.tree import Tree
from pyro_mcp.errors import InvalidInputError
from tests.support.needs import needs
from tests.support.tars import listed


def _stream(tree: Tree) -> bytes:
    try:
        return b"".join(checked("seed_path", tree, lambda *_: None, "seed"))
    finally:
        tree.close()


def test_everything_ordinary_is_carried_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir(mode=0o750)
    (tmp_path / "bin/tool").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "bin/tool").chmod(0o4755)
    os.utime(tmp_path / "bin/tool", (1_600_000_000, 1_600_000_000))
    (tmp_path / "bin/again").hardlink_to(tmp_path / "bin/tool")
    (tmp_path / "abs").symlink_to("/usr/bin/python3")
    (tmp_path / "up").symlink_to("../../elsewhere")
    (tmp_path / ".git").mkdir()
    tree = Tree(tmp_path)

    found = listed(_stream(tree))

    assert list(found) == [".git", "abs", "bin", "bin/again", "bin/tool", "up"]
    again = found["bin/again"]
    assert (again.mode, again.mtime, again.uid, again.uname) == (0o4755, 1_600_000_000, 0, "root")
    assert (found["bin/tool"].islnk(), found["bin/tool"].linkname) == (True, "bin/again")
    assert (found["abs"].linkname, found["up"].linkname) == ("/usr/bin/python3", "../../elsewhere")
    assert (tree.entry_count, tree.bytes_written) == (6, 10)


def test_links_are_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    (inside / "loop").symlink_to(".")

    stream = _stream(Tree(inside))

    assert b"secret" not in stream
    assert list(listed(stream)) == ["link", "loop"]


def test_special_files_stay_behind_with_a_note(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "sock"))
        tree = Tree(tmp_path)

        assert listed(_stream(tree)) == {}

    assert tree.skipped == ["'pipe' is a pipe", "'sock' is a socket"]


def test_a_file_that_grows_is_carried_as_long_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before")
    tree = Tree(tmp_path)
    (tmp_path / "log").write_text("before and after")

    stream = _stream(tree)

    assert listed(stream)["log"].size == 6
    assert b"after" not in stream


def test_a_file_that_became_shorter_before_it_was_opened_is_carried_so(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("long content")
    tree = Tree(tmp_path)
    (tmp_path / "log").write_text("short")

    assert listed(_stream(tree))["log"].size == 5


def test_a_file_that_becomes_shorter_while_it_is_read_ends_it(tmp_path: Path) -> None:
    """What was read until then is no state the file ever had."""
    big = tmp_path / "big"
    big.write_bytes(bytes(5 << 20))
    tree = Tree(tmp_path)
    chunks = checked("seed_path", tree, lambda *_: None, "seed")
    next(chunks)
    os.truncate(big, 1 << 20)

    with pytest.raises(InvalidInputError, match="'big' became shorter while it was read"):
        list(chunks)

    tree.close()


def test_what_vanishes_or_becomes_something_else_is_noted(tmp_path: Path) -> None:
    for name in ("gone", "link", "stays"):
        (tmp_path / name).write_text("content")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("content")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("not meant")
    tree = Tree(tmp_path)
    (tmp_path / "gone").unlink()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("elsewhere/file")
    (tmp_path / "folder").rename(tmp_path / "moved")
    (tmp_path / "folder").symlink_to("elsewhere")

    found = listed(_stream(tree))

    assert "stays" in found
    assert not {"gone", "link", "folder/file"} & found.keys()
    assert len(tree.skipped) == 3


def test_the_first_name_of_a_file_may_vanish(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    tree = Tree(tmp_path)
    (tmp_path / "a").unlink()

    found = listed(_stream(tree))

    assert found["b"].isreg()
    assert found["b"].size == 7


def test_a_directory_deeper_than_names_can_be_is_refused(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)

    with pytest.raises(InvalidInputError, match="directories deep"):
        open_source("seed_path", tmp_path)


def test_excluded_directories_are_not_even_read(tmp_path: Path) -> None:
    for name in ("src/a.c", "src/a.o", "build/x", "src/build/y", "docs/build"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")

    found = listed(_stream(Tree(tmp_path, exclude=["*.o", "build/", "/docs"])))

    assert list(found) == ["src", "src/a.c"]


def test_a_pattern_that_is_none_is_refused(tmp_path: Path) -> None:
    for pattern in ("", "  ", "# comment", "two\nlines"):
        with pytest.raises(InvalidInputError, match="exclude pattern"):
            Tree(tmp_path, exclude=[pattern])


def test_git_ignore_is_honoured_as_git_does(tmp_path: Path) -> None:
    """Nested files, re-inclusion, anchors, directories; compared with git itself."""
    files = {
        ".gitignore": "*.log\n!keep.log\n/dist/\nnode_modules/\n*.tmp\n"
        "\\#odd\ntrail \n**/gen/*.c\n",
        "sub/.gitignore": "!special.tmp\nlocal.txt\n/anchored\n",
        "sub/deeper/.gitignore": "*\n!wanted\n!.gitignore\n",
        "sub/back/.gitignore": "!dist/\n!*/\n",
        "marked/.gitignore": "\ufeffmarked\na\x0cb\nwindows\r\n",
        ".git/info/exclude": "excluded-here\n",
    }
    names = (
        "a.log keep.log dist/x sub/dist/x node_modules/p/index.js sub/node_modules/q a.tmp "
        "sub/special.tmp sub/other.tmp sub/local.txt local.txt sub/anchored sub/x/anchored "
        "sub/deeper/wanted sub/deeper/unwanted sub/deeper/dir/wanted #odd trail gen/x.c "
        "sub/gen/y.c sub/gen/y.h excluded-here plain sub/back/dist/x "
        "sub/back/dist/a.log sub/back/gen/x.c marked/marked marked/windows marked/b"
    )
    subprocess.run([needs("git"), "init", "-q", str(tmp_path)], check=True)
    for name in names.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    listing = subprocess.run(
        ["git", "-C", str(tmp_path), "ls-files", "-z", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    ).stdout
    theirs = set(listing.decode().split("\0")) - {""}

    found = listed(_stream(Tree(tmp_path, gitignore=True)))

    ours = {n for n, info in found.items() if not info.isdir() and not n.startswith(".git/")}
    assert ours == theirs
    assert ".git/HEAD" in found, "the repository itself comes along"


def test_an_unreadable_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "file-as-source"
    source.write_text("x")

    with pytest.raises(InvalidInputError, match="file-as-source"):
        open_source("seed_path", source / "below")
