"""How a workspace differs from one of its snapshots.

Both are known by what they changed of the same seed, so the two lists of changes say it all: a path
that is in one of them only is in the other as the seed has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mcp.machines.files import Change, Side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Same = Callable[[list[str]], set[str]]
    """Which of these files have the same content on both sides."""

_SURE_NS = 100_000_000
"""Far more than a tick of the guest's clock, within which two changes may have one time."""


def between(saved: Iterable[Change], live: Iterable[Change], same: Same) -> list[Change]:
    """The changes that lead from what was saved to what is now, in path order.

    What was saved is a copy of the disk, inodes included: a file that is the inode that was saved,
    with the same time of change, was not touched since. `same` is asked, once, about files of equal
    size that both sides have changed and that this does not settle.
    """
    then = {change.path: change for change in saved}
    now = {change.path: change for change in live}
    paths = sorted(then.keys() | now.keys())
    unsure = {path for path in then.keys() & now.keys() if _may_be_same(then[path], now[path])}
    alike = _untouched(then, now, unsure)
    if unsure := unsure - alike:
        alike |= same(sorted(unsure))
    found = (_change(path, then.get(path), now.get(path), path in alike) for path in paths)
    return [change for change in found if change is not None]


def _may_be_same(saved: Change, live: Change) -> bool:
    old, new = saved.now, live.now
    return (
        old is not None
        and new is not None
        and old.artifact_type == new.artifact_type == "file"
        and old.size_bytes == new.size_bytes
        and saved.content
        and live.content
    )


def _untouched(
    then: Mapping[str, Change], now: Mapping[str, Change], unsure: Iterable[str]
) -> set[str]:
    """Those of one version, but for the last that were changed before it was saved.

    Those may have been changed again within the same tick, after it.
    """
    saved = {path: _version(change) for path, change in then.items()}
    latest = max((version[1] for version in saved.values() if version), default=0)
    return {
        path
        for path in unsure
        if (version := saved[path])
        and version == _version(now[path])
        and version[1] < latest - _SURE_NS
    }


def _version(change: Change) -> tuple[int, int] | None:
    return change.now.version if change.now else None


def _change(path: str, saved: Change | None, live: Change | None, alike: bool) -> Change | None:
    old, new = _side(saved, live), _side(live, saved)
    if old is None or new is None:
        if old is new:
            return None
        status = "added" if old is None else "deleted"
        return Change(path=path, status=status, base=old, now=new, content=True)
    if old.artifact_type != new.artifact_type:
        return Change(path=path, status="type_changed", base=old, now=new, content=True)
    content = False
    if old.artifact_type == "symlink":
        content = old.link_target != new.link_target
    elif old.artifact_type == "file":
        # A side that has not changed the content has the seed's.
        content = _changes_content(saved) or _changes_content(live)
        content = content and not alike
    if not content and old.mode == new.mode:
        return None
    return Change(path=path, status="modified", base=old, now=new, content=content)


def _side(own: Change | None, other: Change | None) -> Side | None:
    if own is not None:
        return own.now
    return other.base if other is not None else None


def _changes_content(change: Change | None) -> bool:
    return change is not None and change.content
