"""Images made by the runtime's own mke2fs."""

import os
import subprocess
from pathlib import Path

import pytest

from pyro_mcp.config import Settings
from pyro_mcp.environments.cache import Runtime
from pyro_mcp.environments.image import loader_command, make_blank, make_image
from pyro_mcp.environments.tarball import Addition, Contents, write_archive
from pyro_mcp.errors import EnvironmentBuildError
from tests.environments.support import run_with_small_filesystem

_MTIME = 1_700_000_000


def _tool(runtime: Runtime, program: str, *arguments: str) -> str:
    finished = subprocess.run(
        loader_command(runtime.tree, f"usr/sbin/{program}", *arguments),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr + finished.stdout
    return finished.stdout


def _archive(path: Path) -> Path:
    members = [
        Addition("bin", mode=0o755, directory=True),
        Addition("bin/tool", b"#!/bin/sh\n" * 5000, 0o755),
        Addition("F\u0151tan\u00fas\u00edtv\u00e1ny", b"not ASCII"),
        Addition("link", link_to="bin/tool"),
    ]
    write_archive(path, members, mtime=_MTIME)
    return path


def test_an_archive_becomes_a_sound_image_of_roots_files(runtime: Runtime, tmp_path: Path) -> None:
    image = tmp_path / "image.ext4"

    make_image(runtime.tree, _archive(tmp_path / "tar"), image, label="test")

    _tool(runtime, "e2fsck", "-f", "-n", str(image))
    listed = _tool(runtime, "debugfs", "-R", "ls -p /", str(image))
    entries = {line.split("/")[5]: line.split("/")[2:5] for line in listed.splitlines() if line}
    assert entries["F\u0151tan\u00fas\u00edtv\u00e1ny"] == ["100644", "0", "0"]
    assert entries["bin"] == ["040755", "0", "0"]
    assert _tool(runtime, "debugfs", "-R", "cat /bin/tool", str(image)) == "#!/bin/sh\n" * 5000


def test_a_directory_becomes_a_sound_image(runtime: Runtime, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in range(300):
        (source / f"{number % 7}").mkdir(parents=True, exist_ok=True)
        (source / f"{number % 7}/{number}").write_bytes(os.urandom(number * 10))
    (source / "link").symlink_to("0")

    make_image(runtime.tree, source, tmp_path / "image.ext4", label="test")

    _tool(runtime, "e2fsck", "-f", "-n", str(tmp_path / "image.ext4"))


def test_an_image_has_no_journal_and_fits_its_content(runtime: Runtime, tmp_path: Path) -> None:
    image = tmp_path / "image.ext4"

    make_image(runtime.tree, _archive(tmp_path / "tar"), image, label="test")

    features = _tool(runtime, "dumpe2fs", "-h", str(image))
    assert "has_journal" not in features
    assert image.stat().st_size < 8 << 20
    assert image.stat().st_blocks * 512 < 1 << 20
    assert image.stat().st_mode & 0o777 == 0o644


def test_the_same_archive_gives_the_same_bytes(runtime: Runtime, tmp_path: Path) -> None:
    archive = _archive(tmp_path / "tar")

    for name in ("one", "two"):
        make_image(runtime.tree, archive, tmp_path / name, label="test")

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_blank_disk_is_sound_and_nearly_all_hole(runtime: Runtime, tmp_path: Path) -> None:
    """It is copied for every machine: what it holds, each start pays for."""
    blank = tmp_path / "blank.ext4"

    make_blank(runtime.tree, blank, size_mib=10240, label="test")

    assert blank.stat().st_size == 10240 << 20
    assert blank.stat().st_blocks * 512 < 2 << 20
    _tool(runtime, "e2fsck", "-f", "-n", str(blank))


def test_a_broken_archive_is_refused_and_leaves_nothing(runtime: Runtime, tmp_path: Path) -> None:
    archive = _archive(tmp_path / "tar")
    damaged = bytearray(archive.read_bytes())
    damaged[512 + 148 : 512 + 156] = b"00000000"
    archive.write_bytes(damaged)
    image = tmp_path / "image.ext4"

    with pytest.raises(EnvironmentBuildError, match="mke2fs ended with status"):
        make_image(runtime.tree, archive, image, label="test", contents=Contents(100, 100))

    assert not image.exists()


def test_a_full_disk_is_named_and_nothing_is_left(
    runtime: Runtime, settings: Settings, tmp_path: Path
) -> None:
    members = [Addition(f"{number}", os.urandom(1 << 20)) for number in range(20)]
    write_archive(tmp_path / "tar", members, mtime=_MTIME)
    script = f"""
import os
from pathlib import Path
from pyro_mcp.environments.image import make_image
from pyro_mcp.errors import DiskSpaceError
place = Path({str(tmp_path / "small")!r})
try:
    make_image(
        Path({str(runtime.tree)!r}), Path({str(tmp_path / "tar")!r}), place / "image", label="test"
    )
except DiskSpaceError as error:
    print(error, os.listdir(place))
"""
    (tmp_path / "small").mkdir()

    ran = run_with_small_filesystem(settings, script, place=tmp_path / "small", size_mib=10)

    assert "has 10 MiB free and this needs" in ran.output, ran
    assert "[]" in ran.output
