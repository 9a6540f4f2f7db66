"""Tools for models that are held to a schema: the strict mode of OpenAI's APIs.

Strict schemas know no optional property, no default, and no object whose keys are free. So every
parameter is required, and null stands for leaving it out; and an object with free keys is an array
of `{"key", "value"}`. `relaxed` turns what such a model sends into what the tool takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp.tools.parameters import kinds_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyro_mcp.tools.parameters import Parameter, Schema
    from pyro_mcp.tools.tool import Tool


def strict_schema(tool: Tool) -> Schema:
    """The JSON schema of a tool's arguments, for strict mode."""
    return {
        "type": "object",
        "properties": {one.name: _property(one) for one in tool.parameters},
        "required": [one.name for one in tool.parameters],
        "additionalProperties": False,
    }


def relaxed(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What the tool takes: nulls left out, pairs made objects; the tool itself checks them."""
    known = {one.name: one for one in tool.parameters}
    taken = {}
    for name, value in arguments.items():
        one = known.get(name)
        if value is None and one is not None and not one.required:
            continue
        taken[name] = value if one is None else _plain(value, one.schema)
    return taken


def _property(one: Parameter) -> Schema:
    schema = _without_free_keys(one.schema)
    if one.required:
        return schema
    kinds = kinds_of(schema)
    if "null" not in kinds:
        schema["type"] = [*kinds, "null"]
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    if one.default is not None:
        about = schema.get("description")
        default = (
            f"null: {one.default!r}"
            if isinstance(one.default, str)
            else (f"null: {str(one.default).lower()}")
        )
        schema["description"] = f"{about.rstrip('.')}; {default}" if about else default
    return schema


def _without_free_keys(schema: Schema) -> Schema:
    changed = dict(schema)
    if "items" in changed:
        changed["items"] = _without_free_keys(changed["items"])
    values = changed.pop("additionalProperties", None)
    if values is None:
        return changed
    kinds = kinds_of(schema)
    array = ["array" if kind == "object" else kind for kind in kinds]
    return {
        **changed,
        "type": array if len(array) > 1 else array[0],
        "items": {
            "type": "object",
            "properties": {"key": {"type": "string"}, "value": _without_free_keys(values)},
            "required": ["key", "value"],
            "additionalProperties": False,
        },
    }


def _plain(value: Any, schema: Schema) -> Any:
    if not isinstance(value, list):
        return value
    if "items" in schema:
        return [_plain(one, schema["items"]) for one in value]
    pairs = [one for one in value if isinstance(one, dict) and one.keys() == {"key", "value"}]
    if "additionalProperties" not in schema or len(pairs) != len(value):
        return value
    inner = schema["additionalProperties"]
    return {str(one["key"]): _plain(one["value"], inner) for one in pairs}
