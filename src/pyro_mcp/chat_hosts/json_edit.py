"""Change one member of a JSON text and leave every other byte as it is."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pyro_mcp.chat_hosts.jsonc import MalformedError, Value, is_blank, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

_INDENTED = re.compile(r"^([ \t]+)[^\s/*]", re.MULTILINE)
_DEFAULT_INDENT = "  "


def plain(text: str, *, relaxed: bool) -> dict[str, Any]:
    """The document as Python values; an empty file is an empty object.

    Raises:
        MalformedError: It is not JSON, or not an object.
    """
    if is_blank(text, relaxed=relaxed):
        return {}
    return dict(_root(text, relaxed=relaxed).plain)


def put(text: str, path: Sequence[str], value: Any, *, relaxed: bool) -> str:
    """The text with `value` at `path`; what is missing on the way there is made.

    Raises:
        MalformedError: The text is not JSON, or something on the way is not an object.
    """
    end = _newline(text)
    if is_blank(text, relaxed=relaxed):
        head = text.rstrip()
        whole = _nested(path, value)
        return (head + end if head else "") + _lines(whole, "", _DEFAULT_INDENT, end) + end
    at = _root(text, relaxed=relaxed)
    for depth, name in enumerate(path):
        member = at.member(name)
        if member is None:
            return _insert(text, at, name, _nested(path[depth + 1 :], value))
        if depth + 1 < len(path):
            _require_object(text, member.value, name)
        at = member.value
    if at.plain == value:
        return text
    shown = _shown(text, value, like=at, base=_indent_of_line(text, at.start))
    return text[: at.start] + shown + text[at.end :]


def take(text: str, path: Sequence[str], *, relaxed: bool) -> str:
    """The text without the member at `path`, however often it is there.

    Raises:
        MalformedError: The text is not JSON, or something on the way is not an object.
    """
    if is_blank(text, relaxed=relaxed):
        return text
    *way, last = path
    while True:
        at = _root(text, relaxed=relaxed)
        for name in way:
            member = at.member(name)
            if member is None:
                return text
            at = _require_object(text, member.value, name)
        index = next((i for i, one in enumerate(at.members) if one.name == last), None)
        if index is None:
            return text
        text = _without(text, at, index)


def _root(text: str, *, relaxed: bool) -> Value:
    value = parse(text, relaxed=relaxed)
    return _require_object(text, value, None)


def _require_object(text: str, value: Value, name: str | None) -> Value:
    if isinstance(value.plain, dict):
        return value
    before = text[: value.start]
    raise MalformedError(
        f"{'the document' if name is None else repr(name)} is not an object",
        line=before.count("\n") + 1,
        column=value.start - before.rfind("\n"),
    )


def _nested(path: Sequence[str], value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _insert(text: str, parent: Value, name: str, value: Any) -> str:
    """`name` as the last member of `parent`, in the style of the members before it."""
    end = _newline(text)
    close = parent.end - 1
    # What comes before the brace may be a comment; a new member goes after it.
    last = parent.start + len(text[parent.start : close].rstrip())
    inside = text[parent.start + 1 : close]
    if parent.members and "\n" not in inside:
        between = ", " if ", " in inside or len(parent.members) == 1 else ","
        member = f"{json.dumps(name)}: {_shown(text, value, like=parent, base='')}"
        end_of_last = parent.members[-1].value.end
        return f"{text[:end_of_last]}{between}{member}{text[end_of_last:]}"
    unit = _unit(text)
    if parent.members:
        base = _indent_of_line(text, parent.members[-1].start)
    else:
        base = _indent_of_line(text, parent.start) + unit
    member = f"{base}{json.dumps(name)}: {_lines(value, base, unit, end)}"
    head = text[:last]
    if parent.members and len(parent.commas) < len(parent.members):
        value_end = parent.members[-1].value.end
        head = f"{text[:value_end]},{text[value_end:last]}"
    elif parent.members:
        member += ","  # as the one before
    tail = text[last:]
    if "\n" not in tail[: tail.index("}")]:
        tail = end + _indent_of_line(text, parent.start) + tail.lstrip()
    return f"{head}{end}{member}{tail}"


def _without(text: str, parent: Value, index: int) -> str:
    """The text without one member, its comma, and the lines that hold nothing else."""
    member = parent.members[index]
    start, end = member.start, member.value.end
    if index < len(parent.commas):
        between = text[end : parent.commas[index]]
        text = text[:end] + between + text[parent.commas[index] + 1 :]
    elif index:
        # The last one, without a comma of its own: the one before it goes.
        comma = parent.commas[index - 1]
        text = text[:comma] + text[comma + 1 :]
        start, end = start - 1, end - 1
    if (
        len(parent.members) == 1
        and not (text[parent.start + 1 : start] + text[end : text.index("}", end)]).strip()
    ):
        return text[: parent.start] + "{}" + text[text.index("}", end) + 1 :]
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end + 1
    if not text[line_start:start].strip() and not text[end:line_end].strip():
        return text[:line_start] + text[line_end:]
    if text[:start].endswith("{"):
        return text[:start] + text[end:].lstrip(" \t")
    return text[:start].rstrip(" \t") + text[end:]


def _shown(text: str, value: Any, *, like: Value, base: str) -> str:
    """`value` on one line if what it stands for was, and on several otherwise."""
    old = text[like.start : like.end]
    if "\n" not in old and not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if "\n" not in old and like.members:
        return json.dumps(value, ensure_ascii=False)
    return _lines(value, base, _unit(text), _newline(text))


def _lines(value: Any, base: str, unit: str, end: str) -> str:
    """Indented as most programs write it, except that lists of words stay on one line."""
    if isinstance(value, dict) and value:
        members = (
            f"{base}{unit}{json.dumps(name, ensure_ascii=False)}: "
            f"{_lines(one, base + unit, unit, end)}"
            for name, one in value.items()
        )
        return "{" + end + f",{end}".join(members) + end + base + "}"
    return json.dumps(value, ensure_ascii=False)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _unit(text: str) -> str:
    found = _INDENTED.search(text)
    return found[1] if found else _DEFAULT_INDENT


def _indent_of_line(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]
