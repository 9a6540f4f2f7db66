"""`Pyro`: the public methods of pyro, grouped by what they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.sdk.disks import DiskMethods
from pyro_mcp.sdk.environments import EnvironmentMethods
from pyro_mcp.sdk.files import FileMethods
from pyro_mcp.sdk.manager import VmManager
from pyro_mcp.sdk.secrets import SecretMethods
from pyro_mcp.sdk.services import ServiceMethods
from pyro_mcp.sdk.shells import ShellMethods
from pyro_mcp.sdk.snapshots import SnapshotMethods
from pyro_mcp.sdk.vms import VmMethods
from pyro_mcp.sdk.workspaces import WorkspaceMethods

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from pyro_mcp.mcp.server import PyroServer


class Pyro(
    DiskMethods,
    EnvironmentMethods,
    FileMethods,
    SecretMethods,
    ServiceMethods,
    ShellMethods,
    SnapshotMethods,
    VmMethods,
    WorkspaceMethods,
):
    """Disposable Linux computers.

    Cheap to make: nothing of the host is looked at before the first call. Machines made with it
    end with this process at the latest; with `with`, or `close`, they end earlier.

    Args:
        manager: Used as it is when given; the other arguments are then ignored.
        backend_name: The engine to use; the best one that works here when left out.
        base_dir: The state directory, instead of PYRO_STATE_DIR and its default.
        cache_dir: The cache, instead of PYRO_ENVIRONMENT_CACHE_DIR and its default.
        max_active_vms: Refuse to have more machines than this at once; no limit but the
            host's free memory when left out.
    """

    def __init__(
        self,
        manager: VmManager | None = None,
        *,
        backend_name: str | None = None,
        base_dir: Path | None = None,
        cache_dir: Path | None = None,
        max_active_vms: int | None = None,
    ) -> None:
        self._manager = manager or VmManager(
            backend_name=backend_name,
            base_dir=base_dir,
            cache_dir=cache_dir,
            max_active_vms=max_active_vms,
        )

    def create_server(self, *, profile: str = "workspace-full") -> PyroServer:
        """An MCP server over this object, with the tools of a profile; its `run` serves it.

        Raises:
            ValueError: No profile has that name.
        """
        # The one import that points outward: the contract has this method here.
        from pyro_mcp.mcp.server import PyroServer

        return PyroServer(self, profile)

    @property
    def manager(self) -> VmManager:
        """What stands behind this object."""
        return self._manager

    def close(self) -> None:
        """End and delete every machine made with this object; may be called twice."""
        self._manager.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
