"""An archive of this host, read as a stream of tar members that are known to be harmless.

Archives come from anywhere. Names are checked against all that came before (`members`), what is
read of headers is bounded (`tar`), and content is counted as it is unpacked, so one that grows
beyond all measure is refused whatever its headers say.
"""

from __future__ import annotations

import stat
import time
import zlib
from typing import TYPE_CHECKING, BinaryIO

from pyro_mcp.boundary import limits
from pyro_mcp.boundary.ignore import Excludes
from pyro_mcp.boundary.members import Members, Notes
from pyro_mcp.boundary.paths import LOST_AND_FOUND, MemberError, clean, shown
from pyro_mcp.boundary.tar import END, Member, Parser, TarError, header, padding

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".zip")
_OVERHEAD = 1 << 12
"""Bytes of headers that a member may need."""


def suffix_of(path: Path) -> str | None:
    """Which kind of archive a file's name says it is."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)


class Archive:
    """An archive that can be opened. `chunks` may be called once, and counts as it goes."""

    def __init__(self, path: Path, *, exclude: Sequence[str] = ()) -> None:
        """Raises `OSError` when it cannot be read, `TarError` when its beginning is not right."""
        self.path = path
        self._suffix = suffix_of(path) or ".tar"
        self.mode = "zip_archive" if self._suffix == ".zip" else "tar_archive"
        self._filter = _Filter(Excludes(exclude))
        self._file = path.open("rb")
        try:
            self._check_beginning()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    @property
    def skipped(self) -> list[str]:
        """What was left out, and why."""
        return self._filter.notes.lines

    @property
    def entry_count(self) -> int:
        """Files, directories and links that were read."""
        return self._filter.members.entry_count

    @property
    def bytes_written(self) -> int:
        """Content of the files that were read."""
        return self._filter.members.bytes_written

    @property
    def index_blocks(self) -> int:
        """Blocks of 4 KiB that an image needs beside the content, by what was read."""
        return self._filter.index_bytes // 4096

    @property
    def has_lost_and_found(self) -> bool:
        """Whether an entry `lost+found` was read."""
        return self._filter.members.has(LOST_AND_FOUND)

    def chunks(self) -> Iterator[bytes]:
        """The tar stream, its end included.

        Raises:
            MemberError, TarError: The archive cannot be used; the message names the member.
        """
        if self.mode == "zip_archive":
            return self._from_zip()
        return self._from_tar()

    def _check_beginning(self) -> None:
        if self.mode == "zip_archive":
            _open_zip(self._file).close()
            return
        content = self._unpacked()
        beginning = b""
        for chunk in content:
            beginning += chunk[:512]
            if len(beginning) >= 512:
                break
        parser = Parser(_Nothing())
        parser.feed(beginning[:512])
        if not beginning:
            parser.close()
        self._file.seek(0)

    def _unpacked(self) -> Iterator[bytes]:
        if self._suffix == ".tar":
            return _plain(self._file)
        return _unzstd(self._file) if self._suffix == ".tar.zst" else _gunzip(self._file)

    def _from_tar(self) -> Iterator[bytes]:
        parser = Parser(self._filter)
        most = limits.SOURCE_LIMIT_BYTES + limits.ENTRY_LIMIT * _OVERHEAD
        total = 0
        for chunk in self._unpacked():
            total += len(chunk)
            if total > most:
                raise TarError(f"it unpacks to more than {most >> 20} MiB")
            parser.feed(chunk)
            yield self._filter.drain()
            if parser.ended:
                break
        parser.close()
        yield self._filter.drain() + END

    def _from_zip(self) -> Iterator[bytes]:
        with _open_zip(self._file) as opened:
            for info in opened.infolist():
                member = _member_of(info)
                if member.kind == "symlink":
                    if info.file_size > limits.PATH_LIMIT_BYTES:
                        raise MemberError(member.name, "is a link with an impossible target")
                    link = b"".join(_content(opened, info))
                    member = member._replace(link=link, size=0)
                self._filter.member(member)
                if member.size:
                    for data in _content(opened, info):
                        self._filter.content(memoryview(data))
                        yield self._filter.drain()
                self._filter.end()
                yield self._filter.drain()
        yield END


class _Nothing:
    def member(self, member: Member) -> None:
        pass

    def content(self, data: memoryview) -> None:
        pass

    def end(self) -> None:
        pass


class _Filter:
    """Checks members and writes those that may pass, as a handler of a parser."""

    def __init__(self, excludes: Excludes) -> None:
        self.members = Members(limit_bytes=limits.SOURCE_LIMIT_BYTES)
        self.notes = Notes()
        self.index_bytes = 0
        self._excludes = excludes
        self._out = bytearray()
        self._pad: bytes | None = None

    def member(self, member: Member) -> None:
        path = clean(member.name)
        self._pad = None
        if self._excludes.match(path, directory=member.kind == "directory"):
            return
        if member.kind == "special":
            self.notes.add(path, "is a device or pipe")
            return
        for taken in self.members.take(member):
            self._out += header(taken)
            self.index_bytes += 16 + len(taken.name)
            if taken.kind == "directory":
                self.index_bytes += 2 * 4096
            if taken.kind == "file":
                self._pad = padding(taken.size)

    def content(self, data: memoryview) -> None:
        if self._pad is not None:
            self._out += data

    def end(self) -> None:
        if self._pad is not None:
            self._out += self._pad
            self._pad = None

    def drain(self) -> bytes:
        """What was written since the last call."""
        out, self._out = self._out, bytearray()
        return bytes(out)


def _plain(source: BinaryIO) -> Iterator[bytes]:
    while chunk := source.read(limits.CHUNK):
        yield chunk


def _gunzip(source: BinaryIO) -> Iterator[bytes]:
    # Not the gzip module: it has no bound on one step, and reads 8 KiB at a time.
    unpacker, data, first = None, b"", True
    while True:
        data = data or source.read(limits.CHUNK // 4)
        at_end = not data
        if unpacker is None:
            data = data.lstrip(b"\0")  # what follows a whole part may be padding
            if at_end and not first:
                return
            if not data and not at_end:
                continue
            unpacker, first = zlib.decompressobj(31), False
        if at_end:
            raise TarError("it is cut off: its compressed data has no end")
        try:
            chunk = unpacker.decompress(data, limits.CHUNK)
        except zlib.error as error:
            raise TarError("its compressed data is damaged, or it is not gzip") from error
        data = unpacker.unconsumed_tail
        if chunk:
            yield chunk
        if unpacker.eof:
            data, unpacker = unpacker.unused_data, None


def _unzstd(source: BinaryIO) -> Iterator[bytes]:
    import zstandard  # costs start-up time, and few transfers need it

    # Frames that ask for more memory than this are refused by the library.
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    try:
        with unpacker.stream_reader(source, read_across_frames=True, closefd=False) as reader:
            while chunk := reader.read(limits.CHUNK):
                yield chunk
    except zstandard.ZstdError as error:
        raise TarError("its compressed data is damaged, or it is not zstd") from error


def _open_zip(source: BinaryIO) -> zipfile.ZipFile:
    import zipfile

    try:
        opened = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise TarError(f"it is no zip archive, or damaged: {error}") from error
    if len(opened.infolist()) > limits.ENTRY_LIMIT:
        raise TarError(f"it has more than {limits.ENTRY_LIMIT} members")
    return opened


def _member_of(info: zipfile.ZipInfo) -> Member:
    # `filename` is cut at a zero byte; the original is what the archive says.
    name = info.orig_filename.encode("utf-8", "surrogateescape")
    if info.flag_bits & 1:
        raise MemberError(name, "is encrypted")
    mode = info.external_attr >> 16 if info.create_system == 3 else 0
    directory = info.filename.endswith("/") or stat.S_ISDIR(mode)
    default = 0o755 if directory else 0o644
    permissions = stat.S_IMODE(mode) or default
    try:
        mtime = int(time.mktime((*info.date_time, 0, 0, -1)))
    except (ValueError, OverflowError):
        mtime = 0
    if directory:
        return Member(name, "directory", permissions, mtime)
    if stat.S_ISLNK(mode):
        return Member(name, "symlink", 0o777, mtime)
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return Member(name, "special", permissions, mtime)
    return Member(name, "file", permissions, mtime, info.file_size)


def _content(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    import zipfile

    name = info.orig_filename.encode("utf-8", "surrogateescape")
    left = info.file_size
    try:
        with opened.open(info) as source:
            while left:
                data = source.read(min(left, limits.CHUNK))
                if not data:
                    raise MemberError(name, "is shorter than the archive says")
                left -= len(data)
                yield data
            if source.read(1):
                raise MemberError(name, "is longer than the archive says")
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise MemberError(name, f"is damaged: {error}") from error
    except (NotImplementedError, RuntimeError) as error:
        raise MemberError(name, f"cannot be unpacked: {shown(str(error).encode())}") from error
