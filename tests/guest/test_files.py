"""Files of the workspace, asked for as the host does, on a tree that is out to deceive."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import GuestLostError, WorkspaceFileError
from pyro_mcp.guest import fileswitch, tarblocks
from pyro_mcp.guest.fileswitch import Staging
from pyro_mcp.guest.filetree import STAGING
from pyro_mcp.guest.requests import RefusedError
from pyro_mcp.machines import file_answers, files
from tests.guest.file_host import FileHost
from tests.support import until
from tests.support.opened import opened

if TYPE_CHECKING:
    from pyro_mcp.guest.filelink import Link

HOSTILE_NAMES = [
    "plain",
    "with space ",
    " -rf",
    "line\nbreak",
    "tab\tquote\"'\\",
    "tromsø-日本",
    "bad-\udcff\udc80-bytes",
    ".hidden",
    "x" * 255,
]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FileHost]:
    """A workspace without a seed."""
    host = FileHost(tmp_path)
    yield host
    host.close()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that nothing may reach."""
    folder = tmp_path / "system" / "outside"
    folder.mkdir(parents=True)
    (folder / "secret").write_text("secret")
    return folder


def reason(caught: pytest.ExceptionInfo[WorkspaceFileError]) -> str:
    return caught.value.reason


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.mtime = 1_700_000_000
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def unpacked(data: bytes) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {}
        for info in tar:
            file = tar.extractfile(info) if info.isreg() else None
            found[info.name] = (info, file.read() if file else b"")
        return found


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_any_name_a_file_can_have_survives_every_way(host: FileHost, name: str) -> None:
    content = b"content of it\n"

    files.write_file(host.home, f"in/{name}", content)

    assert files.read_file(host.home, f"/workspace/in/{name}")[0] == content
    assert [entry.path for entry in files.list_files(host.home, "in").entries] == [f"in/{name}"]
    assert files.stat_file(host.home, f"in/{name}").size_bytes == len(content)
    assert [match.path for match in files.search(host.home, "of it").matches] == [f"in/{name}"]
    assert f"in/{name}" in [change.path for change in files.changes(host.home)]
    packed = bytearray()
    files.export_tar(host.home, "in", packed.extend)
    assert unpacked(bytes(packed))[name][1] == content
    files.import_tar(host.home, "back", bytes(packed))
    assert files.read_file(host.home, f"back/{name}")[0] == content
    files.move_file(host.home, f"back/{name}", f"moved/{name}")
    assert files.delete_file(host.home, f"moved/{name}") == 1


@pytest.mark.parametrize("path", ["../outside/secret", "/etc/passwd", "a/../../x", "/workspace/.."])
def test_a_path_out_of_the_workspace_is_refused(host: FileHost, outside: Path, path: str) -> None:
    with pytest.raises(WorkspaceFileError) as caught:
        files.read_file(host.home, path)

    assert reason(caught) == "outside"


@pytest.mark.parametrize("target", ["../outside", "/outside", "../../../../../outside"])
def test_links_out_of_the_workspace_are_never_followed(
    host: FileHost, outside: Path, target: str
) -> None:
    (host.workspace / "link").symlink_to(target)
    (host.workspace / "mine").write_text("mine")
    attempts: list[Callable[[], object]] = [
        lambda: files.read_file(host.home, "link/secret"),
        lambda: files.list_files(host.home, "link/deeper"),
        lambda: files.write_file(host.home, "link/new", b"x"),
        lambda: files.write_file(host.home, "link", b"x"),
        lambda: files.delete_file(host.home, "link/secret"),
        lambda: files.move_file(host.home, "mine", "link/mine"),
        lambda: files.mkdir(host.home, "link/folder"),
        lambda: files.import_tar(host.home, "link", archive(member("new", b"x"))),
        lambda: files.export_tar(host.home, "link/secret", lambda _data: None),
    ]

    for attempt in attempts:
        with pytest.raises(WorkspaceFileError):
            attempt()

    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert (outside / "secret").read_text() == "secret"
    assert sorted(path.name for path in host.workspace.iterdir()) == ["link", "mine"]


