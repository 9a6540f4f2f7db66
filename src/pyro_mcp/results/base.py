"""What all answers have in common."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Result:
    """Base of all results."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON object that every surface passes on unchanged."""
        return asdict(self)
