"""The images that machines of tests are made from: those of the real cache, built when missing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyro_mcp.config import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.machines.spec import Images


def images_with(
    kernel: str, environment: str = "debian:12", *, catalogue: Path | None = None
) -> Images:
    """With one of the kernels, whatever PYRO_KERNEL says; `catalogue` has the environment."""
    from pyro_mcp.environments import cache
    from pyro_mcp.machines.spec import Images

    settings = replace(Settings.from_environment(), kernel=kernel)
    if catalogue is not None:
        settings = replace(settings, catalogue=catalogue)
    runtime, installed, blank = cache.ensure_images(settings, environment)
    return Images(
        jail_root=runtime.jail_root,
        agent_image=runtime.agent_image,
        environment_image=installed.image,
        environment_version=installed.version,
        blank_disk=blank,
    )
