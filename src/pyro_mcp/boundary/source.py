"""What a caller names to be carried into a guest: a directory or an archive of this host."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pyro_mcp.boundary import archive, tree
from pyro_mcp.boundary.paths import MemberError
from pyro_mcp.boundary.tar import TarError
from pyro_mcp.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Progress = Callable[[str, float | None], None]


class Source(Protocol):
    """Something that can be read once as a canonical tar stream: owned by root, names clean."""

    path: Path
    mode: str
    """directory, tar_archive or zip_archive."""

    @property
    def entry_count(self) -> int:
        """Files, directories and links; right when all was read."""

    @property
    def bytes_written(self) -> int:
        """Content of files; right when all was read."""

    @property
    def index_blocks(self) -> int:
        """Blocks of 4 KiB that an image needs beside the content."""

    @property
    def has_lost_and_found(self) -> bool:
        """Whether it has an entry `lost+found` of its own; right when all was read."""

    @property
    def skipped(self) -> list[str]:
        """What was left out, and why."""

    def chunks(self) -> Iterator[bytes]:
        """The stream; what goes wrong is raised as it was, `reading` translates it."""

    def close(self) -> None:
        """Let go of it; may be called twice."""


def open_source(
    parameter: str,
    given: str | Path,
    *,
    exclude: Sequence[str] = (),
    gitignore: bool = False,
) -> Source:
    """Open a directory or archive and look whether it can be read. `~` is the caller's home.

    Raises:
        InvalidInputError: It is not there, of no known kind, unreadable, or holds what cannot be
            carried. `parameter` is the name the caller knows it by.
    """
    path = host_path(parameter, given)
    with reading(parameter, path):
        if path.is_dir():
            return tree.Tree(path, exclude=exclude, gitignore=gitignore)
        if not path.exists():
            raise InvalidInputError(
                parameter, f"{str(path)!r} is not there", hint="Give a directory or an archive."
            )
        if not path.is_file() or archive.suffix_of(path) is None:
            raise InvalidInputError(
                parameter,
                f"{str(path)!r} is neither a directory nor an archive",
                hint=f"Archives end in one of: {', '.join(archive.SUFFIXES)}.",
            )
        if gitignore:
            raise InvalidInputError(
                "gitignore",
                f"was asked for with the archive {str(path)!r}",
                hint="Unpack it first, or name what stays behind with exclude.",
            )
        return archive.Archive(path, exclude=exclude)


def host_path(parameter: str, given: str | Path) -> Path:
    """A path of this host, absolute, `~` and links resolved."""
    text = str(given)
    if not text.strip() or "\0" in text:
        raise InvalidInputError(parameter, f"is {text!r}", hint="Give a path of this host.")
    try:
        return Path(text).expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise InvalidInputError(
            parameter, f"{text!r} cannot be resolved: {error}", hint="Give another path."
        ) from error


@contextmanager
def reading(parameter: str, path: Path) -> Iterator[None]:
    """Say of every error in the block that `path` is at fault."""
    try:
        yield
    except MemberError as error:
        raise InvalidInputError(
            parameter,
            f"{str(path)!r} cannot be used: {error}",
            hint="Nothing was changed. Leave the entry out with exclude, or mend the source.",
        ) from error
    except TarError as error:
        raise InvalidInputError(
            parameter,
            f"{str(path)!r} cannot be used: {error}",
            hint="Nothing was changed. Make the archive again, as plain tar or with gzip.",
        ) from error
    except OSError as error:
        raise InvalidInputError(
            parameter,
            f"{str(path)!r} cannot be read: {tree.describe(error)}",
            hint="Nothing was changed. Make it readable, or leave it out with exclude.",
        ) from error


def checked(parameter: str, source: Source, progress: Progress, phase: str) -> Iterator[bytes]:
    """The source's stream, with its errors translated and progress told."""
    expected = source.bytes_written if source.mode == "directory" else 0
    done = 0
    told = 0
    with reading(parameter, source.path):
        for chunk in source.chunks():
            yield chunk
            done += len(chunk)
            if done - told >= 8 << 20:
                told = done
                progress(phase, min(done / expected, 1.0) if expected else None)
