"""Serving over streamable HTTP: on this host alone unless told otherwise, never without a token."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import os
import secrets
import socket
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings

from pyro_mcp.errors import InvalidInputError, ListenError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyro_mcp.mcp.server import PyroServer
    from pyro_mcp.mcp.serving import Leaving

PATH = "/mcp"
DEFAULT_PORT = 8722
_BODY_BYTES = 8 * 1024 * 1024
_GRACE_SECONDS = 5
_SCOPE = "pyro"
_TOKEN_BYTES = 32
_SHORTEST_TOKEN = 16
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, kw_only=True)
class Http:
    """Where to listen, and who may come in."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0 takes one that is free."""
    allow_remote: bool = False
    """Without it only addresses of the loopback are listened on."""
    token_file: Path | None = None
    """Holds the bearer token, or gets a new one; without it a new one is printed."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that clients may use for this host, besides its address and loopback names."""


async def serve(server: PyroServer, http: Http, leaving: Leaving) -> None:
    """Serve until it is told to leave."""
    if not http.allow_remote and not _is_loopback(http.host):
        raise InvalidInputError(
            "host", f"{http.host!r} can be reached from other hosts",
            hint="Everyone there who has the token can use this host's machines; if that is "
            "wanted, add --allow-remote.",
        )  # fmt: skip
    token = _token(http.token_file)
    with _listening(http) as listener:
        port = listener.getsockname()[1]
        name = f"[{http.host}]" if ":" in http.host else http.host
        app = server.lowlevel.streamable_http_app(
            streamable_http_path=PATH,
            max_request_body_size=_BODY_BYTES,
            transport_security=_security(http, name),
            auth=AuthSettings.model_validate(
                {
                    "issuer_url": f"http://{name}:{port}",
                    "resource_server_url": None,
                    "required_scopes": [_SCOPE],
                }
            ),
            token_verifier=_OneToken(token),
        )
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="on", ws="none",
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )  # fmt: skip
        running = _Uvicorn(config)
        leaving.how = running.leave
        print(f"Listening on http://{name}:{port}{PATH}", file=sys.stderr)
        if http.token_file is None:
            print(f"Bearer token: {token}", file=sys.stderr)
        else:
            print(f"Bearer token: see {http.token_file}", file=sys.stderr)
        sys.stderr.flush()
        await running.serve(sockets=[listener])


class _Uvicorn(uvicorn.Server):
    """Leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def leave(self) -> None:
        """End soon."""
        self.should_exit = True


class _OneToken:
    """Knows one bearer token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        """See `mcp.server.auth.provider.TokenVerifier`."""
        if not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token):
            return None
        return AccessToken(token=token, client_id="pyro", scopes=[_SCOPE])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _security(http: Http, name: str) -> TransportSecuritySettings:
    names = [*_LOOPBACK, name, *http.allowed_hosts]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[*(f"{one}:*" for one in names), *http.allowed_hosts],
        allowed_origins=[f"http://{one}:*" for one in _LOOPBACK],
    )


@contextlib.contextmanager
def _listening(http: Http) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    try:
        listener = socket.create_server((http.host, http.port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise ListenError(http.host, http.port, str(error)) from error
    with listener:
        yield listener


def _token(file: Path | None) -> str:
    if file is None:
        return secrets.token_urlsafe(_TOKEN_BYTES)
    with contextlib.suppress(FileNotFoundError):
        return _read_token(file)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _bad_token_file(file, f"cannot be made: {error.strerror}") from error
    with os.fdopen(descriptor, "w") as out:
        out.write(token + "\n")
    return token


def _read_token(file: Path) -> str:
    try:
        with file.open() as source:
            mode = os.fstat(source.fileno()).st_mode
            token = source.read(4096).strip()
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise _bad_token_file(file, f"cannot be read: {error}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise _bad_token_file(file, "can be read by others", f"chmod 600 {file}")
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or len(token.split()) != 1:
        raise _bad_token_file(file, f"holds no single word of {_SHORTEST_TOKEN} characters or more")
    return token


def _bad_token_file(file: Path, wrong: str, remedy: str = "") -> InvalidInputError:
    hint = f"Mend it: {remedy}." if remedy else "Give a path where nothing is, for a new token."
    return InvalidInputError("token_file", f"{str(file)!r} {wrong}", hint=hint)