def test_links_inside_are_followed_for_reading_also_absolute_ones(host: FileHost) -> None:
    files.write_file(host.home, "real/file", b"here")
    (host.workspace / "relative").symlink_to("real")
    (host.workspace / "absolute").symlink_to("/workspace/real/file")

    assert files.read_file(host.home, "relative/file")[0] == b"here"
    assert files.read_file(host.home, "absolute")[0] == b"here"
    assert [entry.path for entry in files.list_files(host.home, "relative/.").entries] == [
        "relative"
    ]


def test_a_directory_that_becomes_a_link_during_the_call_leads_nowhere(
    host: FileHost, outside: Path
) -> None:
    """Commands run beside every call; the swap is as fast as it can be."""
    (host.workspace / "real").mkdir()
    (host.workspace / "real" / "secret").write_text("mine")
    (host.workspace / "link").symlink_to("../outside")
    stop = threading.Event()

    def swap() -> None:
        real, link, door = (host.workspace / name for name in ("real", "link", "door"))
        while not stop.is_set():
            for one in (real, link):
                one.rename(door)
                door.rename(one)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(150):
            attempts: list[Callable[[], object]] = [
                lambda: files.write_file(host.home, "door/planted", b"x", parents=False),
                lambda: files.delete_file(host.home, "door/secret", recursive=True),
            ]
            for attempt in attempts:
                try:
                    attempt()
                except WorkspaceFileError:
                    continue
            try:
                assert files.read_file(host.home, "door/secret")[0] != b"secret"
            except WorkspaceFileError:
                continue
    finally:
        stop.set()
        swapper.join()

    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_writing_keeps_a_mode_and_leaves_nothing_half(host: FileHost) -> None:
    files.write_file(host.home, "run.sh", b"one")
    assert files.stat_file(host.home, "run.sh").mode == 0o644
    (host.workspace / "run.sh").chmod(0o755)

    files.write_file(host.home, "run.sh", io.BytesIO(b"two" * 100_000))

    def broken() -> Iterator[bytes]:
        yield b"three"
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        files.write_file(host.home, "run.sh", broken())
    host.close()
    assert (host.workspace / "run.sh").read_bytes() == b"two" * 100_000
    assert files_mode(host.workspace / "run.sh") == 0o755
    assert [path.name for path in host.workspace.iterdir()] == ["run.sh"]


def files_mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_each_refusal_says_what_is_in_the_way(host: FileHost) -> None:
    files.write_file(host.home, "folder/file", b"x")
    os.mkfifo(host.workspace / "fifo")
    (host.workspace / "link").symlink_to("folder/file")
    expected: dict[str, Callable[[], object]] = {
        "not_found": lambda: files.read_file(host.home, "absent"),
        "is_directory": lambda: files.read_file(host.home, "folder"),
        "not_directory": lambda: files.stat_file(host.home, "folder/file/x"),
        "special_file": lambda: files.write_file(host.home, "fifo", b"x"),
        "is_link": lambda: files.write_file(host.home, "link", b"x"),
        "exists": lambda: files.move_file(host.home, "folder", "link"),
        "not_empty": lambda: files.delete_file(host.home, "folder"),
        "conflict": lambda: files.move_file(host.home, "folder", "folder/below"),
        "bad_pattern": lambda: files.search(host.home, "("),
    }

    for code, attempt in expected.items():
        with pytest.raises(WorkspaceFileError) as caught:
            attempt()
        assert reason(caught) == code

    with pytest.raises(WorkspaceFileError) as caught:
        files.read_file(host.home, "fifo")
    assert reason(caught) == "special_file"
    assert str(caught.value).startswith("fifo is a device")


