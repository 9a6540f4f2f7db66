"""Public methods about shells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp import protocol

if TYPE_CHECKING:
    from pyro_mcp.machines.cancel import Cancel
    from pyro_mcp.sdk.manager import VmManager
    from pyro_mcp.workspaces.shell_attach import ShellAttachment as ShellAttachment


class ShellMethods:
    """See `Pyro`."""

    _manager: VmManager

    def open_shell(
        self,
        workspace_id: str,
        *,
        cwd: str = protocol.WORKSPACE,
        cols: int = 120,
        rows: int = 30,
        secret_env: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Start a shell in a terminal of the workspace.

        It goes on by itself until it is closed, its program ends, or the workspace is stopped,
        reset or deleted. A stopped workspace is started first; `workspace_started` says so.

        Args:
            workspace_id: Which.
            cwd: A directory below /workspace.
            cols: Width of the terminal, 1 to 2000.
            rows: Its height, 1 to 2000.
            secret_env: Secrets of the workspace for this shell: name → variable.

        Raises:
            ValueError: A parameter that cannot be used.
            RuntimeError: It cannot be started: `cwd` is not there, or there are 32 shells.
        """
        from pyro_mcp.workspaces import shells

        return shells.open_shell(
            self._manager.workspaces,
            workspace_id,
            cwd=cwd,
            cols=cols,
            rows=rows,
            secret_env=secret_env,
        ).to_dict()

    def list_shells(self, workspace_id: str) -> dict[str, Any]:
        """The shells that are not closed, in the order they were opened."""
        from pyro_mcp.workspaces import shells

        return shells.list_shells(self._manager.workspaces, workspace_id).to_dict()

    def read_shell(
        self,
        workspace_id: str,
        shell_id: str,
        *,
        cursor: int = 0,
        max_chars: int = 65536,
        plain: bool = False,
        wait_for_idle_ms: int | None = None,
        cancel: Cancel | None = None,
    ) -> dict[str, Any]:
        """What a shell wrote, from a position of its whole output on. Takes nothing away.

        The last MiB is kept. Where `cursor` lies before it, reading begins at the oldest byte,
        and `dropped_bytes` says how much is missing.

        Args:
            workspace_id: Which workspace.
            shell_id: Which of its shells.
            cursor: Bytes to pass over: 0, or `next_cursor` of an earlier read.
            max_chars: Length of `output` at most.
            plain: Give what a person would see instead of what the terminal got.
            wait_for_idle_ms: First wait until nothing came for so long (1 to 10000), the shell
                has ended, or there are `max_chars`; for 30 seconds at most.
            cancel: Ends the wait when it is triggered.

        Raises:
            ValueError: No such shell, or a parameter that cannot be used.
            RuntimeError: The workspace is not running, or it was cancelled.
        """
        from pyro_mcp.workspaces import shells

        return shells.read_shell(
            self._manager.workspaces,
            workspace_id,
            shell_id,
            cursor=cursor,
            max_chars=max_chars,
            plain=plain,
            wait_for_idle_ms=wait_for_idle_ms,
            cancel=cancel,
        ).to_dict()

    def write_shell(
        self,
        workspace_id: str,
        shell_id: str,
        *,
        input: str,
        append_newline: bool = True,
    ) -> dict[str, Any]:
        """Type text, as at a keyboard; returns when the terminal has taken it.

        Args:
            workspace_id: Which workspace.
            shell_id: Which of its shells.
            input: Text of at most 16 MiB; control characters are keys, `\\x03` for Ctrl-C.
            append_newline: Whether to press Enter at its end.

        Raises:
            ValueError: No such shell, or too much input.
            RuntimeError: The shell has ended, or its program reads no input; what was taken
                until then is said, and cannot be taken back.
        """
        from pyro_mcp.workspaces import shells

        return shells.write_shell(
            self._manager.workspaces,
            workspace_id,
            shell_id,
            text=input,
            append_newline=append_newline,
        ).to_dict()

    def resize_shell(
        self, workspace_id: str, shell_id: str, *, cols: int, rows: int
    ) -> dict[str, Any]:
        """Give a shell's terminal another size; what runs in it is told."""
        from pyro_mcp.workspaces import shells

        return shells.resize_shell(
            self._manager.workspaces, workspace_id, shell_id, cols=cols, rows=rows
        ).to_dict()

    def signal_shell(
        self, workspace_id: str, shell_id: str, *, signal_name: str = "INT"
    ) -> dict[str, Any]:
        """Send HUP, INT, TERM or KILL to what has the terminal: a job, or the shell itself."""
        from pyro_mcp.workspaces import shells

        return shells.signal_shell(
            self._manager.workspaces, workspace_id, shell_id, signal_name=signal_name
        ).to_dict()

    def close_shell(self, workspace_id: str, shell_id: str) -> dict[str, Any]:
        """Hang up a shell's terminal, kill what is left of what ran in it, and forget it."""
        from pyro_mcp.workspaces import shells

        return shells.close_shell(self._manager.workspaces, workspace_id, shell_id).to_dict()

    def attach_shell(self, workspace_id: str, shell_id: str) -> ShellAttachment:
        """Connect to a shell live: what it writes as it comes, and its keyboard.

        For programs that offer a terminal. Wait for its `fileno`, then `receive`; `send` types.
        Closing it, which `with` does, leaves the shell running.
        """
        from pyro_mcp.workspaces.shell_attach import ShellAttachment

        return ShellAttachment(self._manager.workspaces, workspace_id, shell_id)
