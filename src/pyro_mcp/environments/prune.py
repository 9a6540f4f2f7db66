"""Removing from the cache what no current environment, and no current pyro, needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp.environments import cache, keys
from pyro_mcp.environments.archive import discard
from pyro_mcp.environments.workshop import lock_place, target_name, unfinished
from pyro_mcp.host.locks import locked_if_free

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyro_mcp.config import Settings


def prune(settings: Settings) -> dict[str, Any]:
    """Remove it, and give what was removed; what another process builds now is left alone."""
    environments = cache.platform_place(settings)
    entries = cache.load(settings).entries.values()
    current = {
        entry.directory_name
        for entry in entries
        if cache.find_installed(settings, cache.Wanted(entry.name, entry.version, entry.recipe))
    }
    deleted = [
        str(path)
        for path in _directories(environments)
        if path.name not in current and _remove(settings, path)
    ]
    others = [str(path) for path in _other_leftovers(settings) if _remove(settings, path)]
    return {
        "deleted_environment_dirs": deleted,
        "count": len(deleted),
        "deleted_runtime_files": others,
    }


def _other_leftovers(settings: Settings) -> Iterator[Path]:
    place = cache.runtime_place(settings)
    for path in _directories(place.parent):
        if path != place:
            yield path
    if place.is_dir():
        agent = f"agent-{keys.agent_key(keys.agent_sources())}.ext4"
        for path in sorted(place.glob("agent-*.ext4")):
            if path.name != agent:
                yield path
        yield from unfinished(place)


def _directories(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())


def _remove(settings: Settings, path: Path) -> bool:
    # Its builder holds the entry's lock for as long as it lives.
    entry = path.with_name(target_name(path)) if path in unfinished(path.parent) else path
    with locked_if_free(lock_place(settings, entry)) as held:
        if held:
            discard(path)
        return held
