"""The kernel that comes with pyro is what its record says, or it is not used."""

import json
import shutil
import stat
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from pyro_mcp.config import KERNEL_VARIABLE, Settings
from pyro_mcp.environments import cache, keys, shipped_kernel
from pyro_mcp.errors import BrokenInstallError, InvalidInputError
from tests.support.needs import CHECKOUT


def test_what_is_unpacked_is_what_was_built(tmp_path: Path) -> None:
    facts = json.loads((shipped_kernel.FOLDER / "provenance.json").read_text())

    shipped_kernel.unpack(tmp_path / "linux")

    content = (tmp_path / "linux").read_bytes()
    assert content.startswith(b"\x7fELF")
    assert sha256(content).hexdigest() == facts["sha256"]
    assert len(content) == facts["bytes"]


def test_it_was_built_from_what_the_repository_has() -> None:
    """Whoever changes the configuration or a patch must build again."""
    facts = json.loads((shipped_kernel.FOLDER / "provenance.json").read_text())
    folder = CHECKOUT / "kernel"

    digest = {
        path.name: sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "patches").glob("*.patch"))
    }
    assert facts["patches_sha256"] == digest
    assert facts["config_sha256"] == sha256((folder / "pyro.config").read_bytes()).hexdigest()
    pinned = (folder / "source").read_text().splitlines()
    assert f"package={facts['source']}" in pinned
    assert f"version={facts['source_version']}" in pinned
    assert f"sha256={facts['source_sha256']}" in pinned


@pytest.mark.parametrize("part", ["linux.xz", "provenance.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_a_damaged_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, damage: str
) -> None:
    folder = tmp_path / "kernel"
    shutil.copytree(shipped_kernel.FOLDER, folder)
    victim = folder / part
    victim.chmod(stat.S_IRUSR | stat.S_IWUSR)
    content = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    elif damage == "cut":
        victim.write_bytes(content[: len(content) // 2])
    else:
        at = content.index(b'"sha256": "') + 12 if part.endswith("json") else len(content) // 2
        victim.write_bytes(content[:at] + bytes((content[at] ^ 1,)) + content[at + 1 :])
    monkeypatch.setattr(shipped_kernel, "FOLDER", folder)

    with pytest.raises(BrokenInstallError):
        shipped_kernel.unpack(tmp_path / "linux")

    assert not (tmp_path / "linux").exists()


def test_another_kernel_is_another_runtime() -> None:
    settings = Settings.from_environment()
    debian = replace(settings, kernel="debian")

    assert cache.runtime_place(settings) != cache.runtime_place(debian)
    assert keys.KERNEL_PACKAGE in keys.runtime_packages("debian")
    assert keys.KERNEL_PACKAGE not in keys.runtime_packages("pyro")


def test_a_kernel_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KERNEL_VARIABLE, "minix")

    with pytest.raises(InvalidInputError, match=r"PYRO_KERNEL is 'minix'.*pyro, debian"):
        Settings.from_environment()
