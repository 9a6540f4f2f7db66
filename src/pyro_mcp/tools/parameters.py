"""Parameters of tools: how they are announced, and how what a model sends is checked.

A small part of JSON Schema, in plain Python: `type` (a name or a list of names), `enum`, `items`,
`additionalProperties`, and `anyOf` of types. Ranges are announced, and checked by the core, whose
rules they are. What may be left out may be null too; that is not announced, since not every host
takes a schema that says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyro_mcp.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Schema = dict[str, Any]


class _Unset:
    """No default: the parameter is required, or has none that could be announced."""


UNSET = _Unset()


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One argument of a tool."""

    name: str
    schema: Schema
    default: Any = UNSET
    """What leaving it out means; without one it must be given. With None it may be null."""
    full_only: bool = False
    """Offered by the profile workspace-full alone."""

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is UNSET

    def announced(self) -> Schema:
        """What a model is shown of `schema`: its default too, unless that is null."""
        shown = {**self.schema, "type": kinds_of(self.schema)[0]}
        if self.default is not UNSET and self.default is not None:
            shown["default"] = self.default
        return shown


def text(
    name: str, about: str = "", default: Any = UNSET, *, one_of: Sequence[str] = (), **how: Any
) -> Parameter:
    """A string; a default of None lets it be null."""
    return _parameter(
        name, "string", about, default, how, **({"enum": [*one_of]} if one_of else {})
    )


def integer(name: str, about: str = "", default: Any = UNSET, **how: Any) -> Parameter:
    """A whole number; a default of None lets it be null."""
    return _parameter(name, "integer", about, default, how)


def flag(name: str, about: str = "", default: bool = False, **how: Any) -> Parameter:
    """True or false."""
    return _parameter(name, "boolean", about, default, how)


def texts(name: str, about: str = "", default: Any = None, **how: Any) -> Parameter:
    """A list of strings."""
    return _parameter(name, "array", about, default, how, items={"type": "string"})


def mapping(name: str, about: str = "", default: Any = None, **how: Any) -> Parameter:
    """An object whose values are strings."""
    return _parameter(name, "object", about, default, how, additionalProperties={"type": "string"})


def objects(name: str, *values: str, about: str = "", default: Any = None, **how: Any) -> Parameter:
    """A list of objects with values of these types."""
    kinds = [{"type": one} for one in values]
    inner = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    items = {"type": "object", "additionalProperties": inner}
    return _parameter(name, "array", about, default, how, items=items)


def _parameter(
    name: str, kind: str, about: str, default: Any, how: dict[str, Any], **more: Any
) -> Parameter:
    schema: Schema = {"type": [kind, "null"] if default is None else kind, **more}
    if about:
        schema["description"] = about
    return Parameter(name=name, schema=schema, default=default, **how)


def input_schema(parameters: Iterable[Parameter]) -> Schema:
    """The JSON schema of a tool's arguments; nothing else is taken."""
    listed = list(parameters)
    schema: Schema = {
        "type": "object",
        "properties": {one.name: one.announced() for one in listed},
        "additionalProperties": False,
    }
    if required := [one.name for one in listed if one.required]:
        schema["required"] = required
    return schema


def checked(parameters: Iterable[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call, those left out as well, by their defaults.

    Raises:
        InvalidInputError: One is unknown, missing or of the wrong type; names it.
    """
    known = {one.name: one for one in parameters}
    for name in given:
        if name not in known:
            raise InvalidInputError(name, "is not taken by this tool", hint=_known(name, known))
    values = {}
    for name, one in known.items():
        if name in given:
            values[name] = _fitting(name, given[name], one.schema)
        elif one.required:
            raise InvalidInputError(name, "is missing", hint=f"Give it: {_said(one.schema)}.")
        else:
            values[name] = one.default
    return values


def _known(name: str, known: Mapping[str, Parameter]) -> str:
    from difflib import get_close_matches

    if near := get_close_matches(name, known, n=1):
        return f"Did you mean {near[0]}? It takes: {', '.join(known)}."
    return f"It takes: {', '.join(known)}." if known else "It takes no arguments."


def _fitting(where: str, value: Any, schema: Schema) -> Any:
    """The value as the core wants it."""
    kinds = kinds_of(schema)
    if isinstance(value, float) and value.is_integer() and "integer" in kinds:
        value = int(value)  # JSON does not tell them apart
    if not any(_is(kind, value) for kind in kinds):
        raise InvalidInputError(
            where, f"is {_shown(value)}, not {' or '.join(kinds)}", hint=f"Give {_said(schema)}."
        )
    if value is not None and "enum" in schema and value not in schema["enum"]:
        choices = ", ".join(schema["enum"])
        raise InvalidInputError(where, f"is {value!r}", hint=f"Choose one of: {choices}.")
    if isinstance(value, list):
        items = schema["items"]
        return [_fitting(f"{where}[{place}]", one, items) for place, one in enumerate(value)]
    if isinstance(value, dict):
        inner = schema["additionalProperties"]
        return {key: _fitting(f"{where}.{key}", one, inner) for key, one in value.items()}
    return value


_TYPES: dict[str, type] = {
    "string": str, "integer": int, "boolean": bool, "array": list, "object": dict,
    "null": type(None),
}  # fmt: skip


def _is(kind: str, value: Any) -> bool:
    # To Python, true is a whole number.
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def kinds_of(schema: Schema) -> list[str]:
    """The names of the JSON types that a schema takes."""
    if "anyOf" in schema:
        return [one["type"] for one in schema["anyOf"]]
    return schema["type"] if isinstance(schema["type"], list) else [schema["type"]]


def _said(schema: Schema) -> str:
    about = schema.get("description")
    return " or ".join(kinds_of(schema)) + (f" ({about.rstrip('.')})" if about else "")


def _shown(value: object) -> str:
    # The type of what is long or nested says more than its content, which may be a secret too.
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int | float):
        return str(value)
    names: dict[type, str] = {str: "a string", list: "an array", dict: "an object"}
    return names.get(type(value), "of another type")
