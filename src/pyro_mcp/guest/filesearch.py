"""Lines of text files that match a pattern.

In a child process: matching holds the interpreter's lock, and a pattern may take for ever. It ends
when its time is over, and is killed when the host goes.
"""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import stat

from pyro_mcp import protocol
from pyro_mcp.guest import filetree
from pyro_mcp.guest.filelink import HostGoneError
from pyro_mcp.guest.fileops import walk
from pyro_mcp.guest.filework import flag, number, path_of
from pyro_mcp.guest.requests import RefusedError, bad_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyro_mcp.guest.filelink import Link
    from pyro_mcp.guest.filetree import Tree

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LOOKED_AT = 8192
_KILL = 9
_UNSEARCHED = b".git"
_MOST_FILE_BYTES = 64 * 1024 * 1024


def search(link: Link, tree: Tree, request: dict[str, object]) -> dict[str, object]:
    """`search`: see the module; a binary file is one with a zero byte near its beginning."""
    hunt = _Hunt(link, request)
    path = path_of(request)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            hunt.begin()
            link.reply(_answer(hunt, tree, path))
            status = 0
        except RefusedError as late:
            link.refuse(late.code, str(late))
            status = 0
        except OSError as error:
            refusal = filetree.refusal(error, path)
            link.refuse(refusal.code, str(refusal))
            status = 0
        finally:
            os._exit(status)
    _wait(link, child)
    raise HostGoneError  # the child has answered


def _wait(link: Link, child: int) -> None:
    handle = os.pidfd_open(child)
    status = None
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.register(link.descriptor, select.POLLRDHUP)
        ended = any(descriptor == handle for descriptor, _ in poll.poll())
    finally:
        os.close(handle)
        if not ended:
            os.kill(child, _KILL)
        _, status = os.waitpid(child, 0)
    if ended and status:
        raise RefusedError(protocol.ERROR_FAILED, "the search ended before it was done")


def _answer(hunt: _Hunt, tree: Tree, path: bytes) -> dict[str, object]:
    folder, name, status = tree.look(path)
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if not stat.S_ISDIR(status.st_mode):
        hunt.file(folder, name, path, status)
    else:
        for found in hunt.walk(tree.followed(path), path):
            if not hunt.file(*found):
                break
    return {"truncated": hunt.truncated, "files": hunt.files, "skipped": hunt.skipped}


