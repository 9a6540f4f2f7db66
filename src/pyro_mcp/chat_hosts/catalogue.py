"""The chat programs that pyro knows: where each keeps its servers, and in what words.

A new program is a row of `HOSTS`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pyro_mcp.errors import InvalidInputError
from pyro_mcp.errors.chat_hosts import UnknownHostError

Scope = Literal["user", "project"]
Format = Literal["json", "jsonc", "toml"]

SERVER = "pyro"
"""The name of our entry, in every host."""


@dataclass(frozen=True, kw_only=True)
class LocalServer:
    """pyro's server as a program that the host starts."""

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RemoteServer:
    """pyro's server as one that runs already and is reached by HTTP."""

    url: str
    token_variable: str | None
    """Variable of the host's environment that holds the bearer token."""


class Place(NamedTuple):
    """A file of the user's: `name` below what `variable` says, or else below `base`."""

    name: str
    base: str
    variable: str = ""

    @property
    def path(self) -> Path:
        """The whole path, for the user who asks."""
        base = os.environ.get(self.variable) if self.variable else None
        return Path(base or self.base).expanduser() / self.name


@dataclass(frozen=True, kw_only=True)
class Host:
    """One chat program."""

    name: str
    title: str
    user: tuple[Place, ...]
    """Where its file for all projects may be."""
    project: tuple[str, ...] = ()
    """Where, in a project, its file for that project may be; none if it has none."""
    format: Format
    container: str
    """Name of the object or table that holds the servers."""
    local: Callable[[LocalServer], dict[str, Any]]
    remote: Callable[[RemoteServer], dict[str, Any]] | None = None
    programs: tuple[str, ...]
    """Any of these on the PATH shows that it is installed; so does its directory."""
    project_path: str = "."
    """The project, in the words that it understands in a project's file."""
    then: str
    """What to do so that it reads its file."""

    def places(self, scope: Scope, directory: Path) -> list[Path]:
        """Where its file may be; the first one is made when there is none.

        Raises:
            InvalidInputError: It has no file for a single project.
        """
        if scope == "user":
            return [one.path for one in self.user]
        if not self.project:
            raise InvalidInputError(
                "scope", f"is 'project', and {self.title} has no file for a single project",
                hint="Use --scope user.",
            )  # fmt: skip
        return [directory / one for one in self.project]

    @property
    def installed(self) -> bool:
        """Whether something of it is on this host."""
        if any(shutil.which(one) for one in self.programs):
            return True
        own = [one.path for one in self.user]
        own += [path.parent for path in own if path.parent != Path.home()]
        return any(path.exists() for path in own)


def find(name: str) -> Host:
    """The host of that name.

    Raises:
        UnknownHostError: There is none.
    """
    try:
        return HOSTS[name]
    except KeyError:
        raise UnknownHostError(name, list(HOSTS)) from None


def _config(name: str) -> Place:
    return Place(name, "~/.config", "XDG_CONFIG_HOME")


def _plain(server: LocalServer) -> dict[str, Any]:
    env = {"env": dict(server.env)} if server.env else {}
    return {"command": server.command, "args": list(server.args), **env}


def _typed(server: LocalServer) -> dict[str, Any]:
    return {"type": "stdio", **_plain(server)}


def _custom(server: LocalServer) -> dict[str, Any]:
    # Older versions refuse an entry without it.
    return {"source": "custom", **_plain(server)}


def _opencode(server: LocalServer) -> dict[str, Any]:
    env = {"environment": dict(server.env)} if server.env else {}
    return {"type": "local", "command": [server.command, *server.args], **env, "enabled": True}


def _http(kind: str | None, variable: str) -> Callable[[RemoteServer], dict[str, Any]]:
    """An entry with an address; `variable` is how the host's file names a variable."""

    def entry(server: RemoteServer) -> dict[str, Any]:
        shown: dict[str, Any] = {"type": kind} if kind else {}
        shown["url"] = server.url
        if server.token_variable:
            value = variable.replace("NAME", server.token_variable)
            shown["headers"] = {"Authorization": f"Bearer {value}"}
        return shown

    return entry


def _codex_http(server: RemoteServer) -> dict[str, Any]:
    token = {"bearer_token_env_var": server.token_variable} if server.token_variable else {}
    return {"url": server.url, **token}


HOSTS = {
    host.name: host
    for host in (
        Host(
            name="claude-code",
            title="Claude Code",
            user=(Place(".claude.json", "~", "CLAUDE_CONFIG_DIR"),),
            project=(".mcp.json",),
            format="json",
            container="mcpServers",
            local=_typed,
            remote=_http("http", "${NAME}"),
            programs=("claude",),
            then="Start a new session; 'claude mcp list' shows it, and a project's file asks once.",
        ),
        Host(
            name="claude-desktop",
            title="Claude Desktop",
            user=(_config("Claude/claude_desktop_config.json"),),
            format="json",
            container="mcpServers",
            local=_plain,
            programs=("claude-desktop",),
            then="Restart Claude Desktop.",
        ),
        Host(
            name="codex",
            title="Codex",
            user=(Place("config.toml", "~/.codex", "CODEX_HOME"),),
            project=(".codex/config.toml",),
            format="toml",
            container="mcp_servers",
            local=_plain,
            remote=_codex_http,
            programs=("codex",),
            then="Start a new session; 'codex mcp list' shows it, a project's file counts if "
            "the project is trusted.",
        ),
        Host(
            name="cursor",
            title="Cursor",
            user=(Place("mcp.json", "~/.cursor"),),
            project=(".cursor/mcp.json",),
            format="jsonc",
            container="mcpServers",
            local=_typed,
            remote=_http(None, "${env:NAME}"),
            programs=("cursor", "cursor-agent"),
            project_path="${workspaceFolder}",
            then="Open Cursor's settings, MCP, and switch it on if it is not.",
        ),
        Host(
            name="opencode",
            title="OpenCode",
            user=(
                _config("opencode/opencode.jsonc"),
                _config("opencode/opencode.json"),
            ),
            project=("opencode.json", "opencode.jsonc"),
            format="jsonc",
            container="mcp",
            local=_opencode,
            remote=_http("remote", "{env:NAME}"),
            programs=("opencode",),
            then="Start a new session; 'opencode mcp list' shows it.",
        ),
        Host(
            name="vscode",
            title="VS Code",
            user=(_config("Code/User/mcp.json"),),
            project=(".vscode/mcp.json",),
            format="jsonc",
            container="servers",
            local=_typed,
            remote=_http("http", "${env:NAME}"),
            programs=("code",),
            project_path="${workspaceFolder}",
            then="Run 'MCP: List Servers' in VS Code and start it; it asks once for your trust.",
        ),
        Host(
            name="gemini-cli",
            title="Gemini CLI",
            user=(Place("settings.json", "~/.gemini"),),
            project=(".gemini/settings.json",),
            format="jsonc",
            container="mcpServers",
            local=_plain,
            remote=_http("http", "${NAME}"),
            programs=("gemini",),
            then="Start a new session; 'gemini mcp list' shows it, in a trusted folder.",
        ),
        Host(
            name="zed",
            title="Zed",
            user=(_config("zed/settings.json"),),
            format="jsonc",
            container="context_servers",
            local=_custom,
            programs=("zed", "zeditor"),
            then="Zed reads it at once; the agent panel's settings show it.",
        ),
    )
}

REPLACED = frozenset(
    ("type", "command", "args", "url", "headers", "bearer_token_env_var")
)  # fmt: skip
"""What of an older entry does not stay when it is not written anew; other keys are the user's."""
