"""A live connection to a shell: what it writes as it comes, and its keyboard."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from pyro_mcp import protocol
from pyro_mcp.errors import GuestLostError
from pyro_mcp.machines import shells as guest
from pyro_mcp.workspaces import secrets, shells
from pyro_mcp.workspaces.shell_text import LiveText, held_back

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

    from pyro_mcp.workspaces.store import Store

QUIET_SECONDS = 0.1
"""After so long without output, what was held back is shown if it gives nothing away."""


class ShellAttachment:
    """Use it with `with`, or call `close`: the shell goes on without it.

    While it is open the workspace counts as used. Any number of processes may be attached to one
    shell at a time.
    """

    def __init__(self, store: Store, workspace_id: str, shell_id: str) -> None:
        self.workspace_id = workspace_id
        self.shell_id = shell_id
        self._store = store
        self._watch = secrets.watch(store, workspace_id)
        self._live = LiveText(self._watch.redactor)
        self._last_came = time.monotonic()
        self._finished = False
        shells.check_shell_id(store, workspace_id, shell_id)
        with ExitStack() as owned:
            owned.enter_context(store.place(workspace_id).in_use())
            self._stream = shells.asking(store, workspace_id, self._begin)
            owned.callback(self._stream.close)
            store.touch(workspace_id)
            self._owned = owned.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def ended(self) -> dict[str, Any] | None:
        """The shell, once it has ended and all its output was received; until then None."""
        if not self._finished or self._stream.ended is None:
            return None
        return shells.record(self._store, self.workspace_id, self._stream.ended).to_dict()

    @property
    def dropped_bytes(self) -> int:
        """Output that was missed, because it was not received in time."""
        return self._stream.dropped_bytes

    @property
    def redacted(self) -> bool:
        """Whether the value of a secret was left out of what was received."""
        return self._live.redacted

    @property
    def patience_seconds(self) -> float | None:
        """How long to wait for `fileno` before `receive` is called anyway; None for ever."""
        if self._stream.ended is not None:
            return 0.0
        return QUIET_SECONDS if self._live.holding else None

    def fileno(self) -> int:
        """Descriptor that becomes readable when there is something to receive."""
        return self._stream.fileno()

    def screen(self) -> bytes:
        """What brings a terminal to the state that the shell's output has left so far.

        Without colours; of a size that `resize` should have given it.
        """
        from pyro_mcp.workspaces import shell_view

        cols, rows = self._size
        redactor = self._watch.redactor()
        return shell_view.painted(self._before, cols=cols, rows=rows, redactor=redactor)

    def receive(self) -> bytes:
        """What came; does not wait.

        Raises:
            UnknownShellError: It was closed before.
            WorkspaceStateError: The workspace was stopped, or its machine ended.
            GuestLostError: The connection broke for another reason.
        """
        with self._machine_that_may_end():
            data = self._stream.receive()
        now = time.monotonic()
        if data:
            self._last_came = now
        if self._stream.ended is not None:
            shown = self._live.feed(data) + self._live.finish()
            self._finished = True
            return shown
        return self._live.feed(data, settled=now - self._last_came >= QUIET_SECONDS)

    def send(self, data: bytes) -> int:
        """Type as much of `data` as can be taken now, and say how much that was.

        What was not taken is to be given again before anything else.

        Raises as `receive`.
        """
        with self._machine_that_may_end():
            return self._stream.send(data)

    def resize(self, cols: int, rows: int) -> None:
        """Give the shell's terminal another size."""
        self._size = cols, rows
        shells.resize_shell(self._store, self.workspace_id, self.shell_id, cols=cols, rows=rows)

    def close(self) -> None:
        """Let go; the shell goes on. May be called twice."""
        self._owned.close()

    @contextmanager
    def _machine_that_may_end(self) -> Iterator[None]:
        try:
            yield
        except GuestLostError as error:
            if self._store.wait_until_stopped(self._store.place(self.workspace_id)):
                raise shells.stopped(self.workspace_id) from error
            raise

    def _begin(self, home: Path) -> guest.ShellStream:
        output = guest.read_shell(
            home,
            self.shell_id,
            cursor=2**62,
            context=protocol.SHELL_CONTEXT,
            max_bytes=1,
            max_chars=1,
            wait_idle_ms=0,
        )
        redactor = self._watch.redactor()
        usable = len(output.data) - held_back(output.data, redactor, settled=True)
        self._before = redactor.part(output.data, 0, usable)[0].decode("utf-8", "replace")
        self._size = output.shell.cols, output.shell.rows
        self._live.feed(output.data, settled=True)
        return guest.ShellStream(home, self.shell_id, output.start)
