"""The contract's shapes, and whether an answer has one."""

from __future__ import annotations

import json
from typing import Any

from tests.support.needs import CHECKOUT

_CONTRACT = CHECKOUT / "tests/contract"
SHAPES: dict[str, dict[str, str]] = json.loads((_CONTRACT / "sdk.json").read_text())["shapes"]
_TOOLS: dict[str, Any] = json.loads((_CONTRACT / "mcp.json").read_text())["tools"]
_PLAIN: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "object<string,string>": (dict,), "object": (dict,),
}  # fmt: skip


def check(answer: Any, kind: str, where: str = "answer") -> None:
    """Fail where `answer` lacks something that the contract promises; more is allowed."""
    kind = kind.partition(" (")[0]  # a remark
    if kind.endswith("|null"):
        if answer is None:
            return
        kind = kind.removesuffix("|null")
    if " | " in kind:
        assert _has_one_of(answer, kind.split(" | "), where), f"{where} is none of {kind}"
    elif kind.startswith("array<"):
        assert isinstance(answer, list), where
        for number, item in enumerate(answer):
            check(item, kind[6:-1], f"{where}[{number}]")
    elif kind == "readiness":
        assert answer["type"] in ("file", "tcp", "http", "command"), where
    elif kind in SHAPES:
        for field, inner in SHAPES[kind].items():
            assert field in answer, f"{where}.{field}"
            check(answer[field], inner, f"{where}.{field}")
    else:
        name, _, rest = kind.partition(" ")
        assert isinstance(answer, _PLAIN[name]), f"{where} is {answer!r}, not {kind}"
        if rest.startswith("enum "):
            assert answer in rest[5:].split("|"), where


def check_tool(tool: str, answer: dict[str, Any]) -> None:
    """The same for what a tool answers; tools that the contract does not know answer freely."""
    if tool in _TOOLS:
        kind = _TOOLS[tool]["result"]
        check(answer["result"] if kind.startswith("array<") else answer, kind, tool)


def _has_one_of(answer: Any, kinds: list[str], where: str) -> bool:
    for kind in kinds:
        try:
            check(answer, kind, where)
        except AssertionError:
            continue
        return True
    return False
