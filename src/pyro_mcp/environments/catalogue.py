"""Which environments there are: pyro's own (`catalogue.toml`) and the user's, from the same form.

    [[environment]]
    name = "lab"                      # also "lab:2": lower case letters, digits and . + - ; one ':'
    suite = "bookworm"                # of the Debian archive
    packages = ["git", "nodejs"]      # besides the essential ones and apt
    description = "what it is for"    # optional
    version = "1.0.0"                 # optional; otherwise it follows from the content
    unpacked_mib = 400                # optional; room that is asked for before building
    files = [{ source = "motd", target = "/etc/motd", mode = "0644" }]   # optional

`source` is taken from the folder of the catalogue file. An entry that changes is built anew.
"""

from __future__ import annotations

import re
import tomllib
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pyro_mcp.errors import CatalogueError, UnknownEnvironmentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyro_mcp.config import Settings

OWN_CATALOGUE = Path(__file__).with_name("catalogue.toml")

RECIPE = 3
"""Raised when the same entry would give another image, so that installed ones are made anew."""

_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*(:[a-z0-9][a-z0-9.+-]*)?")
_SUITE = re.compile(r"[a-z][a-z0-9.-]*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+")  # Debian Policy 5.6.1
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+]*")
_MODE = re.compile(r"0?[0-7]{3,4}")
_KEYS = frozenset(("name", "suite", "packages", "description", "version", "files", "unpacked_mib"))
_FILE_KEYS = frozenset(("source", "target", "mode"))
_DEBIAN = {"bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14", "sid": "unstable"}
_DEFAULT_UNPACKED_MIB = 500


class PlacedFile(NamedTuple):
    """A file of the host that an environment carries."""

    source: Path
    target: str
    mode: int
    digest: str


class Entry(NamedTuple):
    """One environment, as it is to be built."""

    name: str
    version: str
    suite: str
    packages: tuple[str, ...]
    description: str
    files: tuple[PlacedFile, ...]
    unpacked_mib: int
    recipe: str
    """Digest of all that decides about the image, the archive's state excepted."""

    @property
    def directory_name(self) -> str:
        """Its place below the platform's folder; different entries never share one."""
        return f"{self.name.replace(':', '_')}-{self.version}"

    @property
    def distribution_version(self) -> str:
        """Debian's number of the suite, or the suite where it has none."""
        return _DEBIAN.get(self.suite, self.suite)


class Catalogue(NamedTuple):
    """All environments, pyro's own first."""

    version: str
    entries: Mapping[str, Entry]

    def entry(self, name: str) -> Entry:
        """The environment of that exact name.

        Raises:
            UnknownEnvironmentError: there is none.
        """
        try:
            return self.entries[name]
        except KeyError:
            raise UnknownEnvironmentError(name, list(self.entries)) from None


def load_catalogue(settings: Settings) -> Catalogue:
    """Read pyro's own catalogue and the user's, if there is one.

    Raises:
        CatalogueError: the user's cannot be used; it says where and why.
    """
    own = _Reader(OWN_CATALOGUE)
    entries = own.entries(taken={})
    if _is_there(settings.catalogue):
        entries |= _Reader(settings.catalogue).entries(taken=entries)
    return Catalogue(str(own.document["catalogue_version"]), entries)


