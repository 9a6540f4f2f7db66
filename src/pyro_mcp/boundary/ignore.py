"""Which entries of a source stay behind: the caller's patterns, and `.gitignore` on request.

Both are patterns as git reads them. A file that git tracks although a pattern matches it stays
behind as well: asking git would run what the repository's own configuration says.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyro_mcp.errors import InvalidInputError

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

    from pathspec import GitIgnoreSpec

    _Rule = tuple[bool, re.Pattern[str]]
    """Whether it ignores or takes back in, and what it is for."""

_LARGEST_FILE = 1 << 20
_BELOW = "ps_d"
"""The library's name for the slash after a directory that a pattern matches."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Excludes:
    """The caller's patterns; none match anything when there are none."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Raises `InvalidInputError` for what is no pattern."""
        self._spec = _parse([_pattern(pattern) for pattern in patterns]) if patterns else None

    def match(self, path: bytes, *, directory: bool) -> bool:
        """Whether it stays behind, itself or with a directory above it."""
        if self._spec is None:
            return False
        return self._spec.match_file(_name(path, directory=directory))


class IgnoreRules:
    """The `.gitignore` files that apply below one directory, the innermost last."""

    def __init__(self, rules: tuple[tuple[int, list[_Rule]], ...] = ()) -> None:
        self._rules = rules

    def below(self, folder: bytes, content: bytes) -> IgnoreRules:
        """The rules with those of another file, which lies in `folder`."""
        text = content[:_LARGEST_FILE].removeprefix(_BYTE_ORDER_MARK)
        # Only a newline ends a line, with or without a carriage return, whatever else may be one.
        lines = [
            line.removesuffix("\r") for line in text.decode("utf-8", "surrogateescape").split("\n")
        ]
        try:
            spec = _parse(lines)
        except ValueError:
            # git passes over lines that it does not understand.
            spec = _parse([line for line in lines if _understood(line)])
        return IgnoreRules((*self._rules, (len(folder) + 1 if folder else 0, _regexes(spec))))

    def match(self, path: bytes, *, directory: bool) -> bool:
        """Whether git would ignore it, given that it does not ignore its parents."""
        for start, rules in reversed(self._rules):
            found = _said_of(rules, _name(path[start:], directory=directory))
            if found is not None:
                return found
        return False


def _regexes(spec: GitIgnoreSpec) -> list[_Rule]:
    from pathspec.pattern import RegexPattern

    return [
        (bool(pattern.include), pattern.regex)
        for pattern in reversed(list(spec.patterns))
        if isinstance(pattern, RegexPattern) and pattern.regex is not None
    ]


def _said_of(rules: list[_Rule], name: str) -> bool | None:
    """Whether the last rule that is for this entry ignores it.

    The library's patterns match what is below a directory as well, and so does `!src/`. But here
    no directory above is ignored, and such a pattern says nothing of what is in it.
    """
    for ignores, regex in rules:
        if regex.search(name) and any(_is_whole(found) for found in regex.finditer(name)):
            return ignores
    return None


def _is_whole(found: re.Match[str]) -> bool:
    below = found.groupdict().get(_BELOW)
    return below is None or found.end(_BELOW) == len(found.string)


def _name(path: bytes, *, directory: bool) -> str:
    name = os.fsdecode(path)
    return f"{name}/" if directory else name


def _parse(lines: Sequence[str]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec  # costs start-up time, and few transfers have patterns

    return GitIgnoreSpec.from_lines(lines)


def _understood(line: str) -> bool:
    try:
        _parse([line])
    except ValueError:
        return False
    return True


def _pattern(pattern: object) -> str:
    wrong = None
    if not isinstance(pattern, str) or not pattern.strip() or pattern.lstrip().startswith("#"):
        wrong = "is no pattern"
    elif "\n" in pattern or "\0" in pattern:
        wrong = "has a newline or zero byte"
    elif not _understood(pattern):
        wrong = "is not understood"
    if wrong:
        raise InvalidInputError(
            f"The exclude pattern {pattern!r}",
            wrong,
            hint="Give a pattern as in a .gitignore file, such as 'node_modules/' or '*.log'.",
        )
    return str(pattern)
