"""The documentation, as tests read it."""

import re
from pathlib import Path

from tests.support.needs import CHECKOUT

README = CHECKOUT / "README.md"
PAGES = [
    README,
    *sorted((CHECKOUT / "docs").rglob("*.md")),
    *sorted((CHECKOUT / "examples").rglob("*.md")),
]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    """Its path in the checkout."""
    return str(page.relative_to(CHECKOUT))


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of these languages."""
    return [text for language, text in _BLOCK.findall(page.read_text()) if language in languages]


def commands(page: Path, *programs: str) -> list[list[str]]:
    """The lines that run one of these programs, in words, without prompt and comment."""
    lines = [line for block in blocks(page, "sh", "console") for line in block.splitlines()]
    split = [line.removeprefix("$ ").partition(" # ")[0].split() for line in lines]
    return [words for words in split if words and words[0] in programs]
