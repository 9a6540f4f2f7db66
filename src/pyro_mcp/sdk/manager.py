"""What stands behind `Pyro`: settings, images and the machines of this process, put together."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pyro_mcp.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyro_mcp.machines.registry import Registry
    from pyro_mcp.machines.spec import Images
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
        self._max_active = max_active_vms
        self._workspaces: Store | None = None
        self._machines: Registry | None = None
        self._lock = threading.Lock()

    @property
    def machines(self) -> Registry:
        """The machines of this process."""
        # What one-shot machines need is much to load, and most calls are about workspaces.
        with self._lock:
            if self._machines is None:
                from pyro_mcp.machines.registry import Registry

                self._machines = Registry(
                    self.settings,
                    self._images,
                    engine_name=self._engine_name,
                    max_active=self._max_active,
                )
            return self._machines

    def close(self) -> None:
        """End and delete every machine of this process; may be called twice."""
        if self._machines is not None:
            self._machines.close()
        if self._workspaces is not None:
            self._workspaces.database.close()

    @property
    def workspaces(self) -> Store:
        """The workspaces of this state directory."""
        if self._workspaces is None:
            from pyro_mcp.workspaces.store import Store

            self._workspaces = Store(self.settings, self._images, engine_name=self._engine_name)
        return self._workspaces

    def _images(self, environment: str, progress: Callable[[str, float | None], None]) -> Images:
        from pyro_mcp.environments import cache
        from pyro_mcp.machines.spec import Images

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
