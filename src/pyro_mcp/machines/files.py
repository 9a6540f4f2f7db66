"""What is asked of a guest agent about files of the workspace.

A path is below `/workspace`, relative to it or absolute, as text; bytes that are not UTF-8 are
lone surrogates, as `os.fsdecode` gives them. What the guest answers is checked: it is hostile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, cast

from pyro_mcp import protocol
from pyro_mcp.errors import GuestLostError, GuestRefusedError, WorkspaceFileError
from pyro_mcp.machines import channel
from pyro_mcp.machines.exchange import (
    AgentError,
    BytesSource,
    Exchange,
    PiecesSource,
    Source,
    pieces_of,
)
from pyro_mcp.machines.file_answers import (
    Answer,
    Change,
    FileEntry,
    Listing,
    Match,
    SearchOutcome,
    Side,
    Transfer,
    bool_of,
    change_of,
    entry_of,
    int_of,
    line_of,
    path_of,
    text_of,
    transfer_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    OnBytes = Callable[[bytes], None]

__all__ = ["Change", "FileEntry", "Listing", "Match", "SearchOutcome", "Side", "Transfer"]

SILENT_SECONDS = 120.0
"""Without a byte in either direction for so long, the guest counts as lost."""
LIST_LIMIT = 200_000
_LINES_LIMIT_BYTES = 256 * 1024 * 1024
_LINE_LIMIT_BYTES = 64 * 1024 * 1024
_LONGEST_MESSAGE = 2000

_HINTS = {
    protocol.ERROR_NOT_FOUND: "List its directory to see what is there.",
    protocol.ERROR_OUTSIDE: "Only what is inside /workspace can be named here; "
    "for other files run a command.",
    protocol.ERROR_IS_DIRECTORY: "Name a file in it.",
    protocol.ERROR_NOT_DIRECTORY: "Name a directory, or another path.",
    protocol.ERROR_IS_LINK: "Name what the link points to instead.",
    protocol.ERROR_SPECIAL: "Only regular files, directories and links can be used here.",
    protocol.ERROR_EXISTS: "Choose another name, or delete what is there first.",
    protocol.ERROR_NOT_EMPTY: "Delete it recursively.",
    protocol.ERROR_NO_SPACE: "Delete something in the workspace first; nothing was changed.",
    protocol.ERROR_CONFLICT: "Nothing was changed.",
    protocol.ERROR_BAD_ARCHIVE: "Nothing was changed.",
    protocol.ERROR_BAD_PATTERN: "Correct it, or search for the literal text.",
    protocol.ERROR_TOO_LONG: "Search less at once, by a path or globs, or with a simpler pattern.",
    protocol.ERROR_FAILED: "Look at the workspace with a command.",
}


def stat_file(home: Path, path: str) -> FileEntry:
    """One entry; its last name is not followed.

    Raises, as everything here does:
        WorkspaceFileError: The guest cannot do it; says why.
        GuestLostError: The machine ended or stopped answering.
    """
    return entry_of(ask(home, {"op": "stat", "path": path}))


def list_files(
    home: Path, path: str = "", *, recursive: bool = False, limit: int = LIST_LIMIT
) -> Listing:
    """Children of a directory sorted by path, or the entry itself; links are not descended."""
    lines: list[Answer] = []
    request: Answer = {"op": "list", "path": path, "recursive": recursive, "limit": limit}
    end = ask_lines(home, request, lines.append, most=limit)
    return Listing(
        entries=[entry_of(line) for line in lines],
        truncated=bool_of(end, "truncated"),
        skipped=int_of(end, "skipped"),
    )


def read_file(
    home: Path,
    path: str,
    *,
    offset: int = 0,
    length: int | None = None,
    sink: OnBytes | None = None,
    base: bool = False,
) -> tuple[bytes, FileEntry]:
    """Content of a regular file from `offset`, and its entry; links are followed while inside.

    With `sink`, content goes there as it comes and what is returned is empty. Without, bound
    `length`: all of it is kept. `base` reads the seed's file of that path instead.
    """
    kept: list[bytes] = []
    taken = 0

    def take(_kind: int, data: bytes) -> None:
        nonlocal taken
        taken += len(data)
        if length is not None and taken > length:
            raise GuestLostError("the agent sent more than was asked for")
        (sink or kept.append)(data)

    op = "read_base" if base else "read"
    request: Answer = {"op": op, "path": path, "offset": offset, "length": length}
    end = ask(home, request, on_data=take)
    return b"".join(kept), entry_of(end)


def write_file(
    home: Path,
    path: str,
    content: bytes | bytearray | memoryview | BinaryIO | Iterable[bytes],
    *,
    mode: int | None = None,
    parents: bool = True,
) -> int:
    """Give a file new content at once; returns its size.

    A file that exists keeps its mode unless `mode` is given, a new one has 0644. What links
    point to is never written.
    """
    request: Answer = {"op": "write", "path": path, "mode": mode, "parents": parents}
    return int_of(ask(home, request, source=source_of(content)), "size_bytes")


def delete_file(home: Path, path: str, *, recursive: bool = False) -> int:
    """Remove an entry; returns how many went."""
    return int_of(ask(home, {"op": "delete", "path": path, "recursive": recursive}), "deleted")


def move_file(home: Path, path: str, to: str, *, replace: bool = False) -> None:
    """Give an entry another path; missing directories are made."""
    ask(home, {"op": "move", "path": path, "to": to, "replace": replace})


def mkdir(home: Path, path: str, *, parents: bool = True) -> bool:
    """Make a directory; with `parents`, False says that it was there."""
    return bool_of(ask(home, {"op": "mkdir", "path": path, "parents": parents}), "created")


def search(
    home: Path,
    pattern: str,
    *,
    path: str = "",
    literal: bool = False,
    ignore_case: bool = False,
    globs: Iterable[str] = (),
    max_matches: int = 1000,
    max_file_bytes: int = 16 * 1024 * 1024,
    max_text: int = 400,
    seconds: int = 60,
    silent_seconds: float = SILENT_SECONDS,
) -> SearchOutcome:
    """Lines of text files that match, in path order.

    `pattern` is a Python regular expression, or text if `literal`. A glob with a slash is matched
    with the whole path, one without with the name; `!` in front excludes. A search that takes
    longer than `seconds` is refused by the guest; when nothing comes from there for
    `silent_seconds`, it is given up with `GuestLostError`, and ends in the guest too.
    """
    lines: list[Answer] = []
    request: Answer = {
        "op": "search",
        "path": path,
        "pattern": pattern,
        "literal": literal,
        "ignore_case": ignore_case,
        "globs": list(globs),
        "max_matches": max_matches,
        "max_file_bytes": max_file_bytes,
        "max_text": max_text,
        "seconds": seconds,
    }
    end = ask_lines(home, request, lines.append, most=max_matches, silent_seconds=silent_seconds)
    return SearchOutcome(
        matches=[
            Match(
                path=path_of(line),
                line=int_of(line, "line"),
                column=int_of(line, "column"),
                text=text_of(line, "text")[: max_text + 1],
                text_truncated=bool_of(line, "text_truncated"),
            )
            for line in lines
        ],
        truncated=bool_of(end, "truncated"),
        files=int_of(end, "files"),
        skipped=int_of(end, "skipped"),
    )


def changes(
    home: Path, *, path: str = "", content_bytes: int = 0, limit: int = 1_000_000
) -> Iterator[Change]:
    """What differs from the seed, in path order within each directory.

    Costs what changed, not what there is. Content of files of at most `content_bytes` comes with
    it. An unchanged rewrite is no change. `path` is where an inspecting guest has the workspace.
    """
    lines: list[Answer] = []
    request: Answer = {"op": "changes", "path": path, "content_bytes": content_bytes}
    ask_lines(home, request, lines.append, most=limit)
    return iter([change_of(line, content_bytes) for line in lines])


def import_tar(home: Path, dest: str, source: BinaryIO | Iterable[bytes] | bytes) -> Transfer:
    """Unpack an uncompressed tar below `dest`: all of it, or nothing.

    Files replace files, links replace links, all else stays; anything else in the way is a
    `WorkspaceFileError`. An exception of `source` leaves the workspace as it was.
    """
    return transfer_of(ask(home, {"op": "import_tar", "path": dest}, source=source_of(source)))


def export_tar(home: Path, path: str, sink: OnBytes) -> Transfer:
    """Pass a file, link or directory on as an uncompressed tar.

    Member names are relative to the directory; a single file or link is a member of its own
    name.
    """
    return transfer_of(
        ask(home, {"op": "export_tar", "path": path}, on_data=lambda _kind, data: sink(data))
    )


def put_secrets(home: Path, values: Mapping[str, bytes]) -> None:
    """Make these the files below `protocol.SECRETS`, all at once, and the only ones."""
    entries = [[name, len(value)] for name, value in values.items()]
    content = BytesSource(b"".join(values.values()))
    ask(home, {"op": "secrets", "entries": entries}, source=content)


def ask(
    home: Path,
    request: Answer,
    *,
    source: Source | None = None,
    on_data: Callable[[int, bytes], None] | None = None,
    silent_seconds: float = SILENT_SECONDS,
) -> Answer:
    """One request and its REPLY; `on_data` gets what comes before that."""
    with channel.connect(home) as client:
        exchange = Exchange(client, request, source=source, on_data=on_data)
        try:
            return exchange.run(within_seconds=silent_seconds, silent_seconds=silent_seconds)
        except AgentError as error:
            raise refused(error) from None


def ask_lines(
    home: Path,
    request: Answer,
    take: Callable[[Answer], None],
    *,
    most: int,
    silent_seconds: float = SILENT_SECONDS,
) -> Answer:
    """The same where lines come before it, at most so many."""
    rest = b""
    total = count = 0

    def split(_kind: int, data: bytes) -> None:
        nonlocal rest, total, count
        total += len(data)
        *lines, rest = (rest + data).split(b"\n")
        count += len(lines)
        if total > _LINES_LIMIT_BYTES or len(rest) > _LINE_LIMIT_BYTES or count > most:
            raise GuestLostError("the agent sent more than was asked for")
        for line in lines:
            take(line_of(line))

    end = ask(home, request, on_data=split, silent_seconds=silent_seconds)
    if rest:
        raise GuestLostError("the agent broke the protocol: a line without its end")
    return end


def refused(error: AgentError) -> WorkspaceFileError | GuestRefusedError:
    """What an agent's ERROR is to whoever asked."""
    message = "".join(char if char.isprintable() else "?" for char in error.message)
    hint = _HINTS.get(error.code)
    if hint is None:
        return GuestRefusedError(
            message[:_LONGEST_MESSAGE], hint="This is a fault in pyro; please report it."
        )
    return WorkspaceFileError(f"{message[:_LONGEST_MESSAGE]}.", reason=error.code, hint=hint)


def source_of(content: bytes | bytearray | memoryview | BinaryIO | Iterable[bytes]) -> Source:
    """Content as the input of a request."""
    if isinstance(content, bytes | bytearray | memoryview):
        return BytesSource(bytes(content))
    if hasattr(content, "read"):
        return PiecesSource(pieces_of(cast("BinaryIO", content)))
    return PiecesSource(content)
