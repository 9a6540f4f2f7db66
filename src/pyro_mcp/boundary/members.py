"""What a sequence of members may be: each in its place, none twice, none through a link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.boundary import limits
from pyro_mcp.boundary.paths import MemberError, clean, shown
from pyro_mcp.boundary.tar import Member

if TYPE_CHECKING:
    from pyro_mcp.boundary.tar import Kind


class Notes:
    """What was left out and why, for the caller to read; bounded."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._more = 0

    def add(self, name: bytes, why: str) -> None:
        """Note that a member is left out."""
        if len(self._lines) < limits.NOTES_LIMIT:
            self._lines.append(f"{shown(name)} {why}")
        else:
            self._more += 1

    def add_more(self, count: int) -> None:
        """Note that so many others are left out."""
        self._more += max(count, 0)

    @property
    def lines(self) -> list[str]:
        """The notes; the last one counts those that were too many."""
        return [*self._lines, f"and {self._more} more"] if self._more else list(self._lines)


class Members:
    """The members that came so far. Nothing is believed: each is checked against all before it.

    A hard link must name a file, or a symbolic link, that came before it. A directory may come
    again, and the first one counts; anything else twice is refused. Directories that are missing
    are made up.
    """

    def __init__(self, *, limit_bytes: int, limit_entries: int = limits.ENTRY_LIMIT) -> None:
        self._limit_bytes = limit_bytes
        self._limit_entries = limit_entries
        self._kinds: dict[bytes, Kind] = {b"": "directory"}
        self._targets: dict[bytes, bytes] = {}
        self.entry_count = 0
        """Files, directories and links."""
        self.bytes_written = 0
        """Content of files; a hard link has none of its own."""

    def has(self, path: bytes) -> bool:
        """Whether such a member came."""
        return path in self._kinds

    def take(self, member: Member) -> list[Member]:
        """What the next member amounts to: nothing, itself, or missing parents and itself.

        Raises:
            MemberError: It may not be.
        """
        path = clean(member.name)
        if not path:
            if member.kind != "directory":
                raise MemberError(member.name, "is no directory, and names the root")
            return []
        there = self._kinds.get(path)
        if there is not None:
            if there == member.kind == "directory":
                return []
            what = "is there twice" if there == member.kind else f"was a {there} before"
            raise MemberError(path, what)
        parent = path.rpartition(b"/")[0]
        known = self._kinds.get(parent) == "directory"
        taken = [] if known else self._missing_parents(path, member.mtime)
        if member.kind == "hardlink":
            member = self._hard_link(path, member)
        elif member.kind == "symlink":
            check_target(path, member.link)
            self._targets[path] = member.link
        if member.name != path:
            member = member._replace(name=path)
        self._note(member)
        taken.append(member)
        return taken

    def _hard_link(self, path: bytes, member: Member) -> Member:
        source = clean(member.link)
        kind = self._kinds.get(source)
        if kind == "symlink":  # GNU tar writes a second name of a link so
            link = self._targets[path] = self._targets[source]
            return member._replace(kind="symlink", link=link)
        if kind not in ("file", "hardlink"):
            raise MemberError(path, f"is a hard link to {shown(source)}, which is not a file here")
        return member._replace(link=source)

    def _missing_parents(self, path: bytes, mtime: int) -> list[Member]:
        made: list[Member] = []
        parent = path.rpartition(b"/")[0]
        while True:
            kind = self._kinds.get(parent)
            if kind == "directory":
                break
            if kind is not None:
                raise MemberError(path, f"lies below {shown(parent)}, which is a {kind}")
            made.append(Member(parent, "directory", 0o755, mtime))
            parent = parent.rpartition(b"/")[0]
        made.reverse()
        for member in made:
            self._note(member)
        return made

    def _note(self, member: Member) -> None:
        self._kinds[member.name] = member.kind
        self.entry_count += 1
        self.bytes_written += member.size
        if self.bytes_written > self._limit_bytes:
            limit, rest = divmod(self._limit_bytes, 1 << 20)
            amount = f"{self._limit_bytes} bytes" if rest else f"{limit} MiB"
            raise MemberError(member.name, f"takes it beyond the limit of {amount}")
        if self.entry_count > self._limit_entries:
            raise MemberError(
                member.name, f"takes it beyond the limit of {self._limit_entries} entries"
            )


def check_target(path: bytes, target: bytes) -> None:
    """Refuse what cannot be the target of a symbolic link; where it points is not looked at."""
    if not target or b"\0" in target or len(target) > limits.PATH_LIMIT_BYTES:
        raise MemberError(path, "is a symbolic link to nothing that could be")
