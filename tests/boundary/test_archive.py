"""Archives from anywhere, of which only what is harmless may enter a guest."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from pyro_mcp.boundary import limits
from pyro_mcp.boundary.source import checked, open_source
from pyro_mcp.errors import InvalidInputError
from tests.support.tars import folder, hard_link, link, listed, member, tar_of

HOSTILE = {
    "absolute": ([member("/etc/passwd")], "absolute name"),
    "upwards": ([member("a/../../b")], r"'\.\.' in its name"),
    "upwards inside": ([folder("a"), member("a/../b")], r"'\.\.' in its name"),
    "through a link": ([link("l", "/etc"), member("l/passwd")], "which is a symlink"),
    "through a link, deeper": ([link("l", "/"), member("l/a/b/c")], "which is a symlink"),
    "through a file": ([member("f"), member("f/g")], "which is a file"),
    "twice": ([member("f", b"1"), member("f", b"2")], "there twice"),
    "twice, spelled otherwise": ([member("f"), member("./f")], "there twice"),
    "link, then file": ([link("f", "/etc/passwd"), member("f")], "was a symlink"),
    "link, then directory": ([link("d", "/etc"), folder("d")], "was a symlink"),
    "directory, then link": ([folder("d"), link("d", "/etc")], "was a directory"),
    "hard link upwards": ([hard_link("h", "../secret")], r"'\.\.' in its name"),
    "hard link outside": ([hard_link("h", "/etc/shadow")], "absolute name"),
    "hard link to nothing": ([hard_link("h", "later"), member("later")], "not a file here"),
    "hard link to a directory": ([folder("d"), hard_link("h", "d")], "not a file here"),
    "link to nothing": ([link("l", "")], "link to nothing"),
    "name too long": ([member("n" * 256)], "longer than Linux"),
    "path too long": ([member("n/" * 2100 + "n")], "directories deep|longer than Linux"),
    "too deep": ([member("d/" * 300 + "f")], "directories deep"),
    "the root as a file": ([member("./.")], "names the root"),
}


def _stream(path: Path, exclude: tuple[str, ...] = ()) -> tuple[bytes, object]:
    source = open_source("source_path", path, exclude=exclude)
    try:
        return b"".join(checked("source_path", source, lambda *_: None, "test")), source
    finally:
        source.close()


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("packed", [False, True])
def test_a_hostile_archive_is_refused_and_the_member_named(
    case: str, packed: bool, tmp_path: Path
) -> None:
    members, why = HOSTILE[case]
    content = tar_of(member("harmless"), *members)
    path = tmp_path / ("evil.tgz" if packed else "evil.tar")
    path.write_bytes(gzip.compress(content) if packed else content)

    with pytest.raises(InvalidInputError, match=why) as refused:
        _stream(path)

    assert str(path) in str(refused.value)
    assert "Nothing was changed" in refused.value.hint


def test_devices_and_pipes_stay_behind_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(
        tar_of(
            member("dev", type=tarfile.CHRTYPE, devmajor=1),
            member("pipe", type=tarfile.FIFOTYPE),
            member("f"),
        )
    )

    stream, source = _stream(path)

    assert list(listed(stream)) == ["f"]
    assert source.skipped == ["'dev' is a device or pipe", "'pipe' is a device or pipe"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".TGZ", ".tar.zst", ".zip"])
def test_every_kind_of_archive_gives_the_same_stream(suffix: str, tmp_path: Path) -> None:
    big = os.urandom(3 << 20)
    path = tmp_path / f"a{suffix}"
    content = tar_of(
        folder("d", mode=0o750),
        member("d/run", big, mode=0o755, mtime=1_700_000_000),
        link("d/up", "../d/run"),
        link("abs", "/usr/bin/python3"),
    )
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, mode, data in (
                ("d/", stat.S_IFDIR | 0o750, b""),
                ("d/run", stat.S_IFREG | 0o755, big),
                ("d/up", stat.S_IFLNK | 0o777, b"../d/run"),
                ("abs", stat.S_IFLNK | 0o777, b"/usr/bin/python3"),
            ):
                info = zipfile.ZipInfo(name)
                info.create_system, info.external_attr = 3, mode << 16
                archive.writestr(info, data)
    elif suffix == ".tar.zst":
        path.write_bytes(zstandard.compress(content))
    else:
        path.write_bytes(content if suffix == ".tar" else gzip.compress(content))

    stream, source = _stream(path)

    found = listed(stream)
    assert list(found) == ["d", "d/run", "d/up", "abs"]
    assert [found[name].mode for name in ("d", "d/run")] == [0o750, 0o755]
    assert (found["d/up"].linkname, found["abs"].linkname) == ("../d/run", "/usr/bin/python3")
    with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
        opened = tar.extractfile("d/run")
        assert opened is not None
        assert opened.read() == big
    assert (source.entry_count, source.bytes_written) == (4, len(big))  # type: ignore[attr-defined]


def test_missing_parents_are_made_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of(member("./a/b/c", b"x"), folder("a"), hard_link("a/d", "./a/b/c")))

    stream, source = _stream(path)

    assert list(listed(stream)) == ["a", "a/b", "a/b/c", "a/d"]
    assert (source.entry_count, source.bytes_written) == (4, 1)  # type: ignore[attr-defined]


def test_what_is_excluded_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(
        tar_of(folder("node_modules"), member("node_modules/x/y"), member("a.log"), member("a.c"))
    )

    stream, _ = _stream(path, ("node_modules/", "*.log"))

    assert list(listed(stream)) == ["a.c"]


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst", ".zip"])
def test_a_bomb_is_refused_at_the_limit(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SOURCE_LIMIT_BYTES", 8 << 20)
    path = tmp_path / f"bomb{suffix}"
    content = tar_of(member("zeros", bytes(16 << 20)))
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", bytes(16 << 20))
    else:
        packed = gzip.compress(content) if suffix == ".tar.gz" else zstandard.compress(content)
        path.write_bytes(packed)
    assert path.stat().st_size < 1 << 20

    with pytest.raises(InvalidInputError, match="'zeros' takes it beyond the limit of 8 MiB"):
        _stream(path)


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "many.tar"
    path.write_bytes(tar_of(*(member(f"{number}") for number in range(50))))
    source = open_source("source_path", path)
    source._filter.members._limit_entries = 20  # type: ignore[attr-defined]

    with pytest.raises(InvalidInputError, match="beyond the limit of 20 entries"):
        list(checked("source_path", source, lambda *_: None, "test"))

    source.close()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.tar", b"this is text\n" * 200, "not that of a tar archive"),
        ("a.tar", b"", "no tar archive"),
        ("a.tgz", b"this is not gzip", "damaged, or it is not gzip"),
        ("a.tar.gz", gzip.compress(tar_of(member("x", os.urandom(90000))))[:-50000], "cut off"),
        ("a.tar", tar_of(member("x", bytes(9000)))[:5000], "in the middle of 'x'"),
        ("a.tar.zst", b"this is not zstd", "damaged, or it is not zstd"),
        ("a.zip", b"PK\x03\x04 nothing", "no zip archive"),
        ("a.txt", b"text", "neither a directory nor an archive"),
        ("a.tar.xz", b"\xfd7zXZ", "neither a directory nor an archive"),
    ],
)
def test_what_is_no_whole_archive_is_refused(
    name: str, content: bytes, why: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(InvalidInputError, match=why):
        _stream(path)


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", b"y" * 1000)
    lying = path.read_bytes().replace((1000).to_bytes(4, "little"), (900).to_bytes(4, "little"))
    path.write_bytes(lying)

    with pytest.raises(InvalidInputError, match="'x'"):
        _stream(path)


def test_git_ignore_rules_need_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of(member("x")))

    with pytest.raises(InvalidInputError, match="gitignore"):
        open_source("source_path", path, gitignore=True)


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is not there"):
        open_source("seed_path", tmp_path / "nowhere")
