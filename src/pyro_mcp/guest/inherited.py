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
    files = request.get("files")
    if not isinstance(files, dict):
        raise requests.bad_request("files is not an object")
    for path, content in files.items():
        if not isinstance(content, str):
            raise requests.bad_request(f"the content of {path} is not text")
        if not path.startswith("/run/") or "/" in path.removeprefix("/run/"):
            raise requests.bad_request(f"{path} is not a file of /run")
    for path, content in files.items():
        _write(mounts.ROOT + path, content.encode())
    requests.set_defaults({k.decode(): v.decode() for k, v in variables.items()})


def _write(target: str, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(target, flags, 0o644)
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.close(descriptor)
