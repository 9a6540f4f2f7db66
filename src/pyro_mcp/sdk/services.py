"""Public methods about services: processes of a workspace that go on between calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp import protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.machines.cancel import Cancel
    from pyro_mcp.sdk.manager import VmManager

    OnOutput = Callable[[str, bytes], None]


class ServiceMethods:
    """See `Pyro`."""

    _manager: VmManager

    def start_service(
        self,
        workspace_id: str,
        service_name: str,
        *,
        command: str,
        cwd: str = protocol.WORKSPACE,
        readiness: dict[str, Any] | None = None,
        ready_timeout_seconds: int = 30,
        ready_interval_ms: int = 500,
        secret_env: dict[str, str] | None = None,
        published_ports: list[dict[str, int | None]] | None = None,
        cancel: Cancel | None = None,
    ) -> dict[str, Any]:
        """Start a service and wait until it is ready.

        It goes on between calls and without this process. A stopped workspace is started first.
        A service that fails is a result with `state` "failed", its `stop_reason` and last lines.

        Args:
            workspace_id: Which.
            service_name: Its name in the workspace; one that has ended is replaced.
            command: What the guest's `/bin/sh -lc` is given.
            cwd: A directory below /workspace.
            readiness: One of `{"type": "file", "path"}`, `{"type": "tcp", "address"}`,
                `{"type": "http", "url"}` and `{"type": "command", "command"}`, looked at from
                inside the guest; without it the service is ready at once.
            ready_timeout_seconds: How long to wait; after it the service is stopped.
            ready_interval_ms: The longest pause between two looks.
            secret_env: Secret → variable, for this service alone.
            published_ports: `{"guest_port", "host_port" (null: a free one)}` each: listens on
                127.0.0.1 of this host as long as the service runs.
            cancel: Ends the wait, and stops the service, when it is triggered.

        Raises:
            ValueError: A parameter that cannot be used; nothing was done.
            RuntimeError: A service of that name runs, the policy publishes no ports, the guest
                failed, or it was cancelled.
        """
        from pyro_mcp.workspaces import services

        return services.start(
            self._manager.workspaces,
            workspace_id,
            service_name,
            command=command,
            cwd=cwd,
            readiness=readiness,
            ready_timeout_seconds=ready_timeout_seconds,
            ready_interval_ms=ready_interval_ms,
            secret_env=secret_env,
            published_ports=published_ports,
            cancel=cancel,
        ).to_dict()

    def restart_service(
        self, workspace_id: str, service_name: str, *, cancel: Cancel | None = None
    ) -> dict[str, Any]:
        """Stop a service, if it runs, and start it again as it was started last."""
        from pyro_mcp.workspaces import services

        return services.restart(
            self._manager.workspaces, workspace_id, service_name, cancel=cancel
        ).to_dict()

    def list_services(self, workspace_id: str) -> dict[str, Any]:
        """All services of a workspace with their state, sorted by name."""
        from pyro_mcp.workspaces import services

        return services.list_all(self._manager.workspaces, workspace_id).to_dict()

    def status_service(self, workspace_id: str, service_name: str) -> dict[str, Any]:
        """What can be said of a service now."""
        from pyro_mcp.workspaces import services

        return services.status(self._manager.workspaces, workspace_id, service_name).to_dict()

    def logs_service(
        self,
        workspace_id: str,
        service_name: str,
        *,
        tail_lines: int = 200,
        all: bool = False,
    ) -> dict[str, Any]:
        """The last lines of a service's two streams, or with `all` everything that is kept."""
        from pyro_mcp.workspaces import service_logs

        return service_logs.read(
            self._manager.workspaces,
            workspace_id,
            service_name,
            tail_lines=tail_lines,
            all_lines=all,
        ).to_dict()

    def follow_service(
        self,
        workspace_id: str,
        service_name: str,
        *,
        on_output: OnOutput,
        tail_lines: int = 200,
        all: bool = False,
    ) -> dict[str, Any]:
        """Pass on a service's last lines, then what it writes until it has ended.

        `on_output` is called with ("stdout" or "stderr", bytes); an exception of it ends the
        following, and the service goes on.
        """
        from pyro_mcp.workspaces import service_logs

        return service_logs.follow(
            self._manager.workspaces,
            workspace_id,
            service_name,
            on_output=on_output,
            tail_lines=tail_lines,
            all_lines=all,
        ).to_dict()

    def stop_service(self, workspace_id: str, service_name: str) -> dict[str, Any]:
        """End a service with all it started: TERM, and five seconds later KILL."""
        from pyro_mcp.workspaces import services

        return services.stop(self._manager.workspaces, workspace_id, service_name).to_dict()
