"""Requests about files: from a request's fields to its answer, in a thread of its own."""

from __future__ import annotations

import os

from pyro_mcp import protocol
from pyro_mcp.guest import filetree, mounts
from pyro_mcp.guest.filelink import HostGoneError, Link
from pyro_mcp.guest.requests import RefusedError, bad_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from pyro_mcp.guest.filelink import Frame
    from pyro_mcp.guest.filetree import Tree

    Request = dict[str, object]
    Operation = Callable[[Link, Tree, Request], dict[str, object]]

_MOST = 2**53


def serve(
    sock: _socket.socket,
    decoder: protocol.Decoder,
    frames: list[Frame],
    unsent: bytes,
    request: Request,
    *,
    log: Callable[[str], None],
) -> None:
    """Answer one request; the caller closes the socket."""
    try:
        answer(Link(sock, decoder, frames, unsent), request, open_tree, log=log)
    except HostGoneError:
        return


def open_tree() -> Tree:
    """The workspace of this guest."""
    return filetree.Tree(mounts.ROOT, mounts.SEED, mounts.CHANGED_FILES)


def answer(
    link: Link,
    request: Request,
    open_tree: Callable[[], Tree],
    *,
    log: Callable[[str], None],
) -> None:
    """Carry a request out and say how it ended. Raises `HostGoneError`."""
    path = b""
    try:
        operation = _operation(str(request.get("op")))
        if "path" in request:
            path = filetree.relative(request["path"])
        tree = open_tree()
        try:
            link.reply(operation(link, tree, request))
            return
        finally:
            tree.close()
    except RefusedError as error:
        refusal = error
    except OSError as error:
        refusal = filetree.refusal(error, path)
    except MemoryError:
        refusal = RefusedError(protocol.ERROR_FAILED, "the guest's memory is full")
    except (ValueError, RecursionError) as error:
        log(f"a request about files failed: {type(error).__name__}: {error}")
        refusal = RefusedError(protocol.ERROR_FAILED, f"the agent failed: {error}")
    link.refuse(refusal.code, str(refusal))


def _operation(name: str) -> Operation:
    # Each with what it needs alone: the first request pays for no other's modules.
    if name == "search":
        from pyro_mcp.guest.filesearch import search

        return search
    if name == "changes":
        from pyro_mcp.guest.filechanges import changes

        return changes
    if name == "import_tar":
        from pyro_mcp.guest.fileimport import import_tar

        return import_tar
    if name == "export_tar":
        from pyro_mcp.guest.fileexport import export_tar

        return export_tar
    if name in ("look", "digests", "commit"):
        from pyro_mcp.guest import filesets

        return filesets.OPERATIONS[name]
    if name == "build_image":
        from pyro_mcp.guest.image import build_image

        return build_image
    if name == "secrets":
        from pyro_mcp.guest.secretfiles import install

        return install
    if name in ("freeze", "written"):
        from pyro_mcp.guest import freeze

        return freeze.freeze if name == "freeze" else freeze.written
    from pyro_mcp.guest.fileops import OPERATIONS

    return OPERATIONS[name]


def path_of(request: Request, field: str = "path") -> bytes:
    """A path relative to the workspace."""
    return filetree.relative(request.get(field))


def flag(request: Request, field: str, *, default: bool = False) -> bool:
    """A boolean of a request."""
    value = request.get(field, default)
    if type(value) is not bool:
        raise bad_request(f"{field} is not a boolean")
    return value


def number(request: Request, field: str, default: int) -> int:
    """A number from 0 of a request."""
    value = request.get(field, default)
    if type(value) is not int or not 0 <= value <= _MOST:
        raise bad_request(f"{field} is not a number")
    return value


def copy_out(link: Link, descriptor: int, offset: int, length: int | None) -> int:
    """Send part of a file's content; returns how many bytes there were."""
    scratch = link.scratch
    sent = 0
    while length is None or sent < length:
        room = scratch if length is None else scratch[: length - sent]
        size = os.preadv(descriptor, (room,), offset + sent)
        if size == 0:
            break
        link.data(scratch[:size])
        sent += size
    return sent
