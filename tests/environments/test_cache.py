"""What is in the cache: found quickly, described without building, doubted when damaged."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from pyro_mcp.config import Settings
from pyro_mcp.environments import cache
from pyro_mcp.errors import (
    CacheAccessError,
    CacheCorruptError,
    CatalogueError,
    EnvironmentBuildError,
    UnknownEnvironmentError,
)
from tests.environments.support import environment_of

_CONTENT = b"image" * 1000
_DESCRIBED = {
    *("name", "version", "description", "default_packages", "distribution"),
    *("distribution_version", "platform", "oci_registry", "oci_repository", "oci_reference"),
    *("source_digest", "compatibility", "catalog_version", "installed", "cache_dir"),
    "install_dir",
}


def _install(settings: Settings, name: str = "debian:12") -> Path:
    """Put an entry in place as a build does, with an image that is never booted."""
    entry = cache.load(settings).entry(name)
    place = cache.install_place(settings, entry)
    place.mkdir(parents=True)
    (place / cache.IMAGE).write_bytes(_CONTENT)
    manifest = {
        "recipe": entry.recipe,
        "image_bytes": len(_CONTENT),
        "image_digest": f"sha256:{sha256(_CONTENT).hexdigest()}",
        "packages": {"git": "1:2.39"},
        "source": "debian archive (bookworm)",
        "built_at": 1.5,
    }
    (place / cache.MANIFEST).write_text(json.dumps(manifest))
    return place


def _damage_manifest(place: Path) -> None:
    (place / cache.MANIFEST).write_text("{")


def _damage_size(place: Path) -> None:
    (place / cache.IMAGE).write_bytes(b"short")


def _remove_image(place: Path) -> None:
    (place / cache.IMAGE).unlink()


def _remove_manifest(place: Path) -> None:
    (place / cache.MANIFEST).unlink()


def _change_recipe(place: Path) -> None:
    manifest = json.loads((place / cache.MANIFEST).read_text())
    (place / cache.MANIFEST).write_text(json.dumps({**manifest, "recipe": "another"}))


_damages = pytest.mark.parametrize(
    "damage",
    [_damage_manifest, _damage_size, _remove_image, _remove_manifest, _change_recipe],
    ids=lambda damage: damage.__name__.strip("_"),
)


def test_an_installed_environment_is_found(own_cache: Settings) -> None:
    place = _install(own_cache)

    found = cache.ensure_environment(own_cache, "debian:12")

    assert found.image == place / "rootfs.ext4"
    assert found.version == "1.0.0"
    assert found.digest == f"sha256:{sha256(_CONTENT).hexdigest()}"


def test_finding_what_is_there_loads_nothing_that_builds(own_cache: Settings) -> None:
    """This is on the path of every run; each of these modules costs more than the search."""
    _install(own_cache)
    script = """
