"""The SDK is the contract's: every name, parameter, kind and default; more is allowed."""

import inspect
import json
from pathlib import Path
from typing import Any

import pyro_mcp
from pyro_mcp import Pyro

CONTRACT = json.loads(Path(__file__).with_name("sdk.json").read_text())
METHODS: dict[str, dict[str, Any]] = {one["name"]: one for one in CONTRACT["methods"]}
_KINDS = {
    "positional_or_keyword": inspect.Parameter.POSITIONAL_OR_KEYWORD,
    "keyword_only": inspect.Parameter.KEYWORD_ONLY,
}


def _differences(callable_: Any, promised: list[dict[str, Any]], name: str) -> list[str]:
    ours = inspect.signature(callable_).parameters
    found = []
    for expected in promised:
        one = ours.get(expected["name"])
        if one is None:
            found.append(f"{name} has no {expected['name']}")
            continue
        if one.kind is not _KINDS[expected["kind"]]:
            found.append(f"{name}({one.name}) is {one.kind}")
        default = inspect.Parameter.empty if expected["required"] else expected["default"]
        if one.default != default:
            found.append(f"{name}({one.name}) is {one.default!r} when it is left out")
    known = {expected["name"] for expected in promised}
    for one in ours.values():
        if one.name not in known and one.name != "self":
            if one.kind is not inspect.Parameter.KEYWORD_ONLY:
                found.append(f"{name}({one.name}) is an extra that is not keyword-only")
            elif one.default is inspect.Parameter.empty:
                found.append(f"{name}({one.name}) is an extra that must be given")
    return found


def test_every_method_takes_what_the_contract_says() -> None:
    assert len(METHODS) == CONTRACT["counts"]["methods"]

    differences = [
        difference
        for name, promised in METHODS.items()
        for difference in _differences(getattr(Pyro, name), promised["parameters"], name)
    ]

    assert differences == []


def test_the_constructor_takes_what_the_contract_says() -> None:
    """But for the limit of machines, which is the host's memory unless one is given."""
    promised = [
        {**one, "default": None} if one["name"] == "max_active_vms" else one
        for one in CONTRACT["constructor"]["parameters"]
    ]

    assert _differences(Pyro.__init__, promised, "Pyro") == []


def test_the_package_exports_what_the_contract_says() -> None:
    assert set(CONTRACT["package_exports"]) <= set(pyro_mcp.__all__)


def test_the_factories_of_servers_take_a_profile() -> None:
    server = inspect.signature(pyro_mcp.create_server).parameters

    assert server["manager"].default is None
    assert server["profile"].kind is inspect.Parameter.KEYWORD_ONLY
    assert server["profile"].default == "workspace-full"
