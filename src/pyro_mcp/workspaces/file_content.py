"""Part of a file as it may be shown: without values of secrets in it or across its ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp.machines import files

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.boundary.redact import Redactor
    from pyro_mcp.machines.files import FileEntry
    from pyro_mcp.workspaces.secret_file import Watch


class Content(NamedTuple):
    """What was asked for is `data[start:end]`; around it lies what a value may reach into."""

    data: bytes
    start: int
    end: int
    entry: FileEntry
    redactor: Redactor

    @property
    def size(self) -> int:
        """Bytes of what was asked for."""
        return self.end - self.start

    def text(self) -> tuple[str, bool]:
        """As text, bytes that are not UTF-8 replaced, and whether something was redacted."""
        part, redacted = self.redactor.part(self.data, self.start, self.end)
        return part.decode("utf-8", "replace"), redacted

    def masked(self) -> bytes:
        """As bytes of the same length: those of a value are `*`."""
        return self.redactor.masked(self.data, self.start, self.end)


def read(home: Path, path: str, *, offset: int = 0, length: int | None, watch: Watch) -> Content:
    """Read `length` bytes from `offset`, None for all, of a regular file."""
    margin = max(watch.redactor().longest - 1, 0)
    begin = max(offset - margin, 0)
    wanted = None if length is None else offset - begin + length + margin
    data, entry = files.read_file(home, path, offset=begin, length=wanted)
    start = min(offset - begin, len(data))
    end = len(data) if length is None else min(start + length, len(data))
    return Content(data, start, end, entry, watch.redactor())
