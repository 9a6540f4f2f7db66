"""JSON as programs and people write it, read together with the place of each part.

RFC 8259, and where a reader allows them `//` and `/* */` comments and a comma after the last
item. Only positions make it possible to change one entry and leave every other byte alone.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

_BLANK = re.compile(r"[ \t\r\n]*")
_BLANK_OR_COMMENT = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\[^\x00-\x1f])*"')
_ATOM = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
_DEEPEST = 200


class MalformedError(Exception):
    """The text is not of its format; `line` and `column` count from 1."""

    def __init__(self, wrong: str, *, line: int, column: int) -> None:
        super().__init__(wrong)
        self.wrong = wrong
        self.line = line
        self.column = column


@dataclass(frozen=True, kw_only=True)
class Value:
    """One value of a document, and the text that it stands in."""

    start: int
    end: int
    plain: Any
    """What `json.loads` would give."""
    members: tuple[Member, ...] = ()
    """Of an object, in order; a name may come twice, and the last one counts."""
    commas: tuple[int, ...] = field(default=(), repr=False)
    """Of an object: where its commas stand; one for each member if it ends with a comma."""

    def member(self, name: str) -> Member | None:
        """The member that counts under this name."""
        return next((one for one in reversed(self.members) if one.name == name), None)


@dataclass(frozen=True, kw_only=True)
class Member:
    """A name of an object, and its value."""

    start: int
    name: str
    value: Value


def parse(text: str, *, relaxed: bool) -> Value:
    """The document in `text`; `relaxed` allows comments and commas after the last item.

    Raises:
        MalformedError: It is not one value of JSON, or nested too deeply.
    """
    reader = _Reader(text, relaxed=relaxed)
    reader.skip()
    value = reader.value(_DEEPEST)
    reader.skip()
    if reader.at < len(text):
        reader.fail("something follows the end of the document")
    return value


def is_blank(text: str, *, relaxed: bool) -> bool:
    """Whether there is nothing but white space, and comments where they are allowed."""
    reader = _Reader(text, relaxed=relaxed)
    reader.skip()
    return reader.at == len(text)


class _Reader:
    def __init__(self, text: str, *, relaxed: bool) -> None:
        self.at = 0
        self._text = text
        self._relaxed = relaxed
        self._between = _BLANK_OR_COMMENT if relaxed else _BLANK

    def skip(self) -> None:
        found = self._between.match(self._text, self.at)
        assert found is not None
        self.at = found.end()

    def value(self, deepest: int) -> Value:
        if deepest == 0:
            self.fail(f"it is nested deeper than {_DEEPEST} levels")
        match self._text[self.at : self.at + 1]:
            case "{":
                return self._object(deepest)
            case "[":
                return self._array(deepest)
            case '"':
                start = self.at
                return Value(start=start, plain=self._string(), end=self.at)
        found = _ATOM.match(self._text, self.at)
        if found is None:
            self.fail("a value is expected")
        self.at = found.end()
        return Value(start=found.start(), end=found.end(), plain=json.loads(found[0]))

    def fail(self, wrong: str) -> NoReturn:
        if self.at >= len(self._text):
            wrong = f"{wrong}, and the file ends"
        elif self._text.startswith(("//", "/*"), self.at):
            why = "it does not end" if self._relaxed else "this program reads none"
            wrong = f"there is a comment, and {why}"
        before = self._text[: self.at]
        line_start = before.rfind("\n") + 1
        raise MalformedError(wrong, line=before.count("\n") + 1, column=self.at - line_start + 1)

    def _object(self, deepest: int) -> Value:
        start = self.at
        members: list[Member] = []
        commas: list[int] = []
        self.at += 1
        while not self._closes("}", after_comma=len(commas) == len(members) > 0):
            if len(members) > len(commas):
                commas.append(self.at)
                self._expect(",", "a comma or '}' is expected")
                continue
            at = self.at
            if self._text[at : at + 1] != '"':
                self.fail("a name in double quotes is expected")
            name = self._string()
            self.skip()
            self._expect(":", "a colon is expected")
            self.skip()
            members.append(Member(start=at, name=name, value=self.value(deepest - 1)))
        return Value(
            start=start,
            end=self.at,
            plain={one.name: one.value.plain for one in members},
            members=tuple(members),
            commas=tuple(commas),
        )

    def _array(self, deepest: int) -> Value:
        start = self.at
        items: list[Any] = []
        commas = 0
        self.at += 1
        while not self._closes("]", after_comma=commas == len(items) > 0):
            if len(items) > commas:
                commas += 1
                self._expect(",", "a comma or ']' is expected")
                continue
            items.append(self.value(deepest - 1).plain)
        return Value(start=start, end=self.at, plain=items)

    def _closes(self, bracket: str, *, after_comma: bool) -> bool:
        self.skip()
        if self._text[self.at : self.at + 1] != bracket:
            return False
        if after_comma and not self._relaxed:
            self.fail(f"there is a comma before '{bracket}'")
        self.at += 1
        return True

    def _string(self) -> str:
        found = _STRING.match(self._text, self.at)
        if found is None:
            self.fail("there is a string that does not end on its line")
        try:
            text: str = json.loads(found[0])
        except ValueError:
            self.fail("there is a string with an escape that is none")
        self.at = found.end()
        return text

    def _expect(self, mark: str, wrong: str) -> None:
        if self._text[self.at : self.at + 1] != mark:
            self.fail(wrong)
        self.at += 1
