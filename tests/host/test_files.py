"""Files that are whole, copies that keep their holes, room that is asked for."""

import os
import stat
from pathlib import Path

import pytest

from pyro_mcp.errors import DiskSpaceError
from pyro_mcp.host.files import (
    copy_sparse,
    copy_stretches,
    free_mib,
    publish,
    refresh_copy,
    remove_tree,
    require_room,
    write_whole,
)


def _sparse(path: Path, *, size: int, data: dict[int, bytes]) -> Path:
    with path.open("wb") as out:
        out.truncate(size)
        for offset, content in data.items():
            out.seek(offset)
            out.write(content)
    return path


def test_a_sparse_copy_has_the_content_and_the_holes(tmp_path: Path) -> None:
    size = 1 << 30
    pieces = {0: b"head", 300 << 20: os.urandom(100_000), size - 4: b"tail"}
    source = _sparse(tmp_path / "source", size=size, data=pieces)

    copy_sparse(source, tmp_path / "copy", variable="X")

    copied = (tmp_path / "copy").stat()
    assert copied.st_size == size
    assert copied.st_blocks * 512 < 1 << 20
    with (tmp_path / "copy").open("rb") as content:
        for offset, piece in pieces.items():
            content.seek(offset)
            assert content.read(len(piece)) == piece
        content.seek(100 << 20)
        assert content.read(4096) == bytes(4096)


@pytest.mark.parametrize("size", [0, 1, 4096, 1 << 20])
def test_files_of_nothing_but_a_hole_can_be_copied(tmp_path: Path, size: int) -> None:
    source = _sparse(tmp_path / "source", size=size, data={})

    copy_sparse(source, tmp_path / "copy", variable="X")

    assert (tmp_path / "copy").read_bytes() == bytes(size)


def test_a_copy_is_private_and_never_replaces_a_file(tmp_path: Path) -> None:
    source = _sparse(tmp_path / "source", size=10, data={0: b"new"})
    copy_sparse(source, tmp_path / "copy", variable="X")
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
    (tmp_path / "there").write_text("old")

    with pytest.raises(FileExistsError):
        copy_sparse(source, tmp_path / "there", variable="X")

    assert (tmp_path / "there").read_text() == "old"


def test_a_written_file_has_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_whole(tmp_path / "file", b"text")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")

    with pytest.raises(TypeError):
        write_whole(tmp_path / "file", None)  # type: ignore[arg-type]

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "old"}


def test_publishing_replaces_a_directory_whole(tmp_path: Path) -> None:
    (tmp_path / "entry").mkdir()
    (tmp_path / "entry/old").touch()
    (tmp_path / "work").mkdir()
    (tmp_path / "work/new").mkdir()
    (tmp_path / "work/new/fresh").touch()

    publish(tmp_path / "work/new", tmp_path / "entry")

    assert [path.name for path in (tmp_path / "entry").iterdir()] == ["fresh"]
    assert list((tmp_path / "work").iterdir()) == []


def test_removing_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "tree/inner").mkdir(parents=True)
    (tmp_path / "tree/inner/link").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")

    for name in ("tree", "link", "absent"):
        remove_tree(tmp_path / name)

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_room_is_looked_up_where_a_directory_will_be(tmp_path: Path) -> None:
    assert free_mib(tmp_path / "not/yet/there") == free_mib(tmp_path)


def test_too_little_room_names_place_amounts_and_variable(tmp_path: Path) -> None:
    with pytest.raises(DiskSpaceError, match=r"MiB free and this needs .* PYRO_SOME_DIR"):
        require_room(tmp_path, needed_mib=1 << 40, variable="PYRO_SOME_DIR")


def test_a_copy_is_made_equal_again_whatever_has_changed(tmp_path: Path) -> None:
    """Blocks written, holes filled, blocks given back."""
    source, copy = tmp_path / "source", tmp_path / "copy"
    mib = 1 << 20
    with source.open("wb") as out:
        out.truncate(40 * mib + 7)
        for at in (0, 3 * mib, 20 * mib, 40 * mib):
            out.seek(at)
            out.write(b"before!")
    copy_sparse(source, copy, variable="X")
    with source.open("r+b") as out:
        for at in (2 * mib - 2, 11 * mib, 40 * mib + 3):
            out.seek(at)
            out.write(b"mend")
        out.truncate(3 * mib)  # all after it becomes a hole
        out.truncate(40 * mib + 7)
        out.seek(30 * mib)
        out.write(b"late")

    refresh_copy(source, copy, variable="X")

    assert copy.read_bytes() == source.read_bytes()


def test_parts_of_a_copy_are_made_equal_and_no_others(tmp_path: Path) -> None:
    """Where the source has a hole now, the copy gets zeroes."""
    source, copy = tmp_path / "source", tmp_path / "copy"
    mib = 1 << 20
    source.write_bytes(b"a" * (4 * mib + 7))
    copy_sparse(source, copy, variable="X")
    with source.open("r+b") as out:
        out.write(b"not told of")
        out.truncate(mib)
        out.truncate(4 * mib + 7)
        out.seek(3 * mib)
        out.write(b"b" * mib)
        out.write(b"the end")

    copy_stretches(source, copy, [(mib, 3 * mib), (3 * mib, 4 * mib + 7)], variable="X")

    assert copy.read_bytes()[mib:] == source.read_bytes()[mib:]
    assert copy.read_bytes()[:mib] == b"a" * mib
