"""The tar format: ustar with pax records, read from frames and written to blocks.

POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header". The host converts whatever
else a user has; the package `tarfile` costs more to load here than a push of a thousand files.
"""

from __future__ import annotations

from pyro_mcp import protocol
from pyro_mcp.guest.requests import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 512
END = bytes(2 * BLOCK)
_MOST_PAX = 1024 * 1024
_LARGEST_OCTAL = 0o77777777777
_NAME, _LINK, _PREFIX = slice(0, 100), slice(157, 257), slice(345, 500)


class Member:
    """One member: `kind` is file, directory, symlink, hardlink or special."""

    __slots__ = ("kind", "link", "mode", "mtime", "name", "size")

    def __init__(
        self, name: bytes, kind: str, *, mode: int, mtime: int, size: int = 0, link: bytes = b""
    ) -> None:
        self.name = name
        self.kind = kind
        self.mode = mode
        self.mtime = mtime
        """Nanoseconds."""
        self.size = size
        self.link = link


_KIND_OF = {b"0": "file", b"\0": "file", b"7": "file", b"5": "directory"} | {
    b"2": "symlink",
    b"1": "hardlink",
}
_TYPE_OF = {"file": b"0", "directory": b"5", "symlink": b"2", "hardlink": b"1"}


def header(member: Member) -> bytes:
    """The blocks in front of a member's content."""
    name = member.name + b"/" if member.kind == "directory" else member.name
    records = b""
    if len(name) > 100 or not name.isascii():
        records += _record(b"path", name)
    if len(member.link) > 100 or not member.link.isascii():
        records += _record(b"linkpath", member.link)
    if member.size > _LARGEST_OCTAL:
        records += _record(b"size", b"%d" % member.size)
    seconds = member.mtime // 1_000_000_000
    if not 0 <= seconds <= _LARGEST_OCTAL:
        records += _record(b"mtime", b"%d" % seconds)
    blocks = b""
    if records:
        if not _is_text(name) or not _is_text(member.link):
            records = _record(b"hdrcharset", b"BINARY") + records
        blocks = _block(b"@PaxHeader", b"x", len(records), 0o644, 0, b"")
        blocks += records + bytes(-len(records) % BLOCK)
    return blocks + _block(
        name[:100],
        _TYPE_OF[member.kind],
        member.size if member.size <= _LARGEST_OCTAL else 0,
        member.mode,
        seconds if 0 <= seconds <= _LARGEST_OCTAL else 0,
        member.link[:100],
    )


def file_header(name: bytes, mode: int, mtime: int, size: int) -> bytes:
    """What `header` gives for a file, in a third of the time for nearly all of them."""
    seconds = mtime // 1_000_000_000
    plain = len(name) <= 100 and name.isascii()
    if not plain or size > _LARGEST_OCTAL or not 0 <= seconds <= _LARGEST_OCTAL:
        return header(Member(name, "file", mode=mode, mtime=mtime, size=size))
    numbers = b"%07o\x000000000\x000000000\x00%011o\x00%011o\x00" % (mode & 0o7777, size, seconds)
    total = _REST_SUM + sum(name) + sum(numbers)
    return b"%b%b%06o\0 %b" % (name.ljust(100, b"\0"), numbers, total, _REST)


def _block(name: bytes, kind: bytes, size: int, mode: int, mtime: int, link: bytes) -> bytes:
    # Owner and group are root's, by number and by name.
    fields = b"%b%07o\x000000000\x000000000\x00%011o\x00%011o\x00        %b%b%b" % (
        name.ljust(100, b"\0"),
        mode & 0o7777,
        size,
        mtime,
        kind,
        link.ljust(100, b"\0"),
        b"ustar\x0000root".ljust(40, b"\0") + b"root",
    )
    fields = fields.ljust(BLOCK, b"\0")
    return b"%b%06o\0 %b" % (fields[:148], sum(fields), fields[156:])


_REST = _block(b"", b"0", 0, 0, 0, b"")[156:]
_REST_SUM = sum(_REST) + sum(b" " * 8)


def _record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    length = rest + 1
    while rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


