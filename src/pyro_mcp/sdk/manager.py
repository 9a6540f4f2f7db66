"""What stands behind `Pyro`: settings, images and the machines of this process, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.config import Settings
from pyro_mcp.machines.registry import Registry
from pyro_mcp.machines.spec import Images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
        self.machines = Registry(
            self.settings, self._images, engine_name=backend_name, max_active=max_active_vms
        )

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
