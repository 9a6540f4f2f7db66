"""Do once what a chat program does: start its entry, shake hands, run one tool."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyro_mcp.chat_hosts.connection import as_words, configured
from pyro_mcp.errors import BrokenInstallError
from pyro_mcp.errors.chat_hosts import HostServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from mcp import Client

    from pyro_mcp.chat_hosts.catalogue import Scope

_VARIABLE = re.compile(r"\$\{(?:env:)?(\w+)\}|\{env:(\w+)\}")
_TOOLS: dict[str, dict[str, Any]] = {
    "vm_run": {"environment": "debian:12", "command": "uname -sr"},
    "workspace_list": {},
}
"""What is run: the first of these that is offered."""
_SECONDS = 900
"""The first use of an environment builds it."""


def check(name: str, *, scope: Scope, directory: Path) -> dict[str, Any]:
    """Start what the host's file names, or reach it, and run one tool.

    A program gets the few variables that chat programs pass on, not all of this process's.

    Returns:
        What answered, and what the tool said.

    Raises:
        UnknownHostError: No host has that name.
        InvalidInputError: Its file has no entry of ours, or one that is none.
        HostFileError: Its file is malformed, or cannot be read.
        HostServerError: The server does not start, does not answer, or its tool fails.
    """
    _, path, entry = configured(name, scope=scope, directory=directory)
    known = {**os.environ, "workspaceFolder": str(directory)}
    words = [_filled(word, known) for word in as_words(entry)]
    shown = words or [str(entry.get("url"))]
    try:
        found = asyncio.run(_talk(_client(entry, words, directory, known), shown))
    except ImportError as error:
        raise BrokenInstallError(error) from error
    except Exception as error:
        cause = _innermost(error)
        if isinstance(cause, HostServerError):
            raise cause from None
        said = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
        raise HostServerError(
            shown, f"it does not work as a server ({said})",
            hint=f"Run it by hand to see what it says, or connect anew: pyro host connect {name}",
        ) from error  # fmt: skip
    return {"host": name, "scope": scope, "path": str(path), "command": shown, **found}


def _client(
    entry: Mapping[str, Any], words: list[str], directory: Path, known: Mapping[str, str]
) -> AbstractAsyncContextManager[Client]:
    from contextlib import asynccontextmanager

    import httpx2
    from mcp import Client, StdioServerParameters
    from mcp.client.streamable_http import streamable_http_client

    @asynccontextmanager
    async def connected() -> AsyncIterator[Client]:
        if words:
            env = {**entry.get("env", {}), **entry.get("environment", {})}
            program, *args = words
            server = StdioServerParameters(command=program, args=args, env=env, cwd=directory)
            async with Client(server, read_timeout_seconds=_SECONDS) as client:
                yield client
            return
        headers = {key: _filled(one, known) for key, one in entry.get("headers", {}).items()}
        if variable := entry.get("bearer_token_env_var"):
            headers["Authorization"] = f"Bearer {known.get(variable, '')}"
        async with httpx2.AsyncClient(headers=headers, timeout=_SECONDS) as http:
            transport = streamable_http_client(entry["url"], http_client=http)
            async with Client(transport, read_timeout_seconds=_SECONDS) as client:
                yield client

    return connected()


async def _talk(server: AbstractAsyncContextManager[Client], shown: list[str]) -> dict[str, Any]:
    async with server as client:
        offered = [tool.name for tool in (await client.list_tools()).tools]
        name = next((one for one in _TOOLS if one in offered), None)
        if name is None:
            raise HostServerError(
                shown, f"it offers {', '.join(offered) or 'no tool'}, which is not pyro's",
                hint="Connect the host anew.",
            )  # fmt: skip
        answer = await client.call_tool(name, _TOOLS[name])
        said = "\n".join(getattr(part, "text", "") for part in answer.content).strip()
        if answer.is_error:
            raise HostServerError(
                shown, f"its tool {name} failed: {said}", hint="'pyro doctor' checks this host."
            )
        content = answer.structured_content
        result = content if isinstance(content, dict) else {}
        return {
            "protocol_version": client.protocol_version,
            "tools": offered,
            "tool": name,
            "answer": str(result.get("stdout", said)).strip(),
        }


def _filled(text: str, known: Mapping[str, str]) -> str:
    """The text with the variables that hosts fill in."""
    return _VARIABLE.sub(lambda found: known.get(found[1] or found[2], ""), text)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
