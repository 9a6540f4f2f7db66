"""Public methods about workspaces: their life, their commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from pyro_mcp import config, protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pyro_mcp.machines.cancel import Cancel
    from pyro_mcp.sdk.manager import VmManager

    OnOutput = Callable[[str, bytes], None]
    OnProgress = Callable[[str, float | None], None]


class WorkspaceMethods:
    """See `Pyro`."""

    _manager: VmManager

    def create_workspace(
        self,
        *,
        environment: str,
        vcpu_count: int = config.DEFAULT_VCPU_COUNT,
        mem_mib: int = config.DEFAULT_MEM_MIB,
        ttl_seconds: int = config.DEFAULT_TTL_SECONDS,
        network_policy: str = "off",
        network_allow: Sequence[str] | None = None,
        network_private: Sequence[str] | None = None,
        network_inherit: bool = False,
        network_learn: bool = False,
        allow_host_compat: bool = False,
        seed_path: str | Path | None = None,
        secrets: list[dict[str, str]] | None = None,
        name: str | None = None,
        labels: dict[str, str] | None = None,
        seed_exclude: Sequence[str] = (),
        seed_gitignore: bool = False,
        on_progress: OnProgress | None = None,
    ) -> dict[str, Any]:
        """Make a computer that is kept, and boot it.

        Args:
            environment: A name of the catalogue, such as `debian:12`.
            vcpu_count: CPUs asked for, 1 to 8.
            mem_mib: The guest's memory, 256 to 32768 MiB, held by the host.
            ttl_seconds: Seconds without use until its machine is stopped, 0 for never. Nothing
                is ever removed by time; the next use starts it again.
            network_policy: `off`, `published-ports`, `egress` (outbound, never to this host or
                private ranges) or `egress+published-ports`.
            network_allow: Of that network, only this: names (`example.org`, `*.example.org`),
                addresses and ranges, each with an optional port (`:443`). A name is open at the
                addresses that the guest's resolver answered.
            network_private: Of what is closed otherwise, also these addresses and ranges.
            network_inherit: Give commands the host's proxy variables, package indexes of pip and
                npm, and certificates, and open what those name.
            network_learn: Keep the smallest `network_allow` for all that it asks for, as
                `network_learned` of its status.
            allow_host_compat: Accepted; a workspace always runs in a guest.
            seed_path: Host directory, or archive (`.tar`, `.tar.gz`, `.tgz`, `.tar.zst`, `.zip`),
                that /workspace begins with.
            secrets: Private values for its commands, each `{"name", "value"}` or
                `{"name", "file_path"}`, a UTF-8 file of this host. The guest has them in memory,
                as `/run/pyro-secrets/NAME`; a command has one as a variable when `secret_env`
                says so. What comes back shows `[REDACTED]` instead.
            name: For people, up to 120 characters.
            labels: For programs that look for their workspaces.
            seed_exclude: Patterns as in a `.gitignore` of what of it stays behind.
            seed_gitignore: Leave behind what its `.gitignore` files name.
            on_progress: Called with each phase and how much of it is done.

        Raises:
            ValueError: A parameter that cannot be used; nothing was made.
            RuntimeError: This host, the environment or the guest failed; nothing is left.
        """
        from pyro_mcp.workspaces import lifecycle

        return lifecycle.create(
            self._manager.workspaces,
            environment=environment,
            vcpu_count=vcpu_count,
            mem_mib=mem_mib,
            ttl_seconds=ttl_seconds,
            network_policy=network_policy,
            network_allow=network_allow or (),
            network_private=network_private or (),
            network_inherit=network_inherit,
            network_learn=network_learn,
            name=name,
            labels=labels,
            seed_path=seed_path,
            seed_exclude=seed_exclude,
            seed_gitignore=seed_gitignore,
            secrets=secrets,
            progress=on_progress or _quiet,
        ).to_dict()

    def list_workspaces(self) -> dict[str, Any]:
        """Every workspace, the one last used first."""
        from pyro_mcp.workspaces import lifecycle

        return lifecycle.list_all(self._manager.workspaces).to_dict()

    def status_workspace(self, workspace_id: str) -> dict[str, Any]:
        """What can be said of a workspace now."""
        from pyro_mcp.workspaces import lifecycle

        return lifecycle.look(self._manager.workspaces, workspace_id).to_dict()

    def update_workspace(
        self,
        workspace_id: str,
        *,
        name: str | None = None,
        clear_name: bool = False,
        labels: dict[str, str] | None = None,
        clear_labels: list[str] | None = None,
        ttl_seconds: int | None = None,
        network_policy: str | None = None,
        network_allow: Sequence[str] | None = None,
        network_private: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Change name, labels, time to live and network; what is left out stays.

        Labels merge key by key; the lists of the network are replaced, an empty one clears. A
        network policy is in force at once, and resets connections that it does not allow.

        Raises:
            RuntimeError: This host gives it no network, or its gateway has ended.
        """
        from pyro_mcp.workspaces import lifecycle

        return lifecycle.update(
            self._manager.workspaces,
            workspace_id,
            name=name,
            clear_name=clear_name,
            labels=labels,
            clear_labels=clear_labels,
            ttl_seconds=ttl_seconds,
            network_policy=network_policy,
            network_allow=network_allow,
            network_private=network_private,
        ).to_dict()

    def network_log(
        self, workspace_id: str, *, verdict: str | None = None, limit: int = 100
    ) -> dict[str, Any]:
        """What a workspace reached and tried to reach, oldest first.

        Args:
            workspace_id: Which.
            verdict: Only `allowed`, `denied` or `failed` (allowed, but nobody was there).
            limit: The latest so many, up to 1000.

        Returns:
            `entries` with time, protocol, name, address, port, verdict, rule, bytes; denied ones
            with a `message`. `network_learned` is the smallest `network_allow` for all of them.
        """
        from pyro_mcp.workspaces import networking

        return networking.log(
            self._manager.workspaces, workspace_id, verdict=verdict, limit=limit
        ).to_dict()

    def start_workspace(self, workspace_id: str) -> dict[str, Any]:
        """Boot a stopped workspace; one that runs is left alone."""
        from pyro_mcp.workspaces import lifecycle

        return lifecycle.start(self._manager.workspaces, workspace_id).to_dict()

    def stop_workspace(self, workspace_id: str) -> dict[str, Any]:
        """Flush a workspace's disk and end its machine; disk, snapshots and history stay."""
        from pyro_mcp.workspaces import lifecycle

        return lifecycle.stop(self._manager.workspaces, workspace_id).to_dict()

    def delete_workspace(self, workspace_id: str) -> dict[str, Any]:
        """End a workspace's machine and remove everything of it."""
        from pyro_mcp.workspaces import lifecycle

        return lifecycle.delete(self._manager.workspaces, workspace_id).to_dict()

    def prune_workspaces(self, *, older_than_seconds: float) -> dict[str, Any]:
        """Remove the stopped workspaces that nobody has used for that long."""
        from pyro_mcp.workspaces import lifecycle

        gone = lifecycle.prune(self._manager.workspaces, older_than_seconds=older_than_seconds)
        return {"deleted_workspace_ids": [one.workspace_id for one in gone], "count": len(gone)}

    def exec_workspace(
        self,
        workspace_id: str,
        *,
        command: str,
        timeout_seconds: int = config.DEFAULT_TIMEOUT_SECONDS,
        secret_env: dict[str, str] | None = None,
        cwd: str = protocol.WORKSPACE,
        env: dict[str, str] | None = None,
        stdin: BinaryIO | bytes | None = None,
        on_output: OnOutput | None = None,
        keep_output: bool = True,
        cancel: Cancel | None = None,
    ) -> dict[str, Any]:
        """Run one shell command in a workspace and record it.

        A stopped workspace is started first; `workspace_started` of the result says so.

        Args:
            workspace_id: Which.
            command: What the guest's `/bin/sh -lc` is given.
            timeout_seconds: Then TERM, KILL, and exit code 124.
            secret_env: Secrets of the workspace for this command: name → variable.
            cwd: A directory of the guest; a relative one is below /workspace.
            env: Variables for this command.
            stdin: The command's input; nothing when left out.
            on_output: Called with ("stdout" or "stderr", bytes) as output comes.
            keep_output: False leaves `stdout` and `stderr` of the result empty.
            cancel: Ends the call and the command when it is triggered; nothing is recorded then.
        """
        from pyro_mcp.workspaces import commands

        return commands.execute(
            self._manager.workspaces,
            workspace_id,
            command=command,
            timeout_seconds=timeout_seconds,
            cwd=cwd,
            env=env,
            secret_env=secret_env,
            stdin=stdin,
            on_output=on_output,
            keep_output=keep_output,
            cancel=cancel,
        ).to_dict()

    def logs_workspace(self, workspace_id: str) -> dict[str, Any]:
        """The history of a workspace's commands, oldest first, outputs bounded."""
        from pyro_mcp.workspaces import commands

        return commands.logs(self._manager.workspaces, workspace_id).to_dict()


def _quiet(_phase: str, _fraction: float | None) -> None:
    return