import sys
from pyro_mcp.config import Settings
settings = Settings.from_environment()
before = set(sys.modules)
from pyro_mcp.environments import cache
cache.ensure_images(settings, "debian:12")
heavy = ("subprocess", "tomllib", "hashlib", "tarfile", "tempfile", "shutil", "ctypes")
print(*[name for name in heavy if name in sys.modules.keys() - before])
"""
    cache.blank_disk(own_cache)

    finished = subprocess.run(
        [sys.executable, "-c", script],
        env=environment_of(own_cache),
        capture_output=True,
        text=True,
        check=True,
    )

    assert finished.stdout.strip() == ""


def test_a_changed_catalogue_is_noticed_although_it_is_remembered(own_cache: Settings) -> None:
    own_cache.catalogue.write_text('[[environment]]\nname = "lab"\nsuite = "bookworm"\n')
    before = cache.wanted(own_cache, "lab")
    assert cache.wanted(own_cache, "lab") == before

    own_cache.catalogue.write_text('[[environment]]\nname = "lab"\nsuite = "trixie"\n')
    assert cache.wanted(own_cache, "lab") != before

    own_cache.catalogue.unlink()
    with pytest.raises(UnknownEnvironmentError):
        cache.wanted(own_cache, "lab")


def test_another_users_catalogue_is_not_taken_for_ours(own_cache: Settings, tmp_path: Path) -> None:
    """What is remembered lies in the cache, and a cache may serve several catalogues."""
    own_cache.catalogue.write_text('[[environment]]\nname = "lab"\nsuite = "bookworm"\n')
    cache.wanted(own_cache, "lab")
    other = dataclasses.replace(own_cache, catalogue=tmp_path / "other.toml")

    with pytest.raises(UnknownEnvironmentError):
        cache.wanted(other, "lab")


def test_a_damaged_memory_of_the_catalogue_does_no_harm(own_cache: Settings) -> None:
    for text in ("", "{", "[]", "{}", '{"stamps": [[]]}', '{"stamps": [], "entries": 1}'):
        (own_cache.cache_dir / "catalogue.json").write_text(text)

        assert cache.wanted(own_cache, "debian:12").version == "1.0.0"


def test_an_unknown_name_is_refused_before_anything_is_made(empty_cache: Settings) -> None:
    for ask in (cache.ensure_environment, cache.ensure_images, cache.pull_environment):
        with pytest.raises(UnknownEnvironmentError):
            ask(empty_cache, "debain:12")

    assert not empty_cache.cache_dir.exists()


def test_a_catalogue_that_cannot_be_used_stops_everything(empty_cache: Settings) -> None:
    empty_cache.catalogue.write_text("[[environment")

    for ask in (cache.ensure_environment, cache.inspect_environment):
        with pytest.raises(CatalogueError):
            ask(empty_cache, "debian:12")


def test_listing_builds_nothing_and_has_the_contracts_fields(empty_cache: Settings) -> None:
    listed = cache.list_environments(empty_cache)

    assert [item["name"] for item in listed][:2] == ["debian:12", "debian:12-base"]
    assert all(item.keys() >= _DESCRIBED for item in listed)
    assert not any(item["installed"] for item in listed)
    assert listed[0]["source_digest"] is None
    assert listed[0]["install_dir"].endswith("/linux-x86_64/debian_12-1.0.0")
    assert not empty_cache.cache_dir.exists()


def test_inspecting_an_installed_one_tells_manifest_and_versions(own_cache: Settings) -> None:
    place = _install(own_cache)

    found = cache.inspect_environment(own_cache, "debian:12")

    assert found["installed"] is True
    assert found["install_manifest"] == str(place / "environment.json")
    assert found["packages"] == {"git": "1:2.39"}
    assert "install_manifest" not in cache.inspect_environment(own_cache, "debian:13")


def test_pulling_what_is_there_names_the_files_of_a_machine(own_cache: Settings) -> None:
    place = _install(own_cache)

    pulled = cache.pull_environment(own_cache, "debian:12")

    assert pulled["rootfs_image"] == str(place / "rootfs.ext4")
    assert pulled["kernel_image"] == str(cache.runtime_place(own_cache) / "jail/linux")
    assert pulled["source"] == "debian archive (bookworm)"
    assert pulled["installed"] is True


@_damages
def test_a_damaged_entry_counts_as_not_installed_and_says_why(
    own_cache: Settings, damage: object
) -> None:
    place = _install(own_cache)
    assert callable(damage)
    damage(place)

    found = cache.inspect_environment(own_cache, "debian:12")

    assert found["installed"] is False
    assert found["problem"]


@_damages
def test_a_damaged_entry_is_built_again(
    own_cache: Settings, damage: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYRO_DEBIAN_MIRROR", "file:///nonexistent")
    place = _install(own_cache)
    assert callable(damage)
    damage(place)
    said = []

    with pytest.raises(EnvironmentBuildError):
        cache.ensure_environment(
            own_cache, "debian:12", progress=lambda phase, fraction: said.append(phase)
        )

    assert any("built again" in phase for phase in said)
    assert place.exists(), "what is there is removed only when its successor is whole"


def test_verifying_finds_a_changed_byte(own_cache: Settings) -> None:
    place = _install(own_cache)
    cache.verify_environment(own_cache, "debian:12")

    (place / cache.IMAGE).write_bytes(b"I" + _CONTENT[1:])

    with pytest.raises(CacheCorruptError, match="pyro env pull"):
        cache.verify_environment(own_cache, "debian:12")


def test_pruning_removes_what_is_not_current_and_nothing_else(own_cache: Settings) -> None:
    environments = cache.platform_place(own_cache)
    kept = _install(own_cache)
    _damage_manifest(_install(own_cache, "debian:13"))
    unwanted = ["debian_12-0.9.0", "unknown-1.0.0", ".building-debian_12-1.0.0-abc"]
    for name in unwanted:
        (environments / name / "sub").mkdir(parents=True)

    pruned = cache.prune_environments(own_cache)

    assert sorted(pruned["deleted_environment_dirs"]) == sorted(
        str(environments / name) for name in (*unwanted, "debian_13-1.0.0")
    )
    assert pruned["count"] == 4
    assert list(environments.iterdir()) == [kept]
    assert cache.ensure_environment(own_cache, "debian:12").image == kept / "rootfs.ext4"


def test_pruning_removes_old_runtimes_and_agents(empty_cache: Settings) -> None:
    current = cache.runtime_place(empty_cache)
    current.mkdir(parents=True)
    (current / "runtime.json").touch()
    (current / "agent-0000.ext4").touch()
    old = current.parent / "linux-x86_64-forky-0000"
    (old / "tree").mkdir(parents=True)

    pruned = cache.prune_environments(empty_cache)

    assert pruned["deleted_environment_dirs"] == []
    assert sorted(pruned["deleted_runtime_files"]) == sorted(
        [str(old), str(current / "agent-0000.ext4")]
    )
    assert [path.name for path in current.iterdir()] == ["runtime.json"]


def test_pruning_an_empty_cache_is_fine(empty_cache: Settings) -> None:
    assert cache.prune_environments(empty_cache)["count"] == 0


def test_a_cache_that_cannot_be_used_is_named_with_its_variable(empty_cache: Settings) -> None:
    empty_cache.cache_dir.write_text("a file")

    with pytest.raises(CacheAccessError, match="PYRO_ENVIRONMENT_CACHE_DIR"):
        cache.ensure_environment(empty_cache, "debian:12")