class _Hunt:
    def __init__(self, link: Link, request: dict[str, object]) -> None:
        self._link = link
        self._left = number(request, "max_matches", 1000)
        self._max_file_bytes = min(number(request, "max_file_bytes", 1 << 24), _MOST_FILE_BYTES)
        self._max_text = number(request, "max_text", 400)
        self._seconds = number(request, "seconds", 60)
        self._late = False
        self._matched: bytes | None = None
        pattern = request.get("pattern")
        if not isinstance(pattern, str) or not pattern:
            raise bad_request("pattern is not text")
        flags = re.IGNORECASE if flag(request, "ignore_case") else 0
        if flag(request, "literal"):
            pattern = re.escape(pattern)
        try:
            self._pattern = re.compile(pattern, flags)
            self._globs = [_glob(glob) for glob in _texts(request.get("globs", []))]
        except (re.error, OverflowError, RecursionError) as error:
            raise RefusedError(
                protocol.ERROR_BAD_PATTERN, f"the pattern is wrong: {error}"
            ) from None
        self._only = any(not excludes for excludes, _, _ in self._globs)
        self.truncated = False
        self.files = 0
        self.skipped = 0

    def begin(self) -> None:
        """From now on the time counts."""
        signal.signal(signal.SIGALRM, self._end)
        signal.alarm(self._seconds)

    def _end(self, _number: int, _frame: object) -> None:
        self._late = True
        # Elsewhere half a frame may have been sent.
        if self._matched is not None:
            self._refuse(self._matched)

    def _refuse(self, path: bytes) -> None:
        raise RefusedError(
            protocol.ERROR_TOO_LONG,
            f"the search took more than {self._seconds} seconds, and was in {os.fsdecode(path)}",
        )

    def walk(self, folder: int, path: bytes) -> Iterator[tuple[int, bytes, bytes, os.stat_result]]:
        return walk(folder, path, enter=self._enter)

    def _enter(self, path: bytes, name: bytes) -> bool:
        return name != _UNSEARCHED and not self._excluded(path, name)

    def _excluded(self, path: bytes, name: bytes) -> bool:
        return any(
            excludes and matches.fullmatch(os.fsdecode(path if whole else name))
            for excludes, whole, matches in self._globs
        )

    def _wanted(self, path: bytes, name: bytes) -> bool:
        wanted = not self._only
        for excludes, whole, matches in self._globs:
            if matches.fullmatch(os.fsdecode(path if whole else name)):
                wanted = not excludes
        return wanted

    def file(self, folder: int, name: bytes, path: bytes, status: os.stat_result) -> bool:
        """Search one file; False when there are as many matches as were asked for."""
        if not stat.S_ISREG(status.st_mode) or not self._wanted(path, name):
            return True
        text = self._text(folder, name)
        if text is None:
            self.skipped += 1
            return True
        self.files += 1
        where = os.fsdecode(path)
        search = self._pattern.search
        for line_number, line in enumerate(text.split("\n"), 1):
            self._matched = path
            found = search(line)
            self._matched = None
            if self._late:
                self._refuse(path)
            if found is None:
                continue
            if self._left <= 0:
                self.truncated = True
                return False
            self._left -= 1
            self._tell(where, line_number, line.removesuffix("\r"), found.start())
        return True

    def _tell(self, path: str, line_number: int, line: str, column: int) -> None:
        start = 0
        if column >= self._max_text:
            start = column - self._max_text // 4
        text = line[start : start + self._max_text]
        self._link.line(
            {
                "path": path,
                "line": line_number,
                "column": column + 1,
                "text": text,
                "text_truncated": len(text) < len(line),
            }
        )

    def _text(self, folder: int, name: bytes) -> str | None:
        try:
            descriptor = os.open(name, _FILE, dir_fd=folder)
        except OSError:
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > self._max_file_bytes:
                return None
            parts = [os.read(descriptor, _LOOKED_AT)]
            if b"\0" in parts[0]:
                return None
            # As much as there was: room for more, touched for nothing, costs more than the read.
            left = status.st_size - len(parts[0])
            while left > 0 and (part := os.read(descriptor, min(left, 1 << 20))):
                parts.append(part)
                left -= len(part)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        text = b"".join(parts).decode(errors="replace")
        return text.removesuffix("\n")


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise bad_request("globs are not texts")
    return value


def _glob(glob: str) -> tuple[bool, bool, re.Pattern[str]]:
    """(excludes, is for the whole path, what it matches)."""
    excludes = glob.startswith("!")
    glob = glob.removeprefix("!")
    whole = "/" in glob.rstrip("/")
    glob = glob.strip("/")
    parts = []
    at = 0
    while at < len(glob):
        rest = glob[at:]
        if rest.startswith("**/"):
            parts.append("(?:.*/)?")
            at += 3
        elif rest.startswith("**"):
            parts.append(".*")
            at += 2
        elif rest[0] == "*":
            parts.append("[^/]*")
            at += 1
        elif rest[0] == "?":
            parts.append("[^/]")
            at += 1
        elif rest[0] == "[" and "]" in rest[2:]:
            end = rest.index("]", 2)
            inner = rest[1:end].replace("\\", "\\\\")
            parts.append(f"[^{inner[1:]}]" if inner[0] == "!" else f"[{inner}]")
            at += end + 1
        else:
            parts.append(re.escape(rest[0]))
            at += 1
    return excludes, whole, re.compile("".join(parts), re.DOTALL)
