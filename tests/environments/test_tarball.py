"""Archives of systems: kept members stay exactly as they are."""

import io
import tarfile
from pathlib import Path

import pytest

from pyro_mcp.environments.tarball import (
    Addition,
    measure,
    read_member,
    rewrite,
    unpack,
    write_archive,
)

_CAPABILITY = "SCHILY.xattr.security.capability"
_MTIME = 1_700_000_000


def _archive(path: Path) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:

        def put(name: str, content: bytes = b"", **fields: object) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(content))

        put("./", type=tarfile.DIRTYPE, mode=0o755)
        put("./usr/", type=tarfile.DIRTYPE, mode=0o755)
        put("./usr/bin/", type=tarfile.DIRTYPE, mode=0o755)
        put("./bin", type=tarfile.SYMTYPE, linkname="usr/bin")
        put("./loop", type=tarfile.SYMTYPE, linkname="loop")
        put("./usr/bin/ping", b"ping" * 2000, mode=0o4755, uid=7, gid=8,
            pax_headers={_CAPABILITY: "\x01\x00\x00\x02"})  # fmt: skip
        put("./usr/bin/ping6", type=tarfile.LNKTYPE, linkname="./usr/bin/ping")
        put("./etc/", type=tarfile.DIRTYPE, mode=0o755)
        put("./etc/hosts", b"old")
        put("./etc/F\u0151tan\u00fas\u00edtv\u00e1ny" + "x" * 120, b"long and not ASCII")
        put("./var/", type=tarfile.DIRTYPE, mode=0o755)
        put("./var/log", b"noise")
    return path


def _members(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return {info.name.removeprefix("./"): info for info in tar}


def test_kept_members_keep_owner_mode_links_and_attributes(tmp_path: Path) -> None:
    source = _archive(tmp_path / "source.tar")

    rewrite(source, tmp_path / "out.tar", keep=lambda path: True, add=[], mtime=_MTIME)

    before, after = _members(source), _members(tmp_path / "out.tar")
    assert list(after) == list(before)
    for name, info in after.items():
        assert info.get_info() == before[name].get_info()
        assert info.pax_headers == before[name].pax_headers
    assert after["usr/bin/ping"].pax_headers[_CAPABILITY] == "\x01\x00\x00\x02"
    assert read_member(tmp_path / "out.tar", "usr/bin/ping") == b"ping" * 2000


def test_unwanted_members_go_and_additions_replace(tmp_path: Path) -> None:
    source = _archive(tmp_path / "source.tar")

    rewrite(
        source,
        tmp_path / "out.tar",
        keep=lambda path: path != "var/log",
        add=[Addition("etc/hosts", b"new", 0o600), Addition("opt/a/b", b"deep")],
        mtime=_MTIME,
    )

    after = _members(tmp_path / "out.tar")
    assert "var/log" not in after
    assert read_member(tmp_path / "out.tar", "etc/hosts") == b"new"
    assert after["etc/hosts"].mode == 0o600
    assert after["opt"].isdir()
    assert after["opt/a"].isdir()
    assert read_member(tmp_path / "out.tar", "opt/a/b") == b"deep"


def test_additions_follow_the_systems_own_links(tmp_path: Path) -> None:
    """In a merged Debian /bin is a link; a file placed in it must not replace the link."""
    source = _archive(tmp_path / "source.tar")

    rewrite(
        source,
        tmp_path / "out.tar",
        keep=lambda path: True,
        add=[Addition("bin/tool", b"tool", 0o755)],
        mtime=_MTIME,
    )

    after = _members(tmp_path / "out.tar")
    assert after["bin"].issym()
    assert read_member(tmp_path / "out.tar", "usr/bin/tool") == b"tool"


@pytest.mark.parametrize("path", ["etc", "etc/hosts/below", "loop/file"])
def test_an_addition_that_has_no_place_is_refused(tmp_path: Path, path: str) -> None:
    source = _archive(tmp_path / "source.tar")

    with pytest.raises(ValueError, match=path):
        rewrite(
            source,
            tmp_path / "out.tar",
            keep=lambda path: True,
            add=[Addition(path, b"")],
            mtime=_MTIME,
        )


def test_what_an_archive_needs_is_counted_as_it_is_written(tmp_path: Path) -> None:
    source = _archive(tmp_path / "source.tar")

    counted = rewrite(
        source, tmp_path / "out.tar", keep=lambda path: True, add=[Addition("x/y")], mtime=_MTIME
    )

    assert counted == measure(tmp_path / "out.tar")
    assert counted.inodes == measure(source).inodes + 2


def test_the_same_members_give_the_same_bytes(tmp_path: Path) -> None:
    additions = [Addition("a/b", b"text", 0o755), Addition("a/c", link_to="b")]

    for name in ("one", "two"):
        write_archive(tmp_path / name, additions, mtime=_MTIME)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_unpacking_gives_what_is_wanted_readable_by_all(tmp_path: Path) -> None:
    source = _archive(tmp_path / "source.tar")
    (tmp_path / "tree").mkdir()

    unpack(source, tmp_path / "tree", keep=lambda path: not path.startswith("var"))

    tree = tmp_path / "tree"
    assert (tree / "bin").readlink() == Path("usr/bin")
    assert (tree / "usr/bin/ping").stat().st_mode & 0o7777 == 0o755
    assert (tree / "usr/bin/ping6").samefile(tree / "usr/bin/ping")
    assert (tree / "etc/hosts").stat().st_mode & 0o7777 == 0o644
    assert not (tree / "var").exists()
