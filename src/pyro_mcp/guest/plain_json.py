"""JSON objects without the package `json`, which costs 15 ms to import here."""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_BLANK = " \t\r\n"


class _Context:
    """What the interpreter's JSON scanner takes its settings from."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner of older Pythons wants the attribute


_scan = _json.make_scanner(_Context())  # type: ignore[arg-type]


def decode(payload: bytes) -> dict[str, object]:
    """A JSON object; `ValueError` says what else it is."""
    try:
        text = payload.decode().strip(_BLANK)
        value, end = _scan(text, 0)
    except (ValueError, StopIteration, RecursionError):
        raise ValueError("it is not JSON") from None
    if end != len(text) or not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def encode(value: Mapping[str, str | int | bool | None]) -> bytes:
    """A flat JSON object."""
    fields = (f"{_text(key)}:{_scalar(item)}" for key, item in value.items())
    return f"{{{','.join(fields)}}}".encode()


def _scalar(value: str | int | bool | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else str(value)


_text = _json.encode_basestring_ascii
