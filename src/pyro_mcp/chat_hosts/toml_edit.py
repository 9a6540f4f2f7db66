"""Change one table of a TOML text and leave everything else as it is.

A new table is appended and an old one cut out as text, so that no byte around it changes; what is
written in another form (inline, with dotted keys) is left to tomlkit, which keeps the style.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from pyro_mcp.chat_hosts.jsonc import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PLACE = re.compile(r"^(?P<wrong>.*?) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|.*)\)$")
_HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)


def plain(text: str) -> dict[str, Any]:
    """The document as Python values.

    Raises:
        MalformedError: It is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        last = text.count("\n") + 1
        found = _PLACE.match(str(error))
        wrong, line, column = found.group("wrong", "line", "column") if found else (error, 0, 0)
        raise MalformedError(
            str(wrong)[:1].lower() + str(wrong)[1:],
            line=int(line or last),
            column=int(column or len(text) - text.rfind("\n")),
        ) from error


def put(text: str, path: Sequence[str], value: Mapping[str, Any]) -> str:
    """The text with the table `value` at `path`.

    Raises:
        MalformedError: The text is not TOML, or something on the way is not a table.
    """
    before = plain(text)
    if _at(before, path) == value:
        return text
    wanted = _with(before, path, value)
    if _at(before, path) is None:
        longer = _appended(text, path, value)
        if _is(longer, wanted):
            return longer
    return _by_library(text, path, value)


def take(text: str, path: Sequence[str]) -> str:
    """The text without the table at `path`.

    Raises:
        MalformedError: The text is not TOML, or something on the way is not a table.
    """
    before = plain(text)
    if _at(before, path) is None:
        return text
    wanted = _with(before, path, None)
    for shorter in _cuts(text, path):
        # A super-table that only existed by its last child goes with it.
        if _is(shorter, wanted) or _is(shorter, _without_empty(wanted, path)):
            return shorter
    return _by_library(text, path, None)


def _at(document: Mapping[str, Any], path: Sequence[str]) -> Any:
    at: Any = document
    for depth, name in enumerate(path):
        if not isinstance(at, dict):
            raise MalformedError(f"{path[depth - 1]!r} is not a table", line=1, column=1)
        at = at.get(name)
        if at is None:
            return None
    return at


def _with(
    document: Mapping[str, Any], path: Sequence[str], value: Mapping[str, Any] | None
) -> dict[str, Any]:
    name, *rest = path
    changed = dict(document)
    if rest:
        changed[name] = _with(changed.get(name, {}), rest, value)
    elif value is None:
        changed.pop(name, None)
    else:
        changed[name] = dict(value)
    return changed


def _without_empty(document: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    parent = path[:-1]
    return _with(document, parent, None) if _at(document, parent) == {} else dict(document)


def _is(text: str, wanted: Mapping[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _appended(text: str, path: Sequence[str], value: Mapping[str, Any]) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    gap = "" if not text.strip() else end if text.endswith("\n") else end * 2
    return text + gap + end.join(_table(path, value)) + end


def _table(path: Sequence[str], value: Mapping[str, Any]) -> Iterator[str]:
    import tomlkit

    yield f"[{'.'.join(path)}]"
    below = {name: one for name, one in value.items() if isinstance(one, dict)}
    for name, one in value.items():
        if name not in below:
            yield f"{tomlkit.key(name).as_string()} = {tomlkit.item(one).as_string()}"
    for name, one in below.items():
        yield ""
        yield from _table([*path, tomlkit.key(name).as_string()], one)


def _cuts(text: str, path: Sequence[str]) -> Iterator[str]:
    """The text without what may be the table and those below it, the likeliest first.

    Where a table ends cannot be told from lines alone (a text in three quotes may hold what looks
    like a header), so each of these is parsed by the caller.
    """
    dotted = r"[ \t]*\.[ \t]*".join(rf"[\"']?{re.escape(name)}[\"']?" for name in path)
    ours = re.compile(rf"[ \t]*\[[ \t]*{dotted}[ \t]*(?:\.[^\]\n]*)?\]")
    starts = [found.start() for found in _HEADER.finditer(text)]
    for first in (start for start in starts if ours.match(text, start)):
        others = [at for at in starts if at > first and not ours.match(text, at)]
        for end in [*others, len(text)]:
            block = text[first:end]
            kept = _trailing_comments(block)
            before = text[:first]
            if kept or end == len(text):
                # The blank line before the table was its own.
                before = re.sub(r"(\r?\n)[ \t]*\r?\n\Z", r"\1", before)
            yield before + kept + text[end:]
            yield text[:first] + text[end:]


def _trailing_comments(block: str) -> str:
    """Comments at the end of a table's lines: they speak of what follows it."""
    lines = block.splitlines(keepends=True)
    count = 0
    for line in reversed(lines):
        if line.strip() and not line.lstrip().startswith("#"):
            break
        count += 1
    kept = "".join(lines[len(lines) - count :])
    return kept if kept.strip() else ""


def _by_library(text: str, path: Sequence[str], value: Mapping[str, Any] | None) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    at: Any = document
    for name in path[:-1]:
        if name not in at:
            at[name] = tomlkit.table(is_super_table=True)
        at = at[name]
    last = path[-1]
    if value is None:
        del at[last]
    elif last in at:
        table = at[last]
        for name in [name for name in table if name not in value]:
            del table[name]
        for name, one in value.items():
            if name not in table or table[name] != one:
                table[name] = one
    else:
        at[last] = dict(value)
    return tomlkit.dumps(document)
