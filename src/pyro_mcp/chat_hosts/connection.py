"""Put pyro into a chat program's configuration, show what would be put there, take it out."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pyro_mcp.chat_hosts import catalogue, json_edit, toml_edit
from pyro_mcp.chat_hosts.catalogue import (
    REPLACED,
    SERVER,
    Host,
    LocalServer,
    RemoteServer,
    Scope,
)
from pyro_mcp.chat_hosts.config_file import ConfigFile
from pyro_mcp.errors import InvalidInputError
from pyro_mcp.errors.chat_hosts import HostMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PROFILE = "workspace-core"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a host is to start, or to reach."""

    profile: str = DEFAULT_PROFILE
    mode: str | None = None
    """Instead of a profile: the tools of one use case."""
    project_path: str | None = None
    """None: the project in a project's file, and none in a user's."""
    command: str | None = None
    """Program to write instead of the whole path of this pyro."""
    env: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None
    """Reach a server that runs instead of starting one."""
    token_variable: str | None = None


@dataclass(frozen=True, kw_only=True)
class Change:
    """What was done, or would be done, to a host's file."""

    host: str
    scope: Scope
    path: Path
    changed: bool
    diff: str
    backup: Path | None
    """Where what the file held before is kept; None if it was not changed, or was not there."""
    then: str
    """What is left to do, for people."""

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "host": self.host,
            "scope": self.scope,
            "path": str(self.path),
            "changed": self.changed,
            "diff": self.diff,
            "backup": None if self.backup is None else str(self.backup),
            "next": self.then,
        }


def connect(
    name: str,
    wanted: Wanted,
    *,
    scope: Scope,
    directory: Path,
    force: bool = False,
    dry_run: bool = False,
) -> Change:
    """Put pyro into the host's file; a second time changes nothing.

    `directory` is the project, for that scope. `force` writes also where the host is not found.

    Raises:
        UnknownHostError: No host has that name.
        InvalidInputError: The host cannot do what is wanted.
        HostMissingError: The host is not installed, and `force` is false.
        HostFileError: Its file is malformed, or cannot be read or written; it is as it was.
    """
    host = catalogue.find(name)
    entry = _entry(host, wanted, scope)
    file = _file(host, scope, directory)
    after = file.put((host.container, SERVER), entry, drop=REPLACED)
    if scope == "user" and not host.installed and not force and not dry_run:
        raise HostMissingError(host.title, name, file.path)
    return _carried_out(host, scope, file, after, host.then, dry_run=dry_run)


def disconnect(name: str, *, scope: Scope, directory: Path, dry_run: bool = False) -> Change:
    """Take pyro out of the host's file, and nothing else.

    Raises:
        UnknownHostError: No host has that name.
        HostFileError: Its file is malformed, or cannot be read or written; it is as it was.
    """
    host = catalogue.find(name)
    file = _file(host, scope, directory)
    after = b"" if file.before is None else file.take((host.container, SERVER))
    then = f"Sessions of {host.title} that run already keep the server until they end."
    return _carried_out(host, scope, file, after, then, dry_run=dry_run)


def snippet(name: str, wanted: Wanted, *, scope: Scope) -> str:
    """What would be put into an empty file, in the host's own format.

    Raises:
        UnknownHostError: No host has that name.
        InvalidInputError: The host cannot do what is wanted.
    """
    host = catalogue.find(name)
    entry = _entry(host, wanted, scope)
    if host.format == "toml":
        return toml_edit.put("", (host.container, SERVER), entry)
    return json_edit.put("", (host.container, SERVER), entry, relaxed=False)


