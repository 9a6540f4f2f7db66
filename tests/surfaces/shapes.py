"""The contract's shapes, and whether an answer has one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parent / "contract/shapes.json").read_text()
)
_PLAIN: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "object<string,string>": (dict,),
}  # fmt: skip


def check(answer: Any, kind: str, where: str = "answer") -> None:
    """Fail where `answer` lacks something that the contract promises; more is allowed."""
    if kind.endswith("|null"):
        if answer is None:
            return
        kind = kind.removesuffix("|null")
    if kind.startswith("array<"):
        assert isinstance(answer, list), where
        for number, item in enumerate(answer):
            check(item, kind[6:-1], f"{where}[{number}]")
    elif kind in SHAPES:
        for field, inner in SHAPES[kind].items():
            assert field in answer, f"{where}.{field}"
            check(answer[field], inner, f"{where}.{field}")
    else:
        name, _, rest = kind.partition(" ")
        assert isinstance(answer, _PLAIN[name]), f"{where} is {answer!r}, not {kind}"
        if rest.startswith("enum "):
            assert answer in rest[5:].split("|"), where