class _Reader:
    """Reads one file; every complaint names the file and the entry."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._where = ""
        try:
            self.document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise self._wrong(
                f"cannot be read: {error.strerror}", hint="Make it readable, or remove it."
            ) from error
        except ValueError as error:  # TOML and UTF-8
            raise self._wrong(f"is not TOML: {error}", hint="Correct that line.") from error

    def entries(self, *, taken: Mapping[str, Entry]) -> dict[str, Entry]:
        tables = self.document.get("environment", [])
        unknown = self.document.keys() - {"environment", "catalogue_version"}
        if unknown or not isinstance(tables, list):
            raise self._wrong(
                f"has {', '.join(sorted(unknown)) or 'environment'} where only "
                "[[environment]] tables are expected",
                hint="Each environment begins with a line [[environment]].",
            )
        found: dict[str, Entry] = {}
        for number, table in enumerate(tables, start=1):
            self._where = f"entry {number}"
            entry = self._entry(table)
            if entry.name in taken:
                raise self._wrong(
                    "takes a name of pyro's own catalogue", hint="Give it another name."
                )
            if entry.name in found:
                raise self._wrong("has the name of an earlier entry", hint="Rename one of them.")
            found[entry.name] = entry
        return found

    def _entry(self, table: Any) -> Entry:
        if not isinstance(table, dict):
            raise self._wrong("is not a table", hint="Begin it with a line [[environment]].")
        name = self._text(table, "name", _NAME, "lower case letters, digits and . + - with one ':'")
        self._where = f"entry {name!r}"
        if unknown := table.keys() - _KEYS:
            raise self._wrong(
                f"has the unknown key {sorted(unknown)[0]!r}",
                hint=f"Known are {', '.join(sorted(_KEYS))}.",
            )
        suite = self._text(table, "suite", _SUITE, "the name of a Debian suite")
        packages = self._packages(table.get("packages", []))
        files = tuple(self._file(item) for item in self._list(table, "files"))
        targets = [file.target for file in files]
        if twice := {target for target in targets if targets.count(target) > 1}:
            raise self._wrong(f"places {sorted(twice)[0]} twice", hint="Keep one of them.")
        description = table.get("description", "")
        if not isinstance(description, str):
            raise self._wrong("has a description that is no text", hint="Put it in quotes.")
        unpacked = table.get("unpacked_mib", _DEFAULT_UNPACKED_MIB)
        if type(unpacked) is not int or not 1 <= unpacked <= 1 << 20:
            raise self._wrong(
                "has an unpacked_mib that is no number of MiB", hint="Give a whole number."
            )
        recipe = _digest(suite, packages, files)
        version = f"0+{recipe[:12]}"
        if "version" in table:
            version = self._text(table, "version", _VERSION, "digits first, then letters . +")
        return Entry(
            name=name,
            version=version,
            suite=suite,
            packages=packages,
            description=description,
            files=files,
            unpacked_mib=unpacked,
            recipe=recipe,
        )

    def _text(self, table: dict[str, Any], key: str, form: re.Pattern[str], words: str) -> str:
        value = table.get(key)
        if value is None:
            raise self._wrong(f"has no {key}", hint=f'Add {key} = "..." ({words}).')
        if not isinstance(value, str) or not form.fullmatch(value):
            raise self._wrong(f"has the {key} {value!r}", hint=f"It must be {words}.")
        return value

    def _list(self, table: dict[str, Any], key: str) -> Sequence[Any]:
        value = table.get(key, [])
        if not isinstance(value, list):
            raise self._wrong(f"has {key} that is no list", hint="Put it in [ ].")
        return value

    def _packages(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise self._wrong("has packages that are no list", hint='Write ["git", "curl"].')
        for name in value:
            if not isinstance(name, str) or not _PACKAGE.fullmatch(name):
                raise self._wrong(
                    f"asks for the package {name!r}", hint="That is no name of a Debian package."
                )
        return tuple(dict.fromkeys(value))

    def _file(self, item: Any) -> PlacedFile:
        if not isinstance(item, dict) or not {"source", "target"} <= item.keys() <= _FILE_KEYS:
            raise self._wrong(
                f"has the file {item!r}",
                hint='Write { source = "motd", target = "/etc/motd", mode = "0644" }.',
            )
        source, target, mode = item["source"], item["target"], item.get("mode", "0644")
        if not isinstance(target, str) or not _is_plain_absolute(target):
            raise self._wrong(
                f"places a file at {target!r}", hint="Give an absolute path without '..'."
            )
        if not isinstance(mode, str) or not _MODE.fullmatch(mode):
            raise self._wrong(
                f"gives {target} the mode {mode!r}", hint='Write it in octal, as "0755".'
            )
        if not isinstance(source, str) or not source:
            raise self._wrong(f"has no source for {target}", hint="Name a file of this host.")
        path = self._path.parent / Path(source).expanduser()
        try:
            digest = sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise self._wrong(
                f"places {path} at {target}, which cannot be read: {error.strerror}",
                hint="A source is a readable file, relative to the catalogue's folder.",
            ) from error
        return PlacedFile(path, target, int(mode, 8), digest)

    def _wrong(self, what: str, *, hint: str) -> CatalogueError:
        return CatalogueError(
            self._path, f"({self._where}) {what}" if self._where else what, hint=hint
        )


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # reading it says what is wrong
    return True


def _is_plain_absolute(path: str) -> bool:
    parts = path.split("/")
    return (
        parts[0] == ""
        and len(parts) > 1
        and "\0" not in path
        and all(part not in ("", ".", "..") for part in parts[1:])
    )


def _digest(suite: str, packages: Sequence[str], files: Sequence[PlacedFile]) -> str:
    facts = [
        str(RECIPE),
        suite,
        *sorted(packages),
        *(f"{file.target} {file.mode:o} {file.digest}" for file in sorted(files)),
    ]
    return sha256("\n".join(facts).encode()).hexdigest()
