"""Names of members: what they may be, and how a message shows them."""

from __future__ import annotations

import re

from pyro_mcp import protocol
from pyro_mcp.boundary import limits
from pyro_mcp.errors import InvalidInputError

LOST_AND_FOUND = b"lost+found"
"""What every new ext4 file system has."""

_CLEAN = re.compile(rb"(?:(?!\.{1,2}(?:/|\Z))[^/\0]{1,255}(?:/(?!\Z)|\Z))+")
"""A relative path whose every part is a name."""


class MemberError(ValueError):
    """A member that may not cross; the message names it and says why."""

    def __init__(self, name: bytes, why: str) -> None:
        super().__init__(f"{shown(name)} {why}")


def clean(name: bytes) -> bytes:
    """A member's name as a relative path without `.` and doubled slashes; b"" is the root.

    Raises:
        MemberError: It is absolute, leads upwards, or is longer than Linux allows.
    """
    short = len(name) <= limits.PATH_LIMIT_BYTES and name.count(b"/") < limits.DEPTH_LIMIT
    if short and _CLEAN.fullmatch(name):
        return name  # nearly all are
    if b"\0" in name:
        raise MemberError(name, "has a zero byte in its name")
    if name.startswith(b"/"):
        raise MemberError(name, "has an absolute name")
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise MemberError(name, "has '..' in its name")
    if len(parts) > limits.DEPTH_LIMIT:
        raise MemberError(name, f"lies more than {limits.DEPTH_LIMIT} directories deep")
    path = b"/".join(parts)
    if len(path) > limits.PATH_LIMIT_BYTES or max(map(len, parts), default=0) > (
        limits.NAME_LIMIT_BYTES
    ):
        raise MemberError(name, "has a name longer than Linux allows")
    return path


def shown(name: bytes) -> str:
    """A name as a message shows it: quoted, shortened, whatever its bytes are."""
    text = name.decode("utf-8", "backslashreplace")
    if len(text) > 200:
        text = f"{text[:120]}...{text[-60:]}"
    return repr(text)


def in_workspace(parameter: str, given: object) -> str:
    """A guest path below `/workspace`, absolute; a relative one is taken from there.

    Raises:
        InvalidInputError: It is empty, leads outside, or has `..` in it.
    """
    wrong = None
    if not isinstance(given, str) or not given.strip() or "\0" in given:
        wrong = "is no path"
    elif ".." in given.split("/"):
        wrong = "has '..' in it"
    else:
        parts = [part for part in given.split("/") if part not in ("", ".")]
        if not given.startswith("/"):
            return "/".join((protocol.WORKSPACE, *parts))
        if parts[:1] == [protocol.WORKSPACE.strip("/")]:
            return "/" + "/".join(parts)
        wrong = f"lies outside {protocol.WORKSPACE}"
    raise InvalidInputError(
        parameter, f"{given!r} {wrong}", hint=f"Give a path below {protocol.WORKSPACE}."
    )
