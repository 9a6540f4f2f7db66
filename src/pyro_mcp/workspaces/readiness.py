"""When a service counts as ready: what may be asked for, and how it is asked of the guest."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, NamedTuple

from pyro_mcp.boundary.paths import in_workspace
from pyro_mcp.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FIELDS = {"file": "path", "tcp": "address", "http": "url", "command": "command"}
_LONGEST = 4096
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a service that listens everywhere is reached."""


class Readiness(NamedTuple):
    """One checked condition: as it is recorded, and as the guest is asked."""

    record: dict[str, str]
    wire: dict[str, object]


def clean_readiness(given: Mapping[str, Any] | None) -> Readiness | None:
    """Check `{"type": "file", "path"}`, `tcp` with `address`, `http` with `url`, or `command`.

    Raises:
        InvalidInputError: It is none of these, or several at once.
    """
    if given is None:
        return None
    kinds = ", ".join(_FIELDS)
    kind = given.get("type") if hasattr(given, "get") else None
    if kind not in _FIELDS:
        raise InvalidInputError(
            "readiness", f"has the type {kind!r}", hint=f"Its type is one of: {kinds}."
        )
    field = _FIELDS[kind]
    others = sorted(str(key) for key in given if key not in ("type", field))
    if others:
        raise InvalidInputError(
            "readiness", f"of type {kind!r} also has {', '.join(others)}",
            hint=f"It takes {field!r} and nothing else; give one condition.",
        )  # fmt: skip
    value = given.get(field)
    if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > _LONGEST:
        raise InvalidInputError(
            "readiness", f"of type {kind!r} has no usable {field}", hint=f"Give {field!r} as text."
        )
    value = value if kind == "command" else value.strip()
    checked, wire = _CHECKS[kind](value)
    return Readiness({"type": kind, field: checked}, {"type": kind, **wire})


def _file(path: str) -> tuple[str, dict[str, object]]:
    checked = in_workspace("readiness path", path)
    return checked, {"what": checked.lstrip("/")}


def _tcp(address: str) -> tuple[str, dict[str, object]]:
    host, colon, port = address.rpartition(":")
    if not colon or not host:
        raise _wrong("address", address, "is not HOST:PORT")
    return address, {"what": _host("address", host), "port": _port("address", port)}


def _http(url: str) -> tuple[str, dict[str, object]]:
    from urllib.parse import quote, urlsplit

    try:
        parts = urlsplit(url)
        number = parts.port
    except ValueError:
        raise _wrong("url", url, "is no URL") from None
    if parts.scheme == "https":
        raise InvalidInputError(
            "readiness url", f"{url!r} is https, which is not probed",
            hint="Use a readiness command, for example 'curl -fsk URL'.",
        )  # fmt: skip
    if parts.scheme != "http" or not parts.hostname or parts.username is not None:
        raise _wrong("url", url, "is not http://HOST[:PORT][/PATH]")
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    port = 80 if number is None else _port("url", str(number))
    return url, {"what": _host("url", parts.hostname), "port": port, "target": target}


def _command(command: str) -> tuple[str, dict[str, object]]:
    return command, {"what": command}


_CHECKS: dict[str, Callable[[str], tuple[str, dict[str, object]]]] = {
    "file": _file,
    "tcp": _tcp,
    "http": _http,
    "command": _command,
}


def _host(field: str, host: str) -> str:
    bare = host.removeprefix("[").removesuffix("]").lower()
    if bare == "localhost":
        return bare
    try:
        address = str(ipaddress.ip_address(bare))
    except ValueError:
        raise InvalidInputError(
            f"readiness {field}", f"has the host {host!r}",
            hint="It is looked at from inside the guest: give localhost or an IP address.",
        ) from None  # fmt: skip
    return _ANY_ADDRESS.get(address, address)


def _port(field: str, port: str) -> int:
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise _wrong(field, port, "is no port from 1 to 65535")
    return int(port)


def _wrong(field: str, value: str, wrong: str) -> InvalidInputError:
    example = "localhost:8000" if field == "address" else "http://localhost:8000/"
    return InvalidInputError(
        f"readiness {field}", f"{value!r} {wrong}", hint=f"For example {example}."
    )
