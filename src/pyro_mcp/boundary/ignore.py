"""Which entries of a source stay behind: the caller's patterns, and `.gitignore` on request.

Both are patterns as git reads them. A file that git tracks although a pattern matches it stays
behind as well: asking git would run what the repository's own configuration says.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyro_mcp.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pathspec import GitIgnoreSpec

_LARGEST_FILE = 1 << 20


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

    def __init__(self, rules: tuple[tuple[int, GitIgnoreSpec], ...] = ()) -> None:
        self._rules = rules

    def below(self, folder: bytes, content: bytes) -> IgnoreRules:
        """The rules with those of another file, which lies in `folder`."""
        lines = content[:_LARGEST_FILE].decode("utf-8", "surrogateescape").splitlines()
        try:
            spec = _parse(lines)
        except ValueError:
            # git passes over lines that it does not understand.
            spec = _parse([line for line in lines if _understood(line)])
        return IgnoreRules((*self._rules, (len(folder) + 1 if folder else 0, spec)))

    def match(self, path: bytes, *, directory: bool) -> bool:
        """Whether git would ignore it, given that it does not ignore its parents."""
        for start, spec in reversed(self._rules):
            found = spec.check_file(_name(path[start:], directory=directory)).include
            if found is not None:
                return bool(found)
        return False


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