def test_a_listing_is_depth_first_and_leaves_out_what_is_no_file(host: FileHost) -> None:
    for name in ("b/two", "b/one/deep", "a", "c"):
        files.write_file(host.home, name, b"x")
    os.mkfifo(host.workspace / "pipe")
    (host.workspace / "link").symlink_to("b")

    listing = files.list_files(host.home, recursive=True)
    cut = files.list_files(host.home, recursive=True, limit=2)

    assert [entry.path for entry in listing.entries] == [
        *("a", "b", "b/one", "b/one/deep", "b/two", "c", "link"),
    ]
    assert (listing.skipped, listing.truncated) == (1, False)
    assert listing.entries[-1].link_target == "b"
    assert ([entry.path for entry in cut.entries], cut.truncated) == (["a", "b"], True)


def test_ranges_of_a_file(host: FileHost) -> None:
    content = bytes(range(256)) * 4096
    files.write_file(host.home, "data", content)

    part, entry = files.read_file(host.home, "data", offset=1_000_000, length=100)
    beyond, _ = files.read_file(host.home, "data", offset=len(content) + 5, length=100)
    pieces: list[bytes] = []
    files.read_file(host.home, "data", sink=pieces.append)

    assert part == content[1_000_000:1_000_100]
    assert entry.size_bytes == len(content)
    assert beyond == b""
    assert b"".join(pieces) == content


def test_search_takes_globs_limits_and_long_lines(host: FileHost) -> None:
    files.write_file(host.home, "src/app.py", b"import os\nprint('Needle')\n")
    files.write_file(host.home, "src/deep/x.py", b"needle needle\n\nneedle\n")
    files.write_file(host.home, "notes.txt", b"a needle (literal?)\r\n")
    files.write_file(host.home, "long", b"." * 5000 + b"needle" + b"." * 5000)
    files.write_file(host.home, "binary", b"\0needle")
    files.write_file(host.home, ".git/config", b"needle")

    def found(pattern: str, **options: object) -> list[tuple[str, int, int]]:
        outcome = files.search(host.home, pattern, **options)  # type: ignore[arg-type]
        return [(match.path, match.line, match.column) for match in outcome.matches]

    assert found("needle", globs=["*.py"]) == [("src/deep/x.py", 1, 1), ("src/deep/x.py", 3, 1)]
    assert ("src/app.py", 2, 8) in found("needle", ignore_case=True)
    assert found("needle (literal?)", literal=True) == [("notes.txt", 1, 3)]
    assert found(r"^needle$") == [("src/deep/x.py", 3, 1)]
    assert found("needle", globs=["src/**/*.py", "!x.py"]) == []
    assert found("needle", path="src/app.py", ignore_case=True) == [("src/app.py", 2, 8)]
    outcome = files.search(host.home, "needle", max_matches=1)
    assert (len(outcome.matches), outcome.truncated) == (1, True)
    assert outcome.matches[0].column == 5001
    assert len(outcome.matches[0].text) == 400
    assert "needle" in outcome.matches[0].text
    assert outcome.matches[0].text_truncated


def test_a_search_that_takes_too_long_says_where_it_was(host: FileHost) -> None:
    files.write_file(host.home, "a/few", b"x")
    files.write_file(host.home, "a/hopeless", b"a" * 60 + b"b")

    with pytest.raises(WorkspaceFileError, match="than 1 seconds, and was in a/hopeless") as caught:
        files.search(host.home, "(a|aa)+$", seconds=1)

    assert reason(caught) == "too_long"


def test_a_search_below_a_link_is_refused(host: FileHost) -> None:
    """And not without any match, as it would seem."""
    files.write_file(host.home, "a/file", b"found")
    (host.workspace / "link").symlink_to("a")

    with pytest.raises(WorkspaceFileError, match=r"^link is or lies below a symbolic link"):
        files.search(host.home, "found", path="link")


def test_of_a_move_the_path_that_is_wrong_is_named(host: FileHost) -> None:
    files.write_file(host.home, "file", b"x")
    (host.workspace / "link").symlink_to("/etc")

    with pytest.raises(WorkspaceFileError, match=r"^link/x is or lies below a symbolic link"):
        files.move_file(host.home, "file", "link/x")


