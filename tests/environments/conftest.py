"""One built runtime for all, and caches of a test's own that share it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pyro_mcp.config import Settings
from pyro_mcp.environments import cache
from tests.environments.support import share_runtime


@pytest.fixture(scope="session")
def runtime() -> cache.Runtime:
    """The runtime of the real cache; built now if it is not there."""
    return cache.ensure_runtime(Settings.from_environment())


@pytest.fixture
def empty_cache(settings: Settings, tmp_path: Path) -> Settings:
    """A cache with nothing in it, and no catalogue of the user's yet."""
    return dataclasses.replace(
        settings, cache_dir=tmp_path / "cache", catalogue=tmp_path / "environments.toml"
    )


@pytest.fixture
def own_cache(empty_cache: Settings, runtime: cache.Runtime) -> Settings:
    """A cache with a runtime of its own that was not built again, and no environment."""
    share_runtime(runtime, empty_cache)
    return empty_cache
