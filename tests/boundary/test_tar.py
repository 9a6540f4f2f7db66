"""Our reader and writer of tar, against Python's."""

from __future__ import annotations

import io
import random
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.boundary.paths import MemberError
from pyro_mcp.boundary.tar import END, Member, Parser, TarError, header, padding
from tests.support.tars import folder, hard_link, link, member, tar_of

_FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
_names = st.binary(min_size=1, max_size=300).filter(
    lambda name: b"\0" not in name and not name.startswith(b"/") and not name.endswith(b"/")
)


class Collected:
    """Keeps everything a parser finds."""

    def __init__(self) -> None:
        self.members: list[tuple[Member, bytes]] = []
        self._content = b""

    def member(self, member: Member) -> None:
        self.members.append((member, b""))

    def content(self, data: memoryview) -> None:
        self._content += data

    def end(self) -> None:
        self.members[-1] = (self.members[-1][0], self._content)
        self._content = b""


def parse(archive: bytes, *, step: int = 1 << 20) -> list[tuple[Member, bytes]]:
    found = Collected()
    parser = Parser(found)
    for at in range(0, len(archive), step):
        parser.feed(archive[at : at + step])
    parser.close()
    return found.members


@pytest.mark.parametrize("format", _FORMATS)
@pytest.mark.parametrize("step", [1, 511, 512, 513, 1 << 20])
def test_what_python_writes_is_read_in_pieces_of_any_size(format: int, step: int) -> None:
    archive = tar_of(
        folder("src", mtime=7),
        member("src/" + "n" * 90 + "/file", b"content" * 300, mode=0o4755, mtime=1234567890),
        link("src/link", "../outside"),
        hard_link("src/again", "src/file"),
        format=format,
    )

    found = parse(archive, step=step)

    assert [(m.name, m.kind) for m, _ in found] == [
        (b"src/", "directory"),
        (b"src/" + b"n" * 90 + b"/file", "file"),
        (b"src/link", "symlink"),
        (b"src/again", "hardlink"),
    ]
    assert found[1] == (
        Member(found[1][0].name, "file", 0o4755, 1234567890, 2100),
        b"content" * 300,
    )
    assert found[2][0].link == b"../outside"


@settings(max_examples=60, deadline=None)
@given(name=_names, target=_names, size=st.sampled_from([0, 1, 512, 5000]))
def test_any_name_survives_our_writer_and_both_readers(
    name: bytes, target: bytes, size: int
) -> None:
    """Newlines, bytes that are not UTF-8, any length: for Python's reader, mke2fs and us."""
    content = random.Random(0).randbytes(size)
    archive = (
        header(Member(name, "file", 0o640, 1_700_000_000, size))
        + content
        + padding(size)
        + header(Member(b"link", "symlink", 0o777, 5, link=target))
        + END
    )

    ours = parse(archive)
    with tarfile.open(fileobj=io.BytesIO(archive), encoding="utf-8") as tar:
        theirs = tar.getmembers()

    assert ours[0] == (Member(name, "file", 0o640, 1_700_000_000, size), content)
    assert ours[1][0].link == target
    assert theirs[0].name.encode("utf-8", "surrogateescape") == name
    assert theirs[1].linkname.encode("utf-8", "surrogateescape") == target.rstrip(b"/") or target
    assert (theirs[0].size, theirs[0].uid, theirs[0].mode) == (size, 0, 0o640)


def test_a_size_beyond_eight_gibibytes_is_carried() -> None:
    start = header(Member(b"huge", "file", size=9 << 30))
    found = Collected()

    Parser(found).feed(start)

    assert found.members[0][0].size == 9 << 30
    with tarfile.open(fileobj=io.BytesIO(start)) as tar:
        assert tar.firstmember.size == 9 << 30  # type: ignore[attr-defined]


@pytest.mark.parametrize("cut", [0, 100, 512, 700, 1024, 1535])
def test_an_archive_that_was_cut_off_is_not_taken_for_whole(cut: int) -> None:
    archive = tar_of(member("one", b"x" * 600))

    with pytest.raises(TarError):
        parse(archive[:cut])


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damage_anywhere_never_breaks_the_reader(data: st.DataObject) -> None:
    """It may be read otherwise, or refused with our own errors; nothing else happens."""
    archive = bytearray(
        tar_of(
            member("a" * 120, b"x" * 600),
            link("l", "t" * 130),
            format=data.draw(st.sampled_from(_FORMATS[1:])),
        )
    )[:4096]
    for _ in range(data.draw(st.integers(1, 4))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    _repair_checksums(archive)

    with suppress(TarError, MemberError):
        found = parse(bytes(archive))
        assert sum(len(content) for _, content in found) <= len(archive)


def test_names_of_any_announced_length_are_not_held_in_memory() -> None:
    extension = bytearray(header(Member(b"x", "file", size=8 << 30)))
    extension[-512 + 156 : -512 + 157] = b"x"
    block = bytearray(extension[-512:])
    block[124:136] = b"77777777777\0"
    _repair_checksums(block)

    with pytest.raises(TarError, match="announces"):
        parse(bytes(block))


def _repair_checksums(archive: bytearray) -> None:
    for at in range(0, len(archive) - 511, 512):
        block = archive[at : at + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            archive[at + 148 : at + 156] = b"%06o\0 " % sum(block)
