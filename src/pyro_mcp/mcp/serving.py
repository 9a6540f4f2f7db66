"""Serving: over standard input and output, or over HTTP, until the client goes."""

from __future__ import annotations

import logging
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

import anyio
from mcp.server.stdio import stdio_server

from pyro_mcp.errors import InvalidInputError
from pyro_mcp.mcp.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyro_mcp.mcp.http import Http
    from pyro_mcp.mcp.server import PyroServer

TRANSPORTS = ("stdio", "streamable-http")
_ENDED_BY = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(server: PyroServer, transport: str, http: Http | None) -> int:
    """Serve; see `PyroServer.run`."""
    if transport not in TRANSPORTS:
        raise InvalidInputError(
            "transport", f"is {transport!r}", hint=f"Choose one of: {', '.join(TRANSPORTS)}."
        )
    # What the SDK and we have to say goes to standard error, never to the protocol.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    leaving = Leaving()
    serve: Callable[[], Awaitable[None]]
    if transport == "stdio":
        serve = partial(_stdio, server, leaving)
    else:
        from pyro_mcp.mcp import http as over_http

        serve = partial(over_http.serve, server, http or over_http.Http(), leaving)
    try:
        return anyio.run(_until_signalled, server, serve, leaving)
    finally:
        server.close()


class Leaving:
    """How what serves is told to leave."""

    def __init__(self) -> None:
        self.how: Callable[[], None] = lambda: None


async def _until_signalled(
    server: PyroServer, serve: Callable[[], Awaitable[None]], leaving: Leaving
) -> int:
    ended_by = 0

    async def watch() -> None:
        nonlocal ended_by
        with anyio.open_signal_receiver(*_ENDED_BY) as signals:
            async for number in signals:
                ended_by = number
                server.interrupt()
                leaving.how()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await serve()
        tasks.cancel_scope.cancel()
    return 128 + ended_by if ended_by else 0


async def _stdio(server: PyroServer, leaving: Leaving) -> None:
    with anyio.CancelScope() as scope, Lines.of_standard_input() as lines:
        leaving.how = scope.cancel
        # The SDK points standard output elsewhere meanwhile: it belongs to the protocol.
        async with stdio_server(stdin=lines) as (reading, writing):  # type: ignore[arg-type] # of a file the SDK only wants its lines
            options = server.lowlevel.create_initialization_options()
            await server.lowlevel.run(reading, writing, options)
