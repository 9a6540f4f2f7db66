"""The tar format, read and written as a stream.

Read: ustar, PAX (POSIX.1-2017, pax, "pax Interchange Format") and GNU's long names and base-256
numbers, from chunks of any size, with nothing kept but one header. Written: ustar, with PAX
records for what does not fit. `tarfile` is not used: it holds extension headers of any size in
memory, and its cost per member is several times that of this.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from pyro_mcp.boundary.paths import MemberError, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    Kind = Literal["file", "directory", "symlink", "hardlink", "special"]
    Buffer = bytes | memoryview

BLOCK = 512
END = bytes(2 * BLOCK)
_EXTENSION_LIMIT = 1 << 20
_SIZE_LIMIT = 1 << 62
_LAST_OCTAL = 0o77777777777
_ADLER = 65521
_MOST_SUM = 512 * 255 + 1
_FORMAT = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_KINDS: dict[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "special",
    b"4": "special",
    b"5": "directory",
    b"6": "special",
}
_TYPES = {"file": b"0", "hardlink": b"1", "symlink": b"2", "directory": b"5"}
_EXTENSIONS = b"xgXLK"


class TarError(ValueError):
    """Not a tar archive, or one that is damaged or of a kind that is not read."""


class Member(NamedTuple):
    """One member, without its content."""

    name: bytes
    kind: Kind
    mode: int = 0o644
    """Permission bits with setuid, setgid and sticky."""
    mtime: int = 0
    """Whole seconds since 1970."""
    size: int = 0
    """Bytes of content that follow; only a file has any."""
    link: bytes = b""
    """Where a symbolic link points, or the member that a hard link names."""


class Handler(Protocol):
    """Takes what a `Parser` finds."""

    def member(self, member: Member) -> None:
        """A member begins; its `size` bytes of content follow."""

    def content(self, data: memoryview) -> None:
        """Part of the content; valid during the call."""

    def end(self) -> None:
        """The member is whole."""


def header(member: Member) -> bytes:
    """The header of a member, owned by root, with what it needs in front of it."""
    name = member.name + b"/" if member.kind == "directory" else member.name
    records = []
    prefix, short = b"", name
    if len(name) > 100:
        # Both halves are non-empty, or it would be another name.
        cut = name.find(b"/", max(len(name) - 101, 1), -1)
        if 0 < cut <= 155:
            prefix, short = name[:cut], name[cut + 1 :]
        else:
            records.append((b"path", name))
            short = name[:100]
    if len(member.link) > 100:
        records.append((b"linkpath", member.link))
    if member.size > _LAST_OCTAL:
        records.append((b"size", b"%d" % member.size))
    block = _header(short, prefix, _TYPES[member.kind], member)
    if not records:
        return block
    if any(_not_utf8(value) for _, value in records):
        records.insert(0, (b"hdrcharset", b"BINARY"))
    body = b"".join(_record(key, value) for key, value in records)
    extension = Member(b"", "file", size=len(body))
    return _header(b"@", b"", b"x", extension) + body + padding(len(body)) + block


def padding(size: int) -> bytes:
    """What follows `size` bytes of content."""
    return bytes(-size % BLOCK)


def _not_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return True
    return False


def _record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))  # its own digits count
    return b"%d %s=%s\n" % (length, key, value)


def _header(name: bytes, prefix: bytes, type_: bytes, member: Member) -> bytes:
    block = _FORMAT.pack(
        name,
        b"%07o\0" % (member.mode & 0o7777),
        b"0000000\0",
        b"0000000\0",
        b"%011o\0" % (member.size if member.size <= _LAST_OCTAL else 0),
        b"%011o\0" % min(max(member.mtime, 0), _LAST_OCTAL),
        b"        ",
        type_,
        member.link[:100],
        b"ustar\x0000",
        b"root",
        b"root",
        b"0000000\0",
        b"0000000\0",
        prefix,
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


class Parser:
    """Takes an archive chunk by chunk and tells a handler what is in it."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._rest = b""
        self._left = 0
        self._skip = 0
        self._extension: tuple[bytes, int] | None = None
        self._path: bytes | None = None
        self._link: bytes | None = None
        self._records: dict[bytes, bytes] = {}
        self._current = b""
        self._members = 0
        self.ended = False
        """The mark at the archive's end was seen; what follows is ignored."""

    def feed(self, chunk: Buffer) -> None:
        """Take the next bytes.

        Raises:
            TarError: They are not those of a tar archive.
        """
        if self.ended or not chunk:
            return
        data = memoryview(self._rest + bytes(chunk) if self._rest else chunk)
        at, end = 0, len(data)
        while True:
            if self._left:
                part = data[at : at + self._left]
                self._left -= len(part)
                at += len(part)
                if part:
                    self._handler.content(part)
                if self._left:
                    break
                self._handler.end()
            if self._skip:
                step = min(self._skip, end - at)
                self._skip -= step
                at += step
                if self._skip:
                    break
            needed = BLOCK if self._extension is None else self._extension[1]
            if end - at < needed:
                break
            block = bytes(data[at : at + needed])
            at += needed
            if self._extension is not None:
                self._extend(self._extension[0], block)
            elif not any(block):
                self.ended = True
                break
            else:
                self._header(block)
        self._rest = bytes(data[at:]) if not self.ended else b""

    def close(self) -> None:
        """Say that there are no more bytes.

        Raises:
            TarError: The archive is not whole.
        """
        if self.ended:
            return
        if self._left or self._skip:
            raise TarError(f"it ends in the middle of {shown(self._current)}")
        if not self._members:
            raise TarError("it is no tar archive")
        raise TarError(f"it ends after {shown(self._current)}, without the mark of its end")

    def _header(self, block: bytes) -> None:
        (name, mode, _, _, size, mtime, checksum, type_, link, magic, *_, prefix) = _FORMAT.unpack(
            block
        )
        if not _is_sum(block, _number(checksum, self._where), checksum):
            problem = "is damaged" if self._members else "is not that of a tar archive"
            raise TarError(f"{self._where()} {problem}")
        length = _number(size, self._where)
        if type_ in _EXTENSIONS:
            if length > _EXTENSION_LIMIT:
                raise TarError(f"{self._where()} announces {length} bytes of names")
            self._extension = (type_, length + -length % BLOCK) if length else None
            self._extension_size = length
            return
        path = _text(name)
        if magic[:6] == b"ustar\0" and prefix[0]:
            path = _text(prefix) + b"/" + path
        records, target = self._records, _text(link)
        if records:
            self._records = {}
            path = records.get(b"path", path)
            target = records.get(b"linkpath", target)
        if self._path is not None or self._link is not None:
            path = path if self._path is None else self._path
            target = target if self._link is None else self._link
            self._path = self._link = None
        if type_ == b"S" or (records and any(key.startswith(b"GNU.sparse") for key in records)):
            raise MemberError(path, "is stored without its holes (made with --sparse)")
        if type_ not in _KINDS:
            raise MemberError(path, f"is of the unknown type {type_!r}")
        kind = _KINDS[type_]
        if type_ == b"\0" and path.endswith(b"/"):
            kind = "directory"
        if b"size" in records:
            length = _decimal(records[b"size"], self._where)
        if length > _SIZE_LIMIT:
            raise MemberError(path, f"announces {length} bytes")
        if kind != "file":
            length = 0
        seconds = _number(mtime, self._where, signed=True)
        if b"mtime" in records:
            seconds = _decimal(records[b"mtime"].partition(b".")[0], self._where)
        self._members += 1
        self._current = path
        self._left = length
        self._skip = -length % BLOCK
        self._handler.member(
            Member(path, kind, _number(mode, self._where) & 0o7777, seconds, length, target)
        )
        if not length:
            self._handler.end()

    def _where(self) -> str:
        return f"the header after {shown(self._current)}" if self._members else "its beginning"

    def _extend(self, type_: bytes, block: bytes) -> None:
        body = block[: self._extension_size]
        self._extension = None
        if type_ == b"L":
            self._path = body.rstrip(b"\0")
        elif type_ == b"K":
            self._link = body.rstrip(b"\0")
        elif type_ == b"g":
            wrong = {b"path", b"linkpath", b"size"} & _records(body).keys()
            if wrong:
                raise TarError("it gives all its members one name or size")
        else:
            self._records.update(_records(body))