def test_an_archive_comes_in_as_it_is_and_leaves_the_rest(host: FileHost) -> None:
    files.write_file(host.home, "in/kept", b"kept")
    files.write_file(host.home, "in/replaced", b"old")
    data = archive(
        member("bin", type=tarfile.DIRTYPE, mode=0o750),
        member("bin/tool", b"#!/bin/sh\n", mode=0o755),
        member("replaced", b"new", mode=0o600),
        member("implied/deep/file", b"x"),
        member("link", type=tarfile.SYMTYPE, linkname="../anywhere/at/all"),
        member("bin/again", type=tarfile.LNKTYPE, linkname="bin/tool"),
        member("pipe", type=tarfile.FIFOTYPE),
    )

    outcome = files.import_tar(host.home, "in", data)

    into = host.workspace / "in"
    assert (outcome.entries, outcome.bytes) == (6, 14)
    assert (outcome.skipped, outcome.skipped_count) == (["pipe"], 1)
    assert (into / "kept").read_text() == "kept"
    assert (into / "replaced").read_text() == "new"
    assert files_mode(into / "replaced") == 0o600
    assert files_mode(into / "bin") == 0o750
    assert (into / "bin" / "tool").stat().st_mtime == 1_700_000_000
    assert (into / "bin" / "tool").stat().st_ino == (into / "bin" / "again").stat().st_ino
    assert str((into / "link").readlink()) == "../anywhere/at/all"
    assert (into / "implied" / "deep" / "file").read_text() == "x"
    assert [path.name for path in host.workspace.iterdir()] == ["in"]


@pytest.mark.parametrize(
    "bad",
    [
        archive(member("new", b"x"), member("folder", b"a file where a directory is")),
        archive(member("new", b"x"), member("file/below", b"x")),
        archive(member("new", b"x"), member("link", b"a file where a link is")),
        archive(member("new", b"x"), member("../escape", b"x")),
        archive(member("new", b"x"), member("/absolute", b"x")),
        archive(member("new", b"x"), member("hard", type=tarfile.LNKTYPE, linkname="nowhere")),
        archive(member("new", b"x" * 5000))[:3000],
        b"no archive at all" * 100,
        b"",
    ],
)
def test_an_archive_that_cannot_come_in_whole_changes_nothing(host: FileHost, bad: bytes) -> None:
    files.write_file(host.home, "folder/inside", b"x")
    files.write_file(host.home, "file", b"x")
    (host.workspace / "link").symlink_to("file")
    before = snapshot(host.workspace)

    with pytest.raises(WorkspaceFileError) as caught:
        files.import_tar(host.home, "", bad)

    assert reason(caught) in ("conflict", "bad_archive")
    assert snapshot(host.workspace) == before


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }


def test_a_source_that_breaks_leaves_the_workspace_as_it_was(host: FileHost) -> None:
    data = archive(*(member(f"f{number}", b"x" * 1000) for number in range(500)))

    def broken() -> Iterator[bytes]:
        yield data[:300_000]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.import_tar(host.home, "", broken())

    host.close()
    assert list(host.workspace.iterdir()) == []


@pytest.mark.parametrize("taken", range(7))
def test_what_the_machines_end_cut_off_is_undone(host: FileHost, taken: int) -> None:
    """As if the power went after so many of the renames: nobody could take them back."""
    for name in ("a/old", "a/gone", "full/deep/x", "z"):
        files.write_file(host.home, name, b"old")
    before = snapshot(host.workspace)
    tree = host.tree()
    staging = Staging(cast("Link", None), tree)  # a link is for what it cannot make
    new = host.workspace / os.fsdecode(staging._name) / "new"
    for name in ("a/old", "fresh/deep", "full", "z"):
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).write_text("new")
    steps: list[fileswitch.Step] = [
        ("remove", "a/gone", 0, 0),
        ("remove", "full", 1, 0),
        ("exchange", "a/old", (new / "a/old").stat().st_ino, 0),
        ("move", "fresh", 0, 0),
        ("move", "full", 0, 0),
        ("exchange", "z", (new / "z").stat().st_ino, 0),
    ]

    fileswitch._write_journal(staging._top, steps)
    staging.carry_out(steps[:taken], [], dresses={})
    fileswitch.recover(staging.root)

    staging._close()
    tree.close()
    assert snapshot(host.workspace) == before


