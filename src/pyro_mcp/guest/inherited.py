"""What commands have of the host's way to the network: variables, and its certificates."""

from __future__ import annotations

import os

from pyro_mcp.guest import mounts, requests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def take(request: Mapping[str, object]) -> None:
    """Give every command from now on these variables. Raises `RefusedError`, `OSError`."""
    variables = requests.parse_environment(request, {})
    certificates, path = request.get("certificates", ""), request.get("path", "")
    if not isinstance(certificates, str) or not isinstance(path, str):
        raise requests.bad_request("certificates or path is not text")
    if certificates:
        if not path.startswith("/run/") or "/" in path.removeprefix("/run/"):
            raise requests.bad_request("path is not a file of /run")
        target = mounts.ROOT + path
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(target, flags, 0o644)
        rest = memoryview(certificates.encode())
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.close(descriptor)
    requests.set_defaults({k.decode(): v.decode() for k, v in variables.items()})
