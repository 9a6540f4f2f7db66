"""How a workspace differs from one of its snapshots.

Both are known by what they changed of the same seed, so the two lists of changes say it all: a path
that is in one of them only is in the other as the seed has it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pyro_mcp.machines.files import Change, Side

if TYPE_CHECKING:
    from collections.abc import Iterable


def between(saved: Iterable[Change], live: Iterable[Change]) -> list[Change]:
    """The changes that lead from what was saved to what is now, in path order.

    Both lists carry contents; of a file too large to be carried, equal sizes do not count as
    equal content.
    """
    then = {change.path: change for change in saved}
    now = {change.path: change for change in live}
    found = []
    for path in sorted(then.keys() | now.keys()):
        old, new = _side(path, then, now), _side(path, now, then)
        change = _change(path, old, new)
        if change is not None:
            found.append(change)
    return found


def _side(path: str, own: dict[str, Change], other: dict[str, Change]) -> Side | None:
    if path not in own:
        return other[path].base
    change = own[path]
    side = change.now
    # Where the mode alone differs the content is the seed's, and only the other list may have it.
    if side is not None and not change.content and side.data is None and path in other:
        base = other[path].base
        if base is not None:
            return dataclasses.replace(side, data=base.data)
    return side


def _change(path: str, old: Side | None, new: Side | None) -> Change | None:
    if old is None or new is None:
        if old is new:
            return None
        status = "added" if old is None else "deleted"
        return Change(path=path, status=status, base=old, now=new, content=True)
    if old.artifact_type != new.artifact_type:
        return Change(path=path, status="type_changed", base=old, now=new, content=True)
    content = _content_differs(old, new)
    if not content and old.mode == new.mode:
        return None
    return Change(path=path, status="modified", base=old, now=new, content=content)


def _content_differs(old: Side, new: Side) -> bool:
    if old.artifact_type == "symlink":
        return old.link_target != new.link_target
    if old.artifact_type != "file":
        return False
    if old.data is None and new.data is None:
        # The same seed's file on both sides (only its mode was touched), or two that are too
        # large: what cannot be told apart is shown.
        return old.size_bytes != new.size_bytes or old.size_bytes > 0
    return old.data != new.data
