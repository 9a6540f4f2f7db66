"""Answers about secrets: names and where they came from, never values."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_mcp.results.base import Result


@dataclass(frozen=True, kw_only=True)
class SecretSet(Result):
    """A secret has a value."""

    workspace_id: str
    secret: dict[str, str]
    """name, and source_kind: literal or file."""
    replaced: bool
    """It had another value before."""
    in_guest: bool
    """The workspace runs and has it; otherwise its next start brings it."""


@dataclass(frozen=True, kw_only=True)
class SecretList(Result):
    """The secrets of a workspace, by name."""

    workspace_id: str
    count: int
    secrets: list[dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class SecretDeleted(Result):
    """A secret is gone."""

    workspace_id: str
    name: str
    deleted: bool