def test_a_switch_that_fails_half_way_takes_back_what_it_did(host: FileHost) -> None:
    """A command makes a file in its way in the very moment: all that came before it is undone."""
    for name in ("a/old", "a/gone", "z"):
        files.write_file(host.home, name, b"old")
    tree = host.tree()
    with Staging(cast("Link", None), tree) as staging:
        new = host.workspace / os.fsdecode(staging._name) / "new"
        for name in ("a/old", "fresh/deep", "taken"):
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text("new")
        steps: list[fileswitch.Step] = [
            ("remove", "a/gone", 0, 0),
            ("exchange", "a/old", (new / "a/old").stat().st_ino, 0),
            ("move", "fresh", 0, 0),
            ("move", "taken", 0, 0),
        ]
        (host.workspace / "taken").write_text("by a command")
        before = {k: v for k, v in snapshot(host.workspace).items() if not k.startswith(".pyro")}

        with pytest.raises(RefusedError, match="meanwhile"):
            staging.switch(steps)

    tree.close()
    assert snapshot(host.workspace) == before


def test_a_file_whose_writing_was_cut_off_is_gone_at_the_next_start(host: FileHost) -> None:
    """As if the machine had been killed: its half is nowhere to be seen meanwhile, either."""
    files.write_file(host.home, "folder/file", b"old")
    half, reached = threading.Event(), threading.Event()

    def content() -> Iterator[bytes]:
        yield b"half of it"
        reached.set()
        half.wait(30)
        raise KeyboardInterrupt

    def write() -> None:
        with pytest.raises(KeyboardInterrupt):
            files.write_file(host.home, "folder/file", content())

    writer = threading.Thread(target=write)
    writer.start()
    reached.wait(30)
    (left,) = until(lambda: [one for one in host.workspace.iterdir() if one.is_file()])
    (host.workspace / f"{left.name}2").write_bytes(b"what a killed machine would have left")
    seen = [entry.path for entry in files.list_files(host.home, recursive=True).entries]
    half.set()
    writer.join()
    host.close()
    root = os.open(host.workspace, os.O_RDONLY)

    fileswitch.recover(root)

    os.close(root)
    assert seen == ["folder", "folder/file"]
    assert snapshot(host.workspace) == {"folder": ANY, "folder/file": (0o100644, b"old")}


@pytest.mark.parametrize(
    "journal",
    [
        '{"steps":[["move","../outside/secret",0,0]]}',
        '{"steps":[["move","link/secret",0,0],["dress","link",0,0],["exchange","link/secret",1,0]]}',
        '{"steps":[["remove","link/made",0,0],["remove","../made",0,0]]}',
        '{"steps":[["dress","folder",' + "9" * 30 + ",0]]}",
        '{"steps":[["dress","folder",1e999,{}],7]}',
        '{"steps":{"a":1}}',
        "[" * 100_000,
        "",
    ],
)
def test_a_forged_journal_reaches_nothing_and_stops_no_start(
    host: FileHost, outside: Path, journal: str
) -> None:
    """A command can leave one behind: at the next start it must do no harm."""
    staging = host.workspace / (os.fsdecode(STAGING) + "forged")
    (staging / "new").mkdir(parents=True)
    (staging / "old").mkdir()
    (staging / "old" / "0").write_text("moved")
    (host.workspace / "folder").mkdir()
    (host.workspace / "link").symlink_to("../outside")
    (staging / "journal").write_text(journal)
    root = os.open(host.workspace, os.O_RDONLY)

    fileswitch.recover(root)

    os.close(root)
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "secret"


