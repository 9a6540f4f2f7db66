"""A tool call of a client: run in a thread, told about as it goes, ended when it is cancelled."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import mcp_types as types

from pyro_mcp.sdk.cancel import Cancel
from pyro_mcp.tools import Context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mcp.server.context import ServerRequestContext

    from pyro_mcp.tools import Toolset

CALLS_AT_ONCE = 200
"""Each has a thread, which mostly waits for a guest."""
LOOK_SECONDS = 0.25
HEARTBEAT_SECONDS = 5.0
"""Hosts give up on a call that is silent for a minute."""
PIECE_CHARS = 2000
"""Of output, in one progress message; of more than that the end is sent."""
STREAMED_CHARS = 64 * 1024
"""Of output, in all progress messages of one call; after it only the time is told."""
_ENDING_SECONDS = 10.0


class Calls:
    """The calls of one server, all that run now."""

    def __init__(self, toolset: Toolset) -> None:
        self._toolset = toolset
        self._limiter: anyio.CapacityLimiter | None = None
        self._running: set[Cancel] = set()
        self._idle = threading.Condition()

    async def handle(
        self, asked: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        """Answer `tools/call`."""
        cancel, news = Cancel(), _News()

        def progressed(phase: str, fraction: float | None) -> None:
            cancel.check()  # slow work that is no command ends at its next report
            news.phase(phase, fraction)

        context = Context(cancel=cancel, on_output=news.output, on_progress=progressed)
        async with anyio.create_task_group() as tasks:
            if (asked.meta or {}).get("progress_token") is not None:
                tasks.start_soon(_report, asked, news)
            answer = await self._in_thread(cancel, params.name, params.arguments or {}, context)
            tasks.cancel_scope.cancel()
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=answer.text)],
            structured_content=answer.structured,
            is_error=answer.is_error,
        )

    async def _in_thread(
        self, cancel: Cancel, name: str, arguments: Mapping[str, Any], context: Context
    ) -> Any:
        if self._limiter is None:  # needs a running event loop
            self._limiter = anyio.CapacityLimiter(CALLS_AT_ONCE)

        def call() -> Any:
            with self._counted(cancel):
                return self._toolset.call(name, arguments, context)

        try:
            return await anyio.to_thread.run_sync(
                call, abandon_on_cancel=True, limiter=self._limiter
            )
        except anyio.get_cancelled_exc_class():
            cancel.trigger()
            raise

    @contextmanager
    def _counted(self, cancel: Cancel) -> Iterator[None]:
        with self._idle:
            self._running.add(cancel)
        try:
            yield
        finally:
            with self._idle:
                self._running.discard(cancel)
                self._idle.notify_all()

    def end(self) -> bool:
        """End every call, and wait until all have; False if some take too long."""
        self.trigger()
        with self._idle:
            return self._idle.wait_for(lambda: not self._running, timeout=_ENDING_SECONDS)

    def trigger(self) -> None:
        """Have every call end soon."""
        with self._idle:
            running = list(self._running)
        for cancel in running:
            cancel.trigger()


class _News:
    """What a call has to tell; written by its thread, read by the event loop."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self._lock = threading.Lock()
        self._phase = ""
        self._output = b""
        self._left = STREAMED_CHARS

    def phase(self, phase: str, fraction: float | None) -> None:
        with self._lock:
            self._phase = phase if fraction is None else f"{phase}, {fraction:.0%}"

    def output(self, _stream: str, data: bytes) -> None:
        with self._lock:
            self._phase = ""  # it has come to what the output is from
            if self._left > 0:
                # A character is up to four bytes, and the end is what counts.
                self._output = (self._output + data)[-4 * PIECE_CHARS :]

    def take(self) -> str | None:
        """What is new: output, or the phase; None when there is nothing."""
        with self._lock:
            if self._output:
                text = self._output.decode("utf-8", "replace")[-PIECE_CHARS:][-self._left :]
                self._output = b""
                self._left -= len(text)
                return text
            phase, self._phase = self._phase, ""
            return phase or None


async def _report(asked: ServerRequestContext[Any], news: _News) -> None:
    last = news.started
    while True:
        await anyio.sleep(LOOK_SECONDS)
        now = time.monotonic()
        elapsed = now - news.started
        said = news.take()
        if said is None and now - last < HEARTBEAT_SECONDS:
            continue
        last = now
        message = f"running for {elapsed:.0f} s" if said is None else said
        await asked.session.report_progress(round(elapsed, 3), None, message)
