"""Public methods about environments: the images that machines are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.sdk.manager import VmManager


class EnvironmentMethods:
    """See `Pyro`."""

    _manager: VmManager

    def list_environments(self) -> list[dict[str, Any]]:
        """Every environment of the catalogue, installed or not; builds nothing."""
        from pyro_mcp.environments import cache

        return cache.list_environments(self._manager.settings)

    def inspect_environment(self, environment: str) -> dict[str, Any]:
        """One environment; builds nothing.

        Raises:
            ValueError: No environment has that name.
        """
        from pyro_mcp.environments import cache

        return cache.inspect_environment(self._manager.settings, environment)

    def pull_environment(
        self,
        environment: str,
        *,
        on_progress: Callable[[str, float | None], None] | None = None,
    ) -> dict[str, Any]:
        """Build an environment into the cache, unless it is there.

        `on_progress` is called with each phase and, where it is known, how much of it is done
        (0 to 1).

        Raises:
            ValueError: No environment has that name.
            RuntimeError: It cannot be built; the message says what is missing.
        """
        from pyro_mcp.environments import cache

        return cache.pull_environment(
            self._manager.settings, environment, progress=on_progress or _quiet
        )

    def prune_environments(self) -> dict[str, Any]:
        """Remove what no environment of the catalogue needs any more."""
        from pyro_mcp.environments import cache

        return cache.prune_environments(self._manager.settings)


def _quiet(_phase: str, _fraction: float | None) -> None:
    return