@given(
    st.binary(min_size=1, max_size=140).filter(lambda name: 0 not in name),
    st.integers(0, 0o7777),
    st.one_of(st.integers(0, 4 * 10**18), st.sampled_from([-1, 10**22])),
    st.one_of(st.integers(0, 10**9), st.sampled_from([0o77777777777, 10**13])),
)
def test_the_quick_header_of_a_file_is_the_other(
    name: bytes, mode: int, mtime: int, size: int
) -> None:
    whole = tarblocks.Member(name, "file", mode=mode, mtime=mtime, size=size)

    assert tarblocks.file_header(name, mode, mtime, size) == tarblocks.header(whole)


def test_an_export_carries_modes_links_and_hard_links(host: FileHost) -> None:
    files.write_file(host.home, "t/run", b"#!/bin/sh\n", mode=0o755)
    os.link(host.workspace / "t" / "run", host.workspace / "t" / "same")
    (host.workspace / "t" / "link").symlink_to("a" * 300)
    (host.workspace / "t" / ("d" * 200)).mkdir()
    os.mkfifo(host.workspace / "t" / "pipe")
    data = bytearray()

    outcome = files.export_tar(host.home, "t", data.extend)
    alone = bytearray()
    single = files.export_tar(host.home, "t/run", alone.extend)

    found = unpacked(bytes(data))
    assert set(found) == {"run", "same", "link", "d" * 200}
    assert (outcome.entries, outcome.skipped, outcome.artifact_type) == (4, ["pipe"], "directory")
    assert found["run"][0].mode == 0o755
    assert found["same"][0].islnk()
    assert found["link"][0].linkname == "a" * 300
    assert (list(unpacked(bytes(alone))), single.artifact_type) == (["run"], "file")


def test_changes_against_a_seed(tmp_path: Path) -> None:
    host = FileHost(tmp_path, seeded=True)
    for side in (host.seed, host.workspace, host.upper):
        for name in ("same", "changed", "moded", "typed"):
            (side / name).write_text("old\n")
    (host.seed / "gone").mkdir()
    (host.seed / "gone" / "file").write_text("x")
    (host.upper / "gone").write_text("")  # what a whiteout says: look here
    (host.workspace / "changed").write_text("new\n")
    (host.workspace / "moded").chmod(0o755)
    (host.workspace / "typed").unlink()
    (host.workspace / "typed").symlink_to("same")

    changes = {change.path: change for change in files.changes(host.home, content_bytes=100)}
    host.close()

    assert {path: change.status for path, change in changes.items()} == {
        "changed": "modified",
        "gone": "deleted",
        "gone/file": "deleted",
        "moded": "modified",
        "typed": "type_changed",
    }
    sides = changes["changed"].base, changes["changed"].now
    assert [side.data for side in sides if side] == [b"old\n", b"new\n"]
    assert not changes["moded"].content
    assert changes["typed"].now is not None
    assert changes["typed"].now.link_target == "same"


def test_changes_cost_what_changed_and_not_what_there_is(tmp_path: Path) -> None:
    """Of the seed only the other side of what changed is opened, and its directory never listed."""
    host = FileHost(tmp_path, seeded=True)
    for side in (host.seed, host.workspace):
        for folder in ("touched", "whole"):
            (side / folder).mkdir()
            for number in range(20):
                (side / folder / f"f{number}").write_text("old\n")
    (host.upper / "touched").mkdir()
    for side in (host.upper, host.workspace):
        (side / "touched/f7").write_text("new\n")

    with opened(host.seed / "whole", host.workspace / "whole") as untouched:
        with opened(host.seed / "touched", host.workspace / "touched") as looked_into:
            changes = [change.path for change in files.changes(host.home, content_bytes=100)]
    host.close()

    assert changes == ["touched/f7"]
    assert untouched == set()
    assert looked_into <= {"", "f7"}


def test_an_answer_that_makes_no_sense_is_no_crash() -> None:
    for answer in ({}, {"path": 5}, {"path": "../x", "artifact_type": "file"}, {"path": "a"}):
        with pytest.raises(GuestLostError):
            file_answers.entry_of(answer)  # type: ignore[arg-type]
