"""Keeping answers within what a model can take in: what is cut is said, and can be read."""

from __future__ import annotations

import re
from typing import Any

from pyro_mcp.errors import InvalidInputError

STREAM_CHARS = 16_000
"""Of each output stream of one command."""
ECHO_CHARS = 2_000
"""Of what the caller sent itself: a command, a patch."""
EXCERPT_CHARS = 1_000
"""Of each output stream of each command of a history."""
PATCH_CHARS = 32_000
"""Of the text of a diff."""
MAX_CHARS = 1_000_000
"""The largest part of a text that a call may ask for."""
ENTRIES = 400
"""Of one list."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def checked_range(offset: int, limit: int) -> tuple[int, int]:
    """The arguments `offset` and `max_chars`.

    Raises:
        InvalidInputError: One is outside its range.
    """
    if offset < 0:
        raise InvalidInputError("offset", f"is {offset}", hint="Count from 0.")
    if not 1 <= limit <= MAX_CHARS:
        raise InvalidInputError("max_chars", f"is {limit}", hint=f"Give 1 to {MAX_CHARS}.")
    return offset, limit


def middle_cut(text: str, limit: int, *, hint: str) -> str:
    """Head and tail of a text that is too long, and between them what is missing."""
    if len(text) <= limit:
        return text
    half = limit // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[... {left_out} characters left out; {hint} ...]\n{text[-half:]}"


def streams(answer: dict[str, Any], *, hint: str, limit: int = STREAM_CHARS) -> dict[str, Any]:
    """Cut `stdout` and `stderr`, and say so in `stdout_truncated` and `stderr_truncated`.

    `{offset}` in the hint becomes where the cut begins.
    """
    for stream in ("stdout", "stderr"):
        text = answer[stream]
        if len(text) > limit:
            said = hint.format(offset=limit // 2)
            answer[stream] = middle_cut(text, limit, hint=said)
            answer[f"{stream}_truncated"] = True
    return echo(answer, "command")


def echo(answer: dict[str, Any], key: str) -> dict[str, Any]:
    """Shorten what only repeats an argument of the call."""
    answer[key] = middle_cut(answer[key], ECHO_CHARS, hint="they are as they were sent")
    return answer


def window(
    answer: dict[str, Any], keys: tuple[str, ...], offset: int, limit: int
) -> dict[str, Any]:
    """Of each of these texts, the characters from `offset` on.

    Adds the length of each as `KEY_chars`, and `next_offset`, null at the end of the longest.
    """
    end = 0
    for key in keys:
        text = answer[key]
        end = max(end, len(text))
        answer[f"{key}_chars"] = len(text)
        answer[key] = text[offset : offset + limit]
    answer["offset"] = offset
    answer["next_offset"] = offset + limit if offset + limit < end else None
    return answer


def page(answer: dict[str, Any], key: str, offset: int, limit: int = ENTRIES) -> dict[str, Any]:
    """Of a list, the entries from `offset` on; `total` and `next_offset` tell of the rest."""
    checked_range(offset, limit)
    entries = answer[key]
    answer[key] = entries[offset : offset + limit]
    answer["total"] = len(entries)
    answer["next_offset"] = offset + limit if offset + limit < len(entries) else None
    return answer


def sendable(value: Any) -> Any:
    """The same, with bytes of names that are not UTF-8 replaced: JSON has no way to write them."""
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {sendable(key): sendable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [sendable(one) for one in value]
    return value
