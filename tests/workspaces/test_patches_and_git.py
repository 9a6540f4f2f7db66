"""Patches made here are git's, and git's patches are understood here: one against the other."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyro_mcp.workspaces.git_patch import SYMLINK, Version
from tests.support.needs import needs
from tests.workspaces.host_tree import Files, HostTree, content, fill, patch_between

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE, PROGRAM = 0o100644, 0o100755
_QUIET: Mapping[str, str] = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CEILING_DIRECTORIES": "/",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
}

_lines = st.sampled_from(
    ["a", "b", "", " ", "}", "-- a", "++ b", "--- a/x", "+++ b/x", "@@ -1 +1 @@", "\t", "c\r",
     "diff --git a/x b/x", "\\ No newline at end of file", "é", "\x0c", "x\u2028y", "\r"]
)  # fmt: skip
_texts = st.builds(
    lambda lines, end: "\n".join(lines) + end,
    st.lists(_lines, max_size=40),
    st.sampled_from(["", "\n"]),
).map(str.encode)
_edited = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), st.lists(_lines, max_size=3)))
_modes = st.sampled_from([FILE, PROGRAM])
_names = st.sampled_from(
    ["plain.txt", "dir/deep/file", "with space", 'quote"d', "back\\slash", "tab\there", "né",
     "new\nline", " b/x", "a b/c b/d", "-dash", "b/b/b", "trailing ", "\x7f", "c\r"]
)  # fmt: skip
_links = st.sampled_from([b"../pkg/x", b"target", b"/etc/passwd"])
_versions = st.one_of(
    st.builds(Version, _texts, _modes), st.builds(Version, _links, st.just(SYMLINK))
)


@st.composite
def _trees(draw: st.DrawFn) -> tuple[Files, Files]:
    """A tree, and what it became: files added, removed, edited, made programs or links."""
    old: Files = draw(st.dictionaries(_names, _versions, max_size=4))
    new: Files = {}
    for name, file in old.items():
        fate = draw(st.sampled_from(["keep", "edit", "remove", "mode", "other"]))
        if fate == "keep":
            new[name] = file
        elif fate == "edit" and file.mode != SYMLINK:
            lines = file.content.split(b"\n")
            for at, gone, come in draw(_edited):
                lines[at : at + gone] = [line.encode() for line in come]
            new[name] = Version(b"\n".join(lines), file.mode)
        elif fate == "mode" and file.mode != SYMLINK:
            new[name] = Version(file.content, draw(_modes))
        elif fate == "other":
            new[name] = draw(_versions)
    for name, file in draw(st.dictionaries(_names, _versions, max_size=2)).items():
        new.setdefault(name, file)
    return old, new


def _git(folder: Path, *words: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(
        [needs("git"), *words],
        cwd=folder,
        env=_QUIET,
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@settings(max_examples=40, deadline=None)
@given(_trees())
@example(({"a b/c b/d": Version(b"x", FILE)}, {"a b/c b/d": Version(b"y\n", PROGRAM)}))
@example(({"x": Version(b"", FILE)}, {"y": Version(b"", PROGRAM)}))
@example(({"x": Version(b"t", SYMLINK)}, {"x": Version(b"t", FILE)}))
def test_what_diff_writes_makes_the_new_tree_of_the_old_one(trees: tuple[Files, Files]) -> None:
    """With our own patch and with `git apply`, byte by byte and mode by mode."""
    old, new = trees
    text = patch_between(old, new)

    with tempfile.TemporaryDirectory() as scratch:
        ours, gits = Path(scratch, "ours"), Path(scratch, "gits")
        fill(ours, old)
        fill(gits, old)
        if text:
            HostTree(ours).patched(text)
            _git(gits, "apply", "--whitespace=nowarn", "-", stdin=text.encode())

        assert content(ours) == new
        assert content(gits) == new


def test_patch_makes_the_new_tree_too(tmp_path: Path) -> None:
    """What has no git has that program."""
    old = {
        "edited": Version(b"".join(b"line %d\n" % n for n in range(40)), FILE),
        "with space/gone": Version(b"gone\n", FILE),
        "no end": Version(b"one\ntwo", FILE),
        "run.sh": Version(b"#!/bin/sh\n", FILE),
        "emptied": Version(b"all of it\n", FILE),
        "link": Version(b"edited", SYMLINK),
    }
    new = {
        "edited": Version(b"first\n" + old["edited"].content.replace(b"line 30\n", b""), FILE),
        "no end": Version(b"one\nand two", FILE),
        "run.sh": Version(b"#!/bin/sh\n", PROGRAM),
        "emptied": Version(b"", FILE),
        "link": Version(b"no end", SYMLINK),
        "new/deep/tool": Version(b"#!/bin/sh\n", PROGRAM),
        "void": Version(b"", FILE),
    }
    fill(tmp_path / "tree", old)
    text = patch_between(old, new)

    done = subprocess.run(
        [needs("patch"), "-p1", "--batch", "--binary"],
        cwd=tmp_path / "tree", input=text.encode(), capture_output=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout.decode()
    assert content(tmp_path / "tree") == new


@settings(max_examples=25, deadline=None)
@given(
    _trees(),
    st.sampled_from(["--no-renames", "--find-copies-harder"]),
    st.sampled_from(["--src-prefix=a/", "--no-prefix", "-cdiff.mnemonicPrefix=true"]),
    st.integers(0, 4),
)
def test_what_git_diff_writes_applies(
    trees: tuple[Files, Files], finding: str, prefix: str, context: int
) -> None:
    """Renames, copies, modes, symlinks, quoted names; with and without prefixes and context."""
    old, new = trees
    with tempfile.TemporaryDirectory() as scratch:
        a, b = Path(scratch, "a"), Path(scratch, "b")
        fill(a, old)
        fill(b, new)
        text = _git_diff(Path(scratch), a, b, finding, prefix, f"-U{context}")

        if text:
            HostTree(a).patched(text)

        assert content(a) == new


def _git_diff(scratch: Path, a: Path, b: Path, finding: str, prefix: str, context: str) -> str:
    config, option = (["-c", prefix[2:]], []) if prefix.startswith("-c") else ([], [prefix])
    there = [f"--git-dir={scratch}/git", "-c", "core.bare=false", *config]
    _git(scratch, "init", "-q", "--bare", "git")
    _git(scratch, *there, f"--work-tree={a}", "add", "-A")
    tree = _git(scratch, *there, f"--work-tree={a}", "write-tree").decode().strip()
    _git(scratch, *there, f"--work-tree={b}", "add", "-A")
    words = "diff", "--cached", "--text", finding, *option, context, tree
    return _git(scratch, *there, f"--work-tree={b}", *words).decode()


@pytest.mark.parametrize("size", [20_000])
def test_large_files_are_compared_in_bounded_time_and_still_right(
    size: int, tmp_path: Path
) -> None:
    """Nothing in common, everything moved, every line the same: what makes difflib quadratic."""
    ups = b"".join(b"line %d\n" % at for at in range(size))
    downs = b"".join(b"line %d\n" % at for at in reversed(range(size)))
    odd = b"".join(b"%d\n" % (at * at % 97) for at in range(size))
    even = b"".join(b"%d\n" % (at * at * at % 89) for at in range(size))
    old = {"a": Version(ups, FILE), "b": Version(odd, FILE), "c": Version(b"\n" * size, FILE)}
    new = {"a": Version(downs, FILE), "b": Version(even, FILE), "c": Version(b"}\n" * size, FILE)}

    fill(tmp_path / "tree", old)
    HostTree(tmp_path / "tree").patched(patch_between(old, new))

    assert content(tmp_path / "tree") == new
