"""A host's configuration file: read, changed in one step, the state before it kept."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyro_mcp.chat_hosts import json_edit, toml_edit
from pyro_mcp.chat_hosts.jsonc import MalformedError
from pyro_mcp.errors.chat_hosts import HostFileError
from pyro_mcp.host.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyro_mcp.chat_hosts.catalogue import Format

BACKUP_SUFFIX = ".pyro-backup"

_BYTE_ORDER_MARK = "\ufeff"
_NEW_MODE = 0o600
"""Of a file that pyro makes: the host may put tokens into it later."""
_LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """What a host's file held when it was read."""

    path: Path
    """As the host names it; may be a link."""
    format: Format
    before: bytes | None
    """None if there is no file."""

    @classmethod
    def read(cls, path: Path, format: Format) -> ConfigFile:
        """Read it, if it is there.

        Raises:
            HostFileError: It cannot be read.
        """
        try:
            with path.open("rb") as source:
                content = source.read(_LARGEST + 1)
        except FileNotFoundError:
            return cls(path=path, format=format, before=None)
        except OSError as error:
            raise HostFileError(
                path, f"cannot be read: {error.strerror}", hint="Make it a readable file."
            ) from error
        if len(content) > _LARGEST:
            raise HostFileError(path, "has more than 64 MiB", hint="Is it the right file?")
        return cls(path=path, format=format, before=content)

    def plain(self) -> dict[str, Any]:
        """What it says, as Python values.

        Raises:
            HostFileError: It is malformed.
        """
        try:
            return self._plain(self._text())
        except MalformedError as error:
            raise self._malformed(error) from error

    def put(self, path: Sequence[str], value: dict[str, Any], *, drop: frozenset[str]) -> bytes:
        """The content with the entry `value` at `path`.

        Of an entry that is there, keys that `value` does not have stay, except those in `drop`.

        Raises:
            HostFileError: It is malformed, or the entry cannot be put in without other changes.
        """
        try:
            text = self._text()
            old = _at(self._plain(text), path)
            merged = _merged(old, value, drop) if isinstance(old, dict) else value
            after = self._put(text, path, old, merged)
            self._require_nothing_else(text, after, path, merged)
        except MalformedError as error:
            raise self._malformed(error) from error
        return self._bytes(after)

    def take(self, path: Sequence[str]) -> bytes:
        """The content without the entry at `path`.

        Raises:
            HostFileError: It is malformed, or the entry cannot be taken out without other changes.
        """
        try:
            text = self._text()
            if self.format == "toml":
                after = toml_edit.take(text, path)
            else:
                after = json_edit.take(text, path, relaxed=self._relaxed)
            self._require_nothing_else(text, after, path, None)
        except MalformedError as error:
            raise self._malformed(error) from error
        return self._bytes(after)

    def diff(self, after: bytes) -> str:
        """The change to `after`, as a unified diff; empty if there is none."""
        old = "" if self.before is None else self.before.decode("utf-8", "replace")
        lines = difflib.unified_diff(
            old.splitlines(keepends=True),
            after.decode("utf-8", "replace").splitlines(keepends=True),
            "/dev/null" if self.before is None else str(self.path),
            str(self.path),
        )
        complete = "\n\\ No newline at end of file\n"
        return "".join(line if line.endswith("\n") else line + complete for line in lines)

    def write(self, after: bytes) -> Path | None:
        """Replace the file by `after`; gives the place of the copy of what it was, if it was.

        A link stays one: what it leads to is replaced. Mode and owner stay.

        Raises:
            HostFileError: It cannot be written, or somebody else has changed it since it was read.
        """
        try:
            target = Path(os.path.realpath(self.path))
            if self.before is None:
                target.parent.mkdir(parents=True, exist_ok=True)
                write_whole(target, after, mode=_NEW_MODE)
                return None
            at = target.stat()
            mode, owner = at.st_mode & 0o7777, (at.st_uid, at.st_gid)
            backup = target.with_name(target.name + BACKUP_SUFFIX)
            write_whole(backup, self.before, mode=mode, owner=owner)
            if target.read_bytes() != self.before:
                raise HostFileError(
                    self.path, "was changed by another program meanwhile", hint="Try again."
                )
            write_whole(target, after, mode=mode, owner=owner)
        except OSError as error:
            raise HostFileError(
                self.path, f"cannot be written: {error.strerror}",
                hint="Make it and its directory writable, or put in what 'pyro host print-config' "
                "prints by hand.",
            ) from error  # fmt: skip
        return backup

    @property
    def _relaxed(self) -> bool:
        return self.format == "jsonc"

    def _text(self) -> str:
        try:
            # Line ends stay as they are.
            return (self.before or b"").decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = (self.before or b"")[: error.start]
            raise MalformedError(
                "there are bytes that are not UTF-8",
                line=before.count(b"\n") + 1,
                column=error.start - before.rfind(b"\n"),
            ) from error

    def _bytes(self, text: str) -> bytes:
        marked = (self.before or b"").startswith(_BYTE_ORDER_MARK.encode())
        return ((_BYTE_ORDER_MARK if marked else "") + text).encode()

    def _plain(self, text: str) -> dict[str, Any]:
        if self.format == "toml":
            return toml_edit.plain(text)
        return json_edit.plain(text, relaxed=self._relaxed)

    def _put(self, text: str, path: Sequence[str], old: Any, value: dict[str, Any]) -> str:
        if self.format == "toml":
            return toml_edit.put(text, path, value)
        if not isinstance(old, dict):
            return json_edit.put(text, path, value, relaxed=self._relaxed)
        for key in old.keys() - value.keys():
            text = json_edit.take(text, [*path, key], relaxed=self._relaxed)
        for key, one in value.items():
            text = json_edit.put(text, [*path, key], one, relaxed=self._relaxed)
        return text

    def _require_nothing_else(
        self, before: str, after: str, path: Sequence[str], value: dict[str, Any] | None
    ) -> None:
        """Our own work, checked: only the entry differs."""
        container = path[:-1]
        old, new = self._plain(before), self._plain(after)
        was, now = _taken(old, path), _taken(new, path)
        if _at(now, container) in (None, {}) and _at(was, container) in (None, {}):
            was, now = _taken(was, container), _taken(now, container)
        if was != now or _at(new, path) != value:
            raise HostFileError(
                self.path, "is written in a way that pyro cannot change without other changes",
                hint="Put in what 'pyro host print-config' prints by hand.",
            )  # fmt: skip

    def _malformed(self, error: MalformedError) -> HostFileError:
        return HostFileError(
            self.path, f"is malformed at line {error.line}, column {error.column}: {error.wrong}",
            hint="Mend it first; it was left as it is.",
        )  # fmt: skip


def _at(document: Any, path: Sequence[str]) -> Any:
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _taken(document: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    name, *rest = path
    if name not in document:
        return document
    changed = dict(document)
    if not rest:
        del changed[name]
    elif isinstance(changed[name], dict):
        changed[name] = _taken(changed[name], rest)
    return changed


def _merged(old: dict[str, Any], new: dict[str, Any], drop: frozenset[str]) -> dict[str, Any]:
    kept = {key: one for key, one in old.items() if key in new or key not in drop}
    for key, one in new.items():
        both = isinstance(one, dict) and isinstance(kept.get(key), dict) and key not in drop
        kept[key] = {**kept[key], **one} if both else one
    return kept
