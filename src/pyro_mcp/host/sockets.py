"""Unix sockets in directories whose path may be long."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from pathlib import Path


def connect(client: socket.socket, directory: Path, name: str) -> None:
    """Connect to the socket `name` in a directory. Raises `OSError`."""
    # A socket's path is limited to 107 bytes, a directory's is not.
    folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        client.connect(f"/proc/self/fd/{folder}/{name}")
    finally:
        os.close(folder)
