"""The guest kernel that comes with pyro: `kernel/linux.xz` beside this file, and where it is from.

`kernel/` in the repository has its configuration, its patches and the script that builds it.
"""

from __future__ import annotations

import json
import lzma
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from pyro_mcp.errors import BrokenInstallError

FOLDER = Path(__file__).with_name("kernel")


class Provenance(NamedTuple):
    """What the shipped kernel was built from."""

    release: str
    """What `uname -r` says in a guest."""
    source: str
    """Name and version of the source in the Debian archive."""


def provenance() -> Provenance:
    """Where the kernel is from.

    Raises:
        BrokenInstallError: The record is missing or damaged.
    """
    facts = _facts()
    return Provenance(facts["release"], f"{facts['source']} {facts['source_version']}")


def unpack(target: Path) -> None:
    """Write the kernel, checked against its record before and after it is decompressed.

    Raises:
        BrokenInstallError: A file is missing, or is not what was built.
    """
    target.write_bytes(_kernel())


def verify() -> None:
    """Look at the kernel as `unpack` does, and write nothing. Raises as that."""
    _kernel()


def _kernel() -> bytes:
    facts = _facts()
    packed = FOLDER / "linux.xz"
    try:
        content = packed.read_bytes()
    except OSError as error:
        raise BrokenInstallError(error) from error
    _check(packed, content, facts["compressed_sha256"])
    try:
        kernel = lzma.decompress(content, format=lzma.FORMAT_XZ)
    except lzma.LZMAError as error:
        raise BrokenInstallError(error) from error
    _check(packed, kernel, facts["sha256"])
    return kernel


def _facts() -> dict[str, str]:
    try:
        facts: dict[str, str] = json.loads((FOLDER / "provenance.json").read_bytes())
    except (OSError, ValueError) as error:
        raise BrokenInstallError(error) from error
    return facts


def _check(where: Path, content: bytes, expected: str) -> None:
    if sha256(content).hexdigest() != expected:
        raise BrokenInstallError(ValueError(f"{where} is not the kernel that was built"))
