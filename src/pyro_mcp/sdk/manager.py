"""What stands behind `Pyro`: settings, images and the machines of this process, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.config import Settings
from pyro_mcp.machines.registry import Registry
from pyro_mcp.machines.spec import Images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyro_mcp.workspaces.store import Store


class VmManager:
    """One per program is enough; cheap to make, and looks at nothing until it is used."""

    def __init__(
        self,
        *,
        backend_name: str | None = None,
        base_dir: Path | None = None,
        cache_dir: Path | None = None,
        max_active_vms: int | None = None,
    ) -> None:
        """See `Pyro`, which takes the same."""
        self.settings = Settings.from_environment(cache_dir=cache_dir, state_dir=base_dir)
        self._engine_name = backend_name
        self._workspaces: Store | None = None
        self.machines = Registry(
            self.settings, self._images, engine_name=backend_name, max_active=max_active_vms
        )

    @property
    def workspaces(self) -> Store:
        """The workspaces of this state directory."""
        if self._workspaces is None:
            from pyro_mcp.workspaces.store import Store

            self._workspaces = Store(self.settings, self._images, engine_name=self._engine_name)
        return self._workspaces

    def _images(self, environment: str, progress: Callable[[str, float | None], None]) -> Images:
        from pyro_mcp.environments import cache

        runtime, installed, blank = cache.ensure_images(
            self.settings, environment, progress=progress
        )
        return Images(
            jail_root=runtime.jail_root,
            agent_image=runtime.agent_image,
            environment_image=installed.image,
            environment_version=installed.version,
            blank_disk=blank,
        )
