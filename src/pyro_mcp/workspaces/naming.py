"""What names, labels and times of workspaces may be."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pyro_mcp.errors import InvalidInputError

LONGEST_NAME = 120
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
POLICIES = ("off", "egress", "egress+published-ports", "published-ports")
BASELINE = "baseline"


def clean_name(name: str) -> str:
    """A workspace's name, trimmed: 1 to 120 characters on one line."""
    return _text("name", name)


def clean_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels, trimmed and checked."""
    if not isinstance(labels, Mapping):
        raise InvalidInputError("labels", "is no mapping", hint="Give {'key': 'value'}.")
    return {clean_key(key): _text(f"The label {key!r}", value) for key, value in labels.items()}


def clean_key(key: str) -> str:
    """A label's key."""
    return _matching("The label key", key)


def clean_snapshot_name(name: str) -> str:
    """A new snapshot's name; `baseline` is taken."""
    cleaned = _matching("snapshot_name", name)
    if cleaned == BASELINE:
        raise InvalidInputError(
            "snapshot_name", "is 'baseline', which every workspace has", hint="Choose another."
        )
    return cleaned


def clean_service_name(name: str) -> str:
    """A service's name."""
    return _matching("service_name", name)


_LONGEST_TTL = 10**15
"""Thirty million years: what a time to the microsecond can still be counted to."""


def check_ttl(ttl_seconds: object) -> None:
    """Seconds without use until the machine is stopped; 0 for never."""
    whole = isinstance(ttl_seconds, int) and not isinstance(ttl_seconds, bool)
    if not whole or not 0 <= int(str(ttl_seconds)) <= _LONGEST_TTL:
        raise InvalidInputError(
            "ttl_seconds",
            f"is {ttl_seconds!r}",
            hint="Give whole seconds without use until the machine is stopped, or 0 for never; "
            "more than 10^15 cannot be counted.",
        )


def clean_policy(policy: str) -> str:
    """A network policy, in its one spelling."""
    cleaned = policy.strip().lower()
    if cleaned not in POLICIES:
        raise InvalidInputError(
            "network_policy", f"is {policy!r}", hint=f"Give one of: {', '.join(POLICIES)}."
        )
    return cleaned


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInputError(what, f"is {value!r}", hint="Give text.")
    cleaned = value.strip()
    if not 0 < len(cleaned) <= LONGEST_NAME or "\n" in cleaned or "\r" in cleaned:
        raise InvalidInputError(
            what,
            f"has {len(cleaned)} characters or several lines",
            hint=f"Give 1 to {LONGEST_NAME} characters on one line.",
        )
    return cleaned


def _matching(what: str, value: object) -> str:
    cleaned = value.strip() if isinstance(value, str) else ""
    if not _KEY.fullmatch(cleaned):
        raise InvalidInputError(
            what,
            f"is {value!r}",
            hint="Give 1 to 64 letters, digits, dots, underscores and dashes, "
            "the first a letter or digit.",
        )
    return cleaned