class Reader:
    """Members of an archive that comes in pieces. `bad_archive` errors say what is wrong."""

    def __init__(self, more: Callable[[], bytes]) -> None:
        """`more` gives the next bytes, none at the end."""
        self._more = more
        self._rest = memoryview(b"")
        self._content_left = 0
        self._padding = 0

    def members(self) -> Iterator[Member]:
        """Each member; its content must be taken before the next, or is passed over."""
        records: dict[bytes, bytes] = {}
        long_name: dict[bytes, bytes] = {}
        while True:
            for _ in self.content():
                pass
            self._exactly(self._padding)
            self._padding = 0
            block = self._exactly(BLOCK)
            if not block.strip(b"\0"):
                return
            if _number(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * 32:
                raise bad_archive("a header's checksum is wrong")
            kind, size = block[156:157], _number(block[124:136])
            if kind in b"xgLK":
                if size > _MOST_PAX:
                    raise bad_archive("a header is too long")
                data = self._exactly(size)
                self._exactly(-size % BLOCK)
                if kind == b"x":
                    records = _records(data)
                elif kind != b"g":
                    key = b"path" if kind == b"L" else b"linkpath"
                    long_name[key] = data.rstrip(b"\0")
                continue
            extra = {**long_name, **records}
            records, long_name = {}, {}
            if b"size" in extra:
                size = _decimal(extra[b"size"])
            yield self._member(block, kind, size, extra)

    def _member(self, block: bytes, kind: bytes, size: int, extra: dict[bytes, bytes]) -> Member:
        name = _text(block[_NAME])
        if block[257:263] == b"ustar\0" and block[345]:
            name = _text(block[_PREFIX]) + b"/" + name
        name = extra.get(b"path", name)
        what = _KIND_OF.get(kind, "special")
        if what == "file" and name.endswith(b"/"):
            what = "directory"
        mtime = _number(block[136:148], signed=True) * 1_000_000_000
        if b"mtime" in extra:
            mtime = _nanoseconds(extra[b"mtime"])
        if what == "file":
            self._content_left, self._padding = size, -size % BLOCK
        return Member(
            name,
            what,
            mode=_number(block[100:108]) & 0o7777,
            mtime=mtime,
            size=size if what == "file" else 0,
            link=extra.get(b"linkpath", _text(block[_LINK])),
        )

    def content(self) -> Iterator[memoryview]:
        """The content of the member that came last."""
        while self._content_left:
            piece = self._piece(self._content_left)
            self._content_left -= len(piece)
            yield piece

    def finish(self) -> None:
        """Pass over what follows the archive's end."""
        self._rest = memoryview(b"")
        while self._more():
            pass

    def _piece(self, most: int) -> memoryview:
        if not self._rest:
            self._rest = memoryview(self._more())
            if not self._rest:
                raise bad_archive("it ends in the middle")
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece

    def _exactly(self, size: int) -> bytes:
        if len(self._rest) >= size:
            piece, self._rest = bytes(self._rest[:size]), self._rest[size:]
            return piece
        parts = []
        while size:
            part = bytes(self._piece(size))
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def bad_archive(why: str) -> RefusedError:
    """The error for an archive that cannot be unpacked."""
    return RefusedError(protocol.ERROR_BAD_ARCHIVE, f"the archive cannot be unpacked: {why}")


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes, *, signed: bool = False) -> int:
    if field[0] in (0x80, 0xFF):
        value = int.from_bytes(field[1:], "big", signed=field[0] == 0xFF)
        if value < 0 and not signed:
            raise bad_archive("a number is negative")
        return value
    digits = field.strip(b" \0")
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        raise bad_archive("a number is none") from None


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise bad_archive("a number is none")
    return int(value)


def _nanoseconds(value: bytes) -> int:
    whole, _, fraction = value.partition(b".")
    sign = -1 if whole.startswith(b"-") else 1
    part = _decimal(fraction[:9].ljust(9, b"0")) if fraction else 0
    return sign * (_decimal(whole.lstrip(b"-")) * 1_000_000_000 + part)


def _records(data: bytes) -> dict[bytes, bytes]:
    found = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        if space < 0:
            raise bad_archive("an extended header is damaged")
        end = at + _decimal(data[at:space])
        key, equals, value = data[space + 1 : end].partition(b"=")
        if not equals or end > len(data) or not value.endswith(b"\n"):
            raise bad_archive("an extended header is damaged")
        found[key] = value[:-1]
        at = end
    return found