def _records(body: bytes) -> dict[bytes, bytes]:
    found = {}
    at = 0
    while at < len(body):
        digits, space, _ = body[at : at + 20].partition(b" ")
        if not space or not digits.isdigit():
            raise TarError("an extension header is damaged")
        length = int(digits)
        record = body[at + len(digits) + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if not equals or at + length > len(body) or not value.endswith(b"\n"):
            raise TarError("an extension header is damaged")
        found[key] = value[:-1]
        at += length
    return found


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _is_sum(block: bytes, announced: int, field: bytes) -> bool:
    """Whether the announced sum of the header's bytes is right, its own field counted as blanks."""
    # The lower half of Adler-32 (RFC 1950, 8.2) is a sum of bytes, many times faster than `sum`.
    counted = (zlib.adler32(block) & 0xFFFF) - 1 - sum(field) + len(field) * 32
    return announced < _MOST_SUM and (counted - announced) % _ADLER == 0


def _number(field: bytes, where: Callable[[], str], *, signed: bool = False) -> int:
    digits = field[:-1]
    if digits.isdigit() and field[-1] in b"\0 ":
        try:
            return int(digits, 8)
        except ValueError:
            raise TarError(f"{where()} is not that of a tar archive") from None
    if field[0] & 0x80:  # base 256
        value = int.from_bytes(field, "big", signed=True) if field[0] == 0xFF else None
        if value is None:
            value = int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
        if value < 0 and not signed:
            raise TarError(f"{where()} has a negative number")
        return value
    digits = field.partition(b"\0")[0].strip()
    try:
        # int() would take signs, underscores and more.
        return int(digits, 8) if digits.isdigit() else _empty(digits)
    except ValueError:
        raise TarError(f"{where()} is not that of a tar archive") from None


def _empty(digits: bytes) -> int:
    if digits:
        raise ValueError
    return 0


def _decimal(value: bytes, where: Callable[[], str]) -> int:
    digits = value.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 18:
        raise TarError(f"{where()} has a number that is none")
    return int(value)
