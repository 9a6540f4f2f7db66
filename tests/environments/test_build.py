"""Building for real, from the Debian archive; and every way in which it may end early."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from pyro_mcp.config import Settings
from pyro_mcp.environments import cache
from pyro_mcp.environments.archive import MIRROR_VARIABLE, without_password
from pyro_mcp.environments.image import loader_command
from pyro_mcp.environments.workshop import unfinished
from pyro_mcp.errors import DiskSpaceError, EnvironmentBuildError, ToolMissingError
from tests.environments.support import builder, read_until, run_with_small_filesystem, share_runtime
from tests.support import is_running, until
from tests.support.processes import descendants

_LAB = """
[[environment]]
name = "lab"
suite = "bookworm"
packages = ["tree"]
files = [
    { source = "tool", target = "/usr/local/bin/tool", mode = "0755" },
    { source = "tool", target = "/sbin/linked", mode = "0700" },
    { source = "tool", target = "/srv/deep/er/file" },
]
"""
# Builds the runtime into the cache of its environment, telling each phase.
_BUILD_RUNTIME = """
from pyro_mcp.config import Settings
from pyro_mcp.environments import cache
cache.ensure_runtime(
    Settings.from_environment(), progress=lambda phase, fraction: print(phase, flush=True)
)
"""


def _lab(settings: Settings) -> Settings:
    (settings.catalogue.parent / "tool").write_text("#!/bin/sh\necho tool\n")
    settings.catalogue.write_text(_LAB)
    return settings


@pytest.fixture(scope="module")
def lab(runtime: cache.Runtime, tmp_path_factory: pytest.TempPathFactory) -> cache.Installed:
    """The user's environment of this file, built once."""
    folder = tmp_path_factory.mktemp("lab")
    settings = dataclasses.replace(
        Settings.from_environment(),
        cache_dir=folder / "cache",
        catalogue=folder / "environments.toml",
    )
    share_runtime(runtime, settings)
    return cache.ensure_environment(_lab(settings), "lab")


def _debugfs(runtime: cache.Runtime, image: Path, request: str) -> str:
    command = loader_command(runtime.tree, "usr/sbin/debugfs", "-R", request, str(image))
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return finished.stdout


def _mode(runtime: cache.Runtime, image: Path, path: str) -> str:
    return _debugfs(runtime, image, f"stat {path}").split("Mode:")[1].split()[0]


def test_the_image_is_a_debian_with_the_packages_and_files_asked_for(
    lab: cache.Installed, runtime: cache.Runtime
) -> None:
    assert _debugfs(runtime, lab.image, "cat /usr/local/bin/tool").startswith("#!/bin/sh")
    assert _mode(runtime, lab.image, "/usr/local/bin/tool") == "0755"
    assert _mode(runtime, lab.image, "/usr/sbin/linked") == "0700"
    assert "tool" in _debugfs(runtime, lab.image, "cat /srv/deep/er/file")
    assert _mode(runtime, lab.image, "/usr/bin/tree") == "0755"
    assert _mode(runtime, lab.image, "/usr/bin/apt-get") == "0755"


def test_the_image_knows_nothing_of_the_host_that_built_it(
    lab: cache.Installed, runtime: cache.Runtime
) -> None:
    assert _debugfs(runtime, lab.image, "cat /etc/hostname") == "pyro\n"
    assert "127.0.0.1 localhost pyro" in _debugfs(runtime, lab.image, "cat /etc/hosts")
    for empty in ("/etc/resolv.conf", "/etc/machine-id"):
        assert _debugfs(runtime, lab.image, f"cat {empty}") == ""
        assert _mode(runtime, lab.image, empty) == "0644"
    assert _mode(runtime, lab.image, "/workspace") == "0755"
    assert _mode(runtime, lab.image, "/tmp") == "01777"


def test_apt_in_the_image_still_checks_signatures(
    lab: cache.Installed, runtime: cache.Runtime
) -> None:
    """Only the index's expiry is let pass."""
    settings = _debugfs(runtime, lab.image, "cat /etc/apt/apt.conf.d/90pyro")
    sources = _debugfs(runtime, lab.image, "cat /etc/apt/sources.list")

    assert "Check-Valid-Until" in settings
    assert "AllowUnauthenticated" not in settings
    assert "trusted=yes" not in sources
    assert "bookworm" in sources


def test_the_manifest_records_what_is_in_the_image(lab: cache.Installed) -> None:
    manifest = json.loads(lab.manifest.read_text())

    assert manifest["suite"] == "bookworm"
    assert manifest["packages"]["tree"].startswith("2.")
    assert "libc6" in manifest["packages"]
    assert manifest["image_bytes"] == lab.image.stat().st_size
    assert lab.image.stat().st_mode & 0o777 == 0o644
    assert lab.manifest.stat().st_mode & 0o777 == 0o644
    assert lab.image.parent.stat().st_mode & 0o777 == 0o755


