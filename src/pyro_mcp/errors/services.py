"""Errors about services and published ports; part of the tree in `pyro_mcp.errors`."""

from __future__ import annotations

from collections.abc import Sequence

from pyro_mcp.errors.base import PyroError


class UnknownServiceError(PyroError, ValueError):
    """A name that no service of the workspace has."""

    code = "unknown_service"

    def __init__(self, workspace_id: str, name: str, known: Sequence[str]) -> None:
        super().__init__(
            f"Workspace {workspace_id} has no service named {name!r}.",
            hint=f"It has: {', '.join(known)}." if known else "Start one with that name first.",
        )


class ServiceRunningError(PyroError, RuntimeError):
    """A service of that name runs; starting another would hide it."""

    code = "service_running"

    def __init__(self, workspace_id: str, name: str) -> None:
        super().__init__(
            f"Service {name!r} of workspace {workspace_id} is running.",
            hint=f"'pyro workspace service stop {workspace_id} {name}' ends it, "
            "'restart' starts it again as it was.",
        )


class NetworkPolicyError(PyroError, RuntimeError):
    """What the network policy of the workspace does not allow."""

    code = "network_policy"

    def __init__(self, wanted: str, *, policy: str, needed: Sequence[str]) -> None:
        super().__init__(
            f"{wanted} needs network_policy {' or '.join(needed)}, and this workspace has "
            f"{policy}.",
            hint=f"'pyro workspace update ID --network-policy {needed[0]}' changes it.",
        )
