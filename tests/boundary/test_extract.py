"""What a hostile guest sends for an export cannot touch anything but the target."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_mcp.boundary import limits, output
from pyro_mcp.errors import DiskSpaceError, InvalidInputError, OutputExistsError
from pyro_mcp.host.files import remove_tree
from pyro_mcp.machines.files import FileEntry, Transfer
from pyro_mcp.workspaces.export import receive
from tests.boundary.test_archive import HOSTILE
from tests.support.tars import folder, hard_link, link, listed, member, tar_of

_LIMIT = 1 << 30


def _wanted(kind: str) -> FileEntry:
    return FileEntry(
        path="x", artifact_type=kind, size_bytes=0, mode=0o755, mtime=1e9, link_target=None
    )


def _receive(
    content: bytes,
    target: Path,
    *,
    kind: str = "directory",
    packed: bool = False,
    limit: int = _LIMIT,
) -> object:
    def send(sink: Callable[[bytes], None]) -> Transfer:
        for at in range(0, len(content), 65536):
            sink(content[at : at + 65536])
        return Transfer(entries=0, bytes=0, skipped=[], skipped_count=0, artifact_type=kind)

    return receive(send, target, wanted=_wanted(kind), packed=packed, limit_bytes=limit)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_export_is_refused_and_leaves_nothing(
    case: str, packed: bool, tmp_path: Path
) -> None:
    members, why = HOSTILE[case]
    target = tmp_path / "below/made/out"

    with pytest.raises(ValueError, match=why):
        _receive(tar_of(member("harmless", b"x"), *members), target, packed=packed)

    assert list(tmp_path.iterdir()) == []


def test_no_special_files_and_no_special_rights_come_out(tmp_path: Path) -> None:
    content = tar_of(
        member("dev", type=tarfile.BLKTYPE, devmajor=8),
        member("pipe", type=tarfile.FIFOTYPE),
        member("root-shell", b"x", mode=0o6755),
        folder("sticky", mode=0o3777),
        member("sticky/w", mode=0o666),
    )
    mask = os.umask(0o027)
    try:
        made = _receive(content, tmp_path / "out")
        _receive(content, tmp_path / "out.tgz", packed=True)
    finally:
        os.umask(mask)

    modes = {p.name: p.stat().st_mode & 0o7777 for p in (tmp_path / "out").rglob("*")}
    assert modes == {"root-shell": 0o750, "sticky": 0o750, "w": 0o640}
    assert len(made.skipped) == 2  # type: ignore[attr-defined]
    import gzip

    packed = listed(gzip.decompress((tmp_path / "out.tgz").read_bytes()))
    assert {name: info.mode for name, info in packed.items()} == {
        "root-shell": 0o755, "sticky": 0o777, "sticky/w": 0o666,
    }  # fmt: skip


def test_links_are_carried_and_nothing_is_written_through_them(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    content = tar_of(
        folder("d"),
        link("d/out", str(victim)),
        link("d/bin", "../real/tool"),
        folder("real"),
        member("real/tool", b"tool", mode=0o755),
        hard_link("real/same", "real/tool"),
        hard_link("d/copy", "d/out"),
    )

    _receive(content, tmp_path / "out")

    out = tmp_path / "out"
    assert (out / "d/out").readlink() == (out / "d/copy").readlink() == victim
    assert (out / "d/bin").read_bytes() == b"tool"
    assert (out / "real/same").samefile(out / "real/tool")
    assert list(victim.iterdir()) == []


def test_more_than_the_limit_is_refused_before_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'b' takes it beyond the limit of 1 MiB"):
        _receive(
            tar_of(member("a", bytes(1 << 20)), member("b", b"x")),
            tmp_path / "out",
            limit=1 << 20,
        )

    assert list(tmp_path.iterdir()) == []


def test_room_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ROOM_TO_LEAVE_MIB", 1 << 30)

    with pytest.raises(DiskSpaceError, match="output_path"):
        _receive(tar_of(member("a", b"x")), tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def test_a_stream_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    whole = tar_of(member("a", bytes(100_000)), member("b", bytes(100_000)))

    with pytest.raises(ValueError, match="in the middle of 'b'"):
        _receive(whole[:150_000], tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_one_thing_is_one_thing(kind: str, tmp_path: Path) -> None:
    one = member("f", b"content") if kind == "file" else link("f", "nowhere")
    _receive(tar_of(one), tmp_path / "out", kind=kind)

    assert os.path.lexists(tmp_path / "out")
    assert (tmp_path / "out").is_symlink() == (kind == "symlink")
    with pytest.raises(ValueError, match="entries instead of one"):
        _receive(tar_of(one, member("g")), tmp_path / "two", kind=kind)


@pytest.mark.parametrize("there", ["file", "directory", "dangling"])
def test_nothing_is_overwritten(there: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    if there == "file":
        target.write_text("mine")
    elif there == "directory":
        target.mkdir()
    else:
        target.symlink_to("nowhere")

    with pytest.raises(OutputExistsError, match="exists already"):
        output.free_place("output_path", target)
    with pytest.raises(OutputExistsError):
        _receive(tar_of(member("a")), target)

    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_home_is_expanded_and_nonsense_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert output.free_place("output_path", "~/a/b") == tmp_path.resolve() / "a/b"
    for nonsense in ("", " ", "a\0b"):
        with pytest.raises(InvalidInputError, match="output_path"):
            output.free_place("output_path", nonsense)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInputError, match="output_path"):
        _receive(tar_of(member("a")), tmp_path / "file/below")


_NAMES = st.sampled_from(["a", "b", "a/b", "a/b/c", "../x", "/x", "a/../x", "./a", "b/c", ".", ""])
_MEMBERS = st.lists(
    st.one_of(
        st.builds(member, _NAMES, st.binary(max_size=5)),
        st.builds(folder, _NAMES),
        st.builds(link, _NAMES, st.sampled_from(["..", "/", "../..", "a", "b", "../x"])),
        st.builds(hard_link, _NAMES, _NAMES),
    ),
    max_size=8,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(members=_MEMBERS)
def test_whatever_comes_stays_in_its_place(
    members: list[tuple[tarfile.TarInfo, bytes]], tmp_path: Path
) -> None:
    """Either refused, or all that is new lies below the target."""
    area = tmp_path / "area"
    area.mkdir(exist_ok=True)
    target = area / "out"

    try:
        _receive(tar_of(*members), target)
    except ValueError:
        assert list(area.iterdir()) == []
    else:
        assert list(area.iterdir()) == [target]
        remove_tree(target)

    assert list(tmp_path.iterdir()) == [area]
