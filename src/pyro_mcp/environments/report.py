"""What there is to say about environments, in the contract's shapes; builds nothing."""

from __future__ import annotations

from hashlib import file_digest
from typing import TYPE_CHECKING, Any

from pyro_mcp.config import PLATFORM
from pyro_mcp.environments import cache
from pyro_mcp.errors import CacheCorruptError

if TYPE_CHECKING:
    from pyro_mcp.config import Settings
    from pyro_mcp.environments.catalogue import Catalogue, Entry

_COMPATIBILITY = "x86-64, every engine"
_REBUILD = "Remove that directory; the next run or 'pyro env pull' builds it again."


def list_all(settings: Settings) -> list[dict[str, Any]]:
    """Every environment of the catalogue, in its order."""
    catalogue = cache.load(settings)
    return [_described(settings, catalogue, entry) for entry in catalogue.entries.values()]


def inspect(settings: Settings, name: str) -> dict[str, Any]:
    """One environment; of an installed one also its packages with their versions."""
    catalogue = cache.load(settings)
    entry = catalogue.entry(name)
    described = _described(settings, catalogue, entry)
    found = cache.find_installed(settings, _wanted(entry))
    if found is not None:
        manifest = cache.read_manifest(found.manifest) or {}
        described["install_manifest"] = str(found.manifest)
        described["packages"] = manifest.get("packages", {})
    return described


def pulled(settings: Settings, name: str) -> dict[str, Any]:
    """An installed environment, with the files that a machine is made from."""
    runtime = cache.ensure_runtime(settings)
    place = cache.install_place(settings, cache.wanted(settings, name))
    manifest = cache.read_manifest(place / cache.MANIFEST) or {}
    return {
        **inspect(settings, name),
        "kernel_image": str(runtime.kernel),
        "rootfs_image": str(place / cache.IMAGE),
        "source": manifest.get("source", "debian archive"),
    }


def verify(settings: Settings, name: str) -> None:
    """Compare the image with its manifest; see `cache.verify_environment`."""
    entry = cache.load(settings).entry(name)
    place = cache.install_place(settings, entry)
    found = cache.find_installed(settings, _wanted(entry))
    if found is None:
        problem = _problem(settings, entry) or "is not there"
        raise CacheCorruptError(place, problem, hint=_REBUILD)
    with found.image.open("rb") as content:
        digest = file_digest(content, "sha256").hexdigest()
    if f"sha256:{digest}" != found.digest:
        raise CacheCorruptError(
            place, f"has an image of the digest {digest}, not the recorded one", hint=_REBUILD
        )


def _described(settings: Settings, catalogue: Catalogue, entry: Entry) -> dict[str, Any]:
    place = cache.install_place(settings, entry)
    found = cache.find_installed(settings, _wanted(entry))
    described: dict[str, Any] = {
        "name": entry.name,
        "version": entry.version,
        "description": entry.description,
        "default_packages": list(entry.packages),
        "distribution": "debian",
        "distribution_version": entry.distribution_version,
        "platform": PLATFORM,
        "oci_registry": None,
        "oci_repository": None,
        "oci_reference": None,
        "source_digest": found.digest if found else None,
        "compatibility": _COMPATIBILITY,
        "catalog_version": catalogue.version,
        "installed": found is not None,
        "cache_dir": str(settings.cache_dir),
        "install_dir": str(place),
        "suite": entry.suite,
    }
    if found is not None:
        manifest = cache.read_manifest(found.manifest) or {}
        described["size_bytes"] = found.image.stat().st_blocks * 512
        described["built_at"] = manifest.get("built_at")
    elif problem := _problem(settings, entry):
        described["problem"] = problem
    return described


def _problem(settings: Settings, entry: Entry) -> str | None:
    place = cache.install_place(settings, entry)
    if not place.exists():
        return None
    manifest = cache.read_manifest(place / cache.MANIFEST)
    if manifest is None:
        return "has no readable manifest"
    if manifest.get("recipe") != entry.recipe:
        return "was built from another recipe"
    return "has no image of the recorded size"


def _wanted(entry: Entry) -> cache.Wanted:
    return cache.Wanted(entry.name, entry.version, entry.recipe)
