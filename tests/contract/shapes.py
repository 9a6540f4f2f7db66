"""The contract's shapes, and whether an answer has one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_TOOLS = json.loads((_HERE / "mcp.json").read_text())["tools"]


def check_result(tool: str, answer: dict[str, Any]) -> None:
    """Fail where a tool's answer lacks a field that the contract promises."""
    if tool not in _TOOLS:
        return
    promised = _TOOLS[tool]["result_keys"]
    if "one_of" in promised:
        assert any(set(one) <= set(answer) for one in promised["one_of"])
    else:
        assert set(promised) <= set(answer), set(promised) - set(answer)
