"""Optional packages: what an adapter imports, and what to install when it is not there."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyro_mcp.errors.integrations import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def needed(extra: str) -> Iterator[None]:
    """A block that imports what the extra of this name installs.

    Raises:
        MissingExtraError: It is not installed, or another version of it than pyro knows.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(extra, error.name or str(error)) from error
