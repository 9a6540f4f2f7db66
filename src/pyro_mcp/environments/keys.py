"""What cached things are named after, so that a change of the recipe is another thing.

On the path of every run: imports next to nothing.
"""

from __future__ import annotations

import os

from pyro_mcp.config import DEBIAN_KERNEL

try:
    from _blake2 import blake2b  # hashlib loads OpenSSL first, which costs more than a start may
except ImportError:  # pragma: no cover - a Python built without it
    from hashlib import blake2b

RUNTIME_SUITE = "forky"
RUNTIME_PACKAGES = (
    "python3-minimal",
    "libpython3-stdlib",
    "busybox-static",
    "e2fsprogs",
    "libarchive13t64",
    "libc-bin",  # the C.UTF-8 locale, for names in archives
)
KERNEL_PACKAGE = "user-mode-linux"
"""What the distribution's kernel comes in, where that one is asked for."""
_RUNTIME_RECIPE = 3
"""Raised when the same packages would give another runtime."""

AGENT_LAUNCHER = b"""\
import sys

sys.path.insert(0, "/usr/lib/pyro")

from pyro_mcp.guest.__main__ import main

main()
"""
_AGENT_RECIPE = 2

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120


def runtime_packages(kernel: str) -> tuple[str, ...]:
    """What of the archive the runtime with this kernel is made from."""
    return (*RUNTIME_PACKAGES, KERNEL_PACKAGE) if kernel == DEBIAN_KERNEL else RUNTIME_PACKAGES


def runtime_key(kernel: str) -> str:
    """Name of the runtime with this kernel that this version of pyro uses."""
    facts = [str(_RUNTIME_RECIPE), RUNTIME_SUITE, *runtime_packages(kernel)]
    if kernel != DEBIAN_KERNEL:
        facts.append(_short_digest(_read("environments/kernel/provenance.json")))
    return f"{RUNTIME_SUITE}-{_short_digest('/'.join(facts).encode())}"


def agent_sources() -> dict[str, bytes]:
    """The agent's modules: path below the package → content, in order of path."""
    found = {"__init__.py": b"", "protocol.py": _read("protocol.py")}
    for parent, folders, files in os.walk(os.path.join(_PACKAGE, "guest")):  # noqa: PTH118
        folders[:] = sorted(set(folders) - {"__pycache__"})
        for name in sorted(files):
            if name.endswith(".py"):
                path = os.path.relpath(os.path.join(parent, name), _PACKAGE)  # noqa: PTH118
                found[path] = _read(path)
    return dict(sorted(found.items()))


def agent_key(sources: dict[str, bytes]) -> str:
    """Name of the agent image with these modules."""
    facts = [str(_AGENT_RECIPE).encode(), AGENT_LAUNCHER]
    for path, content in sources.items():
        facts += [path.encode(), str(len(content)).encode(), content]
    return _short_digest(b"\n".join(facts))


def _short_digest(content: bytes) -> str:
    return blake2b(content, digest_size=8).hexdigest()


def _read(path: str) -> bytes:
    with open(os.path.join(_PACKAGE, path), "rb") as source:  # noqa: PTH118, PTH123
        return source.read()