def test_a_second_build_gives_the_same_image(lab: cache.Installed, own_cache: Settings) -> None:
    """Otherwise nobody could tell whether an image is what its recipe says."""
    before = os.umask(0o077)
    try:
        again = cache.ensure_environment(_lab(own_cache), "lab")
    finally:
        os.umask(before)

    assert again.digest == lab.digest
    cache.verify_environment(own_cache, "lab")


def test_progress_goes_forward_through_named_phases(
    empty_cache: Settings,
) -> None:
    told: list[tuple[str, float | None]] = []

    runtime = cache.ensure_runtime(
        empty_cache, progress=lambda phase, fraction: told.append((phase, fraction))
    )

    fractions = [fraction for _, fraction in told if fraction is not None]
    assert fractions == sorted(fractions)
    assert any("downloading packages" in phase for phase, _ in told)
    assert runtime.kernel.is_file()
    assert unfinished(cache.runtime_place(empty_cache).parent) == []


def test_a_killed_build_leaves_no_process_and_no_mount(empty_cache: Settings) -> None:
    with builder(empty_cache, _BUILD_RUNTIME) as process:
        read_until(process, "unpacking")
        running = descendants(process.pid)
        assert any("mmdebstrap" in found.command for found in running)
        process.kill()

    for found in running:
        until(lambda pid=found.pid: not is_running(pid))  # type: ignore[misc]
    assert str(empty_cache.cache_dir) not in Path("/proc/self/mountinfo").read_text()
    left = unfinished(cache.runtime_place(empty_cache).parent)
    assert len(left) == 1
    assert not cache.runtime_place(empty_cache).exists()

    pruned = cache.prune_environments(empty_cache)

    assert pruned["deleted_runtime_files"] == [str(left[0])]
    assert not left[0].exists()


def test_an_interrupted_build_leaves_nothing_at_all(empty_cache: Settings) -> None:
    with builder(empty_cache, _BUILD_RUNTIME) as process:
        read_until(process, "unpacking")
        running = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate()[0]

    assert not [found for found in running if is_running(found.pid)]
    assert list(cache.runtime_place(empty_cache).parent.iterdir()) == []


def test_a_mirror_that_does_not_answer_is_named(
    own_cache: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens: nobody else will, either
        port = taken.getsockname()[1]
        monkeypatch.setenv(MIRROR_VARIABLE, f"http://user:secret@127.0.0.1:{port}/debian")

        with pytest.raises(EnvironmentBuildError) as failed:
            cache.ensure_environment(own_cache, "debian:12")

    message = str(failed.value)
    assert "Building debian:12 failed" in message
    assert "Could not connect to 127.0.0.1" in message
    assert MIRROR_VARIABLE in message
    assert "http_proxy" in message
    assert "secret" not in message
    assert list(cache.platform_place(own_cache).iterdir()) == []


def test_a_suite_that_the_archive_does_not_have_is_named(
    own_cache: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path))

    with pytest.raises(EnvironmentBuildError, match="has no suite bookworm"):
        cache.ensure_environment(own_cache, "debian:12")


def test_a_missing_tool_is_named_with_its_package(
    own_cache: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ToolMissingError, match="apt-get install mmdebstrap"):
        cache.ensure_environment(own_cache, "debian:12")


def test_too_little_room_is_told_before_anything_is_fetched(
    own_cache: Settings, tmp_path: Path
) -> None:
    own_cache.catalogue.write_text(
        '[[environment]]\nname = "vast"\nsuite = "bookworm"\nunpacked_mib = 1048576\n'
    )
    told: list[str] = []

    with pytest.raises(DiskSpaceError, match="PYRO_ENVIRONMENT_CACHE_DIR"):
        cache.ensure_environment(
            own_cache, "vast", progress=lambda phase, fraction: told.append(phase)
        )

    assert told == []


def test_a_disk_that_becomes_full_is_told_and_nothing_is_left(empty_cache: Settings) -> None:
    """There was room at the beginning, and then somebody else took it."""
    empty_cache.cache_dir.mkdir()
    script = """
import os
from pyro_mcp.config import Settings
from pyro_mcp.environments import cache
from pyro_mcp.errors import DiskSpaceError
settings = Settings.from_environment()
def fill(phase, fraction):
    if "downloading" in phase:
        with open(settings.cache_dir / "other", "wb") as out:
            os.posix_fallocate(out.fileno(), 0, 720 << 20)
try:
    cache.ensure_runtime(settings, progress=fill)
except DiskSpaceError as error:
    print(type(error).__name__, error)
print(os.listdir(settings.cache_dir / "runtime"))
"""

    ran = run_with_small_filesystem(empty_cache, script, place=empty_cache.cache_dir, size_mib=760)

    assert "DiskSpaceError" in ran.output, ran
    assert "PYRO_ENVIRONMENT_CACHE_DIR" in ran.output
    assert ran.output.endswith("[]\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("E: http://user:word@host/debian x", "E: http://host/debian x"),
        ("deb [arch=amd64] https://token@host/a b", "deb [arch=amd64] https://host/a b"),
        ("deb http://host/debian user@x", "deb http://host/debian user@x"),
    ],
)
def test_passwords_in_urls_are_left_out(text: str, expected: str) -> None:
    assert without_password(text) == expected