def configured(name: str, *, scope: Scope, directory: Path) -> tuple[Host, Path, dict[str, Any]]:
    """The host, its file, and our entry in it as it is now.

    Raises:
        UnknownHostError: No host has that name.
        HostFileError: Its file is malformed or cannot be read.
        InvalidInputError: There is no entry.
    """
    host = catalogue.find(name)
    file = _file(host, scope, directory)
    servers = file.plain().get(host.container)
    entry = servers.get(SERVER) if isinstance(servers, dict) else None
    if not isinstance(entry, dict):
        raise InvalidInputError(
            "host", f"is {name!r}, and {file.path} has no entry named {SERVER!r}",
            hint=f"'pyro host connect {name} --scope {scope}' makes one.",
        )  # fmt: skip
    return host, file.path, entry


def _file(host: Host, scope: Scope, directory: Path) -> ConfigFile:
    """The one that has our entry, or else the first that is there, or else the first."""
    files = [ConfigFile.read(path, host.format) for path in host.places(scope, directory)]
    there = [file for file in files if file.before is not None]
    for file in there:
        servers = file.plain().get(host.container)
        if isinstance(servers, dict) and SERVER in servers:
            return file
    return (there or files)[0]


def _carried_out(
    host: Host, scope: Scope, file: ConfigFile, after: bytes, then: str, *, dry_run: bool
) -> Change:
    changed = after != (file.before or b"")
    backup = file.write(after) if changed and not dry_run else None
    return Change(
        host=host.name,
        scope=scope,
        path=file.path,
        changed=changed,
        diff=file.diff(after) if changed else "",
        backup=backup,
        then=then,
    )


def _entry(host: Host, wanted: Wanted, scope: Scope) -> dict[str, Any]:
    if wanted.url is not None:
        return _remote_entry(host, wanted, wanted.url)
    if wanted.token_variable is not None:
        raise InvalidInputError(
            "token_variable", "is given without url", hint="A program of its own needs no token."
        )
    program, *args = [wanted.command] if wanted.command else _this_pyro()
    args += ["mcp", "serve"]
    args += ["--mode", wanted.mode] if wanted.mode else ["--profile", wanted.profile]
    project = wanted.project_path or (host.project_path if scope == "project" else None)
    if project is not None:
        args += ["--project-path", project]
    return host.local(LocalServer(command=program, args=tuple(args), env=wanted.env))


def _remote_entry(host: Host, wanted: Wanted, url: str) -> dict[str, Any]:
    if host.remote is None:
        raise InvalidInputError(
            "url", f"is given, and pyro knows no way to write one for {host.title}",
            hint="Leave it out: the host then starts the server itself.",
        )  # fmt: skip
    if urlsplit(url).scheme not in ("http", "https"):
        raise InvalidInputError(
            "url", f"is {url!r}", hint="Give one such as http://127.0.0.1:8765/mcp."
        )
    variable = wanted.token_variable
    if variable is not None and not _VARIABLE.fullmatch(variable):
        # Not quoted: it may be the token itself.
        raise InvalidInputError(
            "token_variable", "is no name of a variable",
            hint="Give the name, such as PYRO_MCP_TOKEN; the token itself does not belong into "
            "the file.",
        )  # fmt: skip
    return host.remote(RemoteServer(url=url, token_variable=variable))


def _this_pyro() -> list[str]:
    """The words that start this pyro, from any directory and with any PATH."""
    script = Path(sys.executable).with_name("pyro")
    if not script.is_file():
        return [sys.executable, "-m", "pyro_mcp"]
    on_path = shutil.which("pyro")
    # The name that people know, and that an upgrade keeps, if it leads to the same program.
    if on_path and Path(on_path).is_absolute() and Path(on_path).samefile(script):
        return [on_path]
    return [str(script)]


def as_words(entry: Mapping[str, Any]) -> list[str]:
    """The command of an entry, in words; empty if it has none.

    Raises:
        InvalidInputError: It is not made of words.
    """
    command, args = entry.get("command", []), entry.get("args", [])
    words = [*([command] if isinstance(command, str) else command), *args]
    if not all(isinstance(word, str) for word in words):
        raise InvalidInputError(
            "command", f"of the entry is {json.dumps(words)}", hint="Connect the host anew."
        )
    return words
