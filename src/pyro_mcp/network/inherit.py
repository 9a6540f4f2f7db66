"""What a guest takes over, on request, of this host's way to the network: proxies, package indexes,
certificates.

Taken at each start, from the process that starts the guest and from what pip, npm and apt are told.
Credentials in npm's files stay here; those in a proxy's or index's URL go along, since the guest
could not use the URL without them.
"""

from __future__ import annotations

import configparser
import ipaddress
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from pyro_mcp.network import policy as policies
from pyro_mcp.network.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyro_mcp.network.policy import Policy

CERTIFICATES = "/run/pyro-certificates.pem"
"""Where the guest has the host's certificate authorities."""
APT = "/run/pyro-apt.conf"
"""Where it has the proxies that apt uses here."""

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
_INDEXES = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "UV_INDEX_URL", "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL", "NPM_CONFIG_REGISTRY", "npm_config_registry", "GOPROXY",
)  # fmt: skip
_OF_PIP = {
    "index-url": "PIP_INDEX_URL",
    "extra-index-url": "PIP_EXTRA_INDEX_URL",
    "trusted-host": "PIP_TRUSTED_HOST",
}
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)
_BUNDLE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")
_CERTIFICATE_VARIABLES = (
    *_BUNDLE_VARIABLES, "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "NPM_CONFIG_CAFILE",
)  # fmt: skip
_LARGEST_BUNDLE = 900_000
_NO_PLACES = ("no_proxy", "pip_trusted_host")
_APT_PROXY = r'^(Acquire::https?::Proxy(?:::[\w.:-]+)?) "([^"\\]+)";$'
_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080, "socks4": 1080}


class Inherited(NamedTuple):
    """What the guest gets."""

    variables: dict[str, str]
    files: dict[str, str]
    """By their path in the guest."""
    urls: tuple[str, ...]
    """What of it names places that have to be reached."""


def from_host(environ: Mapping[str, str] | None = None) -> Inherited:
    """Look at this host's settings, which may all be absent."""
    environ = os.environ if environ is None else environ
    found = dict(_of_pip(environ)) | dict(_of_npm())
    for name in _PROXIES:
        value = environ.get(name) or environ.get(name.upper())
        if value:
            found[name] = found[name.upper()] = value
    found |= {name: environ[name] for name in _INDEXES if environ.get(name)}
    variables = {name: kept for name, value in found.items() if (kept := _usable(name, value))}
    urls = [value for name, value in variables.items() if name.lower() not in _NO_PLACES]
    files = {}
    certificates = _certificates(environ)
    if certificates:
        files[CERTIFICATES] = certificates
        variables |= dict.fromkeys(_CERTIFICATE_VARIABLES, CERTIFICATES)
    proxies = [(key, value) for key, value in _of_apt(environ) if _usable(key, value)]
    if proxies:
        files[APT] = "".join(f'{key} "{value}";\n' for key, value in proxies)
        variables["APT_CONFIG"] = APT
        urls += [value for _, value in proxies]
    return Inherited(variables, files, tuple(urls))


def widened(policy: Policy, inherited: Inherited) -> Policy:
    """The policy, and what the inherited proxies and indexes need of it."""
    allow = {entry.text: None for entry in policy.allow}
    opened = dict.fromkeys(policy.places)
    hosts = Hosts()
    for url in inherited.urls:
        for host, port in _places(url):
            for address in _addresses(host):
                closed = policy.closes(address, is_host=hosts.is_host(address))
                if closed is not None and closed.remedy:
                    opened[address, port] = None  # and no other service of that address
            if policy.allow:
                allow[f"[{host}]:{port}" if ":" in host else f"{host}:{port}"] = None
    hosts.close()
    places = [(str(address), port) for address, port in opened]
    return policies.parse(policy.mode, allow, map(str, policy.private), places)


def _of_pip(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    config = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    folders = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    places = [
        *(Path(folder) / "pip/pip.conf" for folder in folders),
        Path("/etc/pip.conf"),
        Path.home() / ".pip/pip.conf",
        config / "pip/pip.conf",
        Path(environ.get("PIP_CONFIG_FILE") or os.devnull),
    ]
    parser = configparser.RawConfigParser()
    for place in places:
        try:
            parser.read(place)
        except (OSError, configparser.Error, UnicodeDecodeError):
            continue  # pip complains about it, where somebody uses it
    for section in ("global", "install"):
        for key, variable in _OF_PIP.items():
            if parser.has_option(section, key):
                yield variable, " ".join(parser.get(section, key).split())


def _of_npm() -> Iterator[tuple[str, str]]:
    for place in (Path("/etc/npmrc"), Path("/usr/local/etc/npmrc"), Path.home() / ".npmrc"):
        try:
            lines = place.read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        for line in lines:
            key, equals, value = line.partition("=")
            if equals and key.strip() == "registry":
                yield "NPM_CONFIG_REGISTRY", value.strip()


def _of_apt(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    try:
        asked = ["apt-config", "dump", "Acquire::http", "Acquire::https"]
        told = subprocess.run(asked, env=environ, capture_output=True, text=True, check=False)
    except (OSError, UnicodeDecodeError):
        return  # no apt here
    yield from re.findall(_APT_PROXY, told.stdout, re.MULTILINE)


def _usable(name: str, value: str) -> str:
    """Without what only this host has: files, and addresses of its loopback."""
    if name.lower() in _NO_PLACES or value == "DIRECT":
        return value
    words = []
    for word in value.split():
        places = list(_places(word))
        local = any(address.is_loopback for host, _ in places for address in _addresses(host))
        if places and not local:
            words.append(word)
    return " ".join(words)


def _places(value: str) -> Iterator[tuple[str, int]]:
    """Host and port of each URL in a value."""
    for word in value.replace(",", " ").replace("|", " ").split():
        try:
            parts = urlsplit(word if "//" in word else f"http://{word}")
            port = parts.port or _PORTS.get(parts.scheme)
        except ValueError:
            continue
        if parts.hostname and port and parts.scheme in _PORTS:
            yield parts.hostname, port


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _certificates(environ: Mapping[str, str]) -> str:
    named = [environ[name] for name in _BUNDLE_VARIABLES if environ.get(name)]
    for place in (*named, *_BUNDLES):
        try:
            content = Path(place).read_text(encoding="ascii", errors="ignore")
        except OSError:
            continue
        if "BEGIN CERTIFICATE" in content and len(content) <= _LARGEST_BUNDLE:
            return content
    return ""
