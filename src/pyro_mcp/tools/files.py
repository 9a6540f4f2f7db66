"""Tools about what is in a workspace: files, changes, and the disk of a stopped one."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

from pyro_mcp import protocol
from pyro_mcp.tools import bounds
from pyro_mcp.tools.names import CORE, FULL
from pyro_mcp.tools.parameters import flag, integer, text, texts
from pyro_mcp.tools.tool import Context, Hints
from pyro_mcp.tools.workspaces import OFFSET, WORKSPACE_ID, workspace_tool

if TYPE_CHECKING:
    from pyro_mcp.sdk.pyro import Pyro

_READ_BYTES = 65536
_MATCHES = 100
_LONGEST_HALF = 3
"""Bytes of a character of UTF-8 that lacks its last."""

_PATH = text("path", "Below /workspace")
_DIRECTORY = text("path", "", protocol.WORKSPACE)
_RECURSIVE = flag("recursive")
_MAX_BYTES = integer("max_bytes", "1-1048576", _READ_BYTES)
_CHANGES = {"changed": "boolean", "summary": "object"}


def _list(pyro: Pyro, arguments: dict[str, Any], _context: Context) -> dict[str, Any]:
    offset = arguments.pop("offset")
    return bounds.page(pyro.list_workspace_files(**arguments), "entries", offset)


def _list_disk(pyro: Pyro, arguments: dict[str, Any], _context: Context) -> dict[str, Any]:
    offset = arguments.pop("offset")
    return bounds.page(pyro.list_workspace_disk(**arguments), "entries", offset)


def _read(pyro: Pyro, arguments: dict[str, Any], _context: Context) -> dict[str, Any]:
    answer = pyro.read_workspace_file(**arguments)
    if answer["truncated"] and answer["content"].endswith("\ufffd"):
        _leave_half_a_character(pyro, arguments, answer)
    end = answer["offset"] + answer["bytes_read"]
    answer["next_offset"] = end if answer["truncated"] else None
    return answer


def _leave_half_a_character(pyro: Pyro, arguments: dict[str, Any], answer: dict[str, Any]) -> None:
    """The beginning of a character is left to the next part, which has the rest of it."""
    size = min(answer["bytes_read"], _LONGEST_HALF)
    tail = pyro.read_workspace_file_bytes(
        arguments["workspace_id"],
        arguments["path"],
        offset=answer["offset"] + answer["bytes_read"] - size,
        length=size,
    )
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(tail)
    half = len(decoder.getstate()[0])
    if 0 < half < answer["bytes_read"]:
        answer["content"] = answer["content"][:-1]
        answer["bytes_read"] -= half


def _search(pyro: Pyro, arguments: dict[str, Any], _context: Context) -> dict[str, Any]:
    arguments["globs"] = arguments["globs"] or ()
    return pyro.search_workspace_files(**arguments)


def _diff(pyro: Pyro, arguments: dict[str, Any], _context: Context) -> dict[str, Any]:
    offset, limit = bounds.checked_range(arguments.pop("offset"), arguments.pop("max_chars"))
    answer = bounds.window(pyro.diff_workspace(**arguments), ("patch",), offset, limit)
    if answer["offset"] or answer["next_offset"] is not None:
        answer["truncated"] = True
        for entry in answer["entries"]:  # each repeats its part of the patch
            entry["text_patch"] = None
    entries = answer["entries"]
    answer["entries"] = entries[: bounds.ENTRIES]
    answer["entries_left_out"] = max(0, len(entries) - bounds.ENTRIES)
    return answer


def _apply(pyro: Pyro, arguments: dict[str, Any], _context: Context) -> dict[str, Any]:
    return bounds.echo(pyro.apply_workspace_patch(**arguments), "patch")


DIFF = workspace_tool(
    "workspace_diff", "Show what changed",
    "What changed in /workspace since it was made, as a git patch. "
    "Offset reads a long patch on; names_only lists the files alone.",
    "diff_workspace", WORKSPACE_ID, OFFSET,
    integer("max_chars", "Of patch", bounds.PATCH_CHARS), flag("names_only"),
    answer={**_CHANGES, "entries": "array", "patch": "string"}, profiles=(CORE, FULL),
    hints=Hints(read_only=True), handler=_diff,
)  # fmt: skip

LIST = workspace_tool(
    "workspace_file_list", "List files",
    "List a directory of a workspace, 400 entries at a time.",
    "list_workspace_files", WORKSPACE_ID, _DIRECTORY, _RECURSIVE, OFFSET,
    answer={"entries": "array"}, profiles=(CORE, FULL), hints=Hints(read_only=True),
    handler=_list,
)  # fmt: skip

READ = workspace_tool(
    "workspace_file_read", "Read a file",
    "Read a text file of a workspace, or the part from a byte offset on.",
    "read_workspace_file", WORKSPACE_ID, _PATH, _MAX_BYTES, OFFSET,
    answer={"content": "string", "truncated": "boolean"}, profiles=(CORE, FULL),
    hints=Hints(read_only=True), handler=_read,
)  # fmt: skip

SEARCH = workspace_tool(
    "workspace_file_search", "Search in files",
    "Find the lines of a workspace's text files that match a Python regular expression.",
    "search_workspace_files", WORKSPACE_ID, text("pattern"), _DIRECTORY,
    flag("literal", "pattern is plain text"), flag("ignore_case"),
    texts("globs", "Files, e.g. *.py; ! excludes"),
    integer("max_matches", "1-10000", _MATCHES),
    answer={"matches": "array", "truncated": "boolean"}, profiles=(CORE, FULL),
    hints=Hints(read_only=True), handler=_search,
)  # fmt: skip

WRITE = workspace_tool(
    "workspace_file_write", "Write a file",
    "Create or replace a text file of a workspace, up to 1 MiB; directories are made. "
    "For small changes prefer workspace_patch_apply.",
    "write_workspace_file", WORKSPACE_ID, _PATH, text("text"),
    answer={"bytes_written": "integer"}, profiles=(CORE, FULL),
    hints=Hints(destructive=True, idempotent=True),
)  # fmt: skip

PATCH = workspace_tool(
    "workspace_patch_apply", "Apply a patch",
    "Apply a unified diff (git diff or diff -u) to /workspace, all or nothing.",
    "apply_workspace_patch", WORKSPACE_ID, text("patch"),
    answer={**_CHANGES, "entries": "array"}, profiles=(CORE, FULL),
    hints=Hints(destructive=True), handler=_apply,
)  # fmt: skip

DISK_EXPORT = workspace_tool(
    "workspace_disk_export", "Copy the disk out to the host",
    "Write the disk of a stopped workspace as a raw ext4 image to a new path on the host.",
    "export_workspace_disk", WORKSPACE_ID, text("output_path", "On the host"),
    answer={"output_path": "string", "bytes_written": "integer"}, slow=True,
)  # fmt: skip

DISK_LIST = workspace_tool(
    "workspace_disk_list", "List a stopped workspace's disk",
    "List any directory of a stopped workspace's disk without booting it.",
    "list_workspace_disk", WORKSPACE_ID, _DIRECTORY, _RECURSIVE, OFFSET,
    answer={"entries": "array"}, hints=Hints(read_only=True), handler=_list_disk,
)  # fmt: skip

DISK_READ = workspace_tool(
    "workspace_disk_read", "Read a file of a stopped workspace's disk",
    "Read the head of any file of a stopped workspace's disk without booting it.",
    "read_workspace_disk", WORKSPACE_ID, text("path", "Absolute, or below /workspace"),
    integer("max_bytes", "", _READ_BYTES),
    answer={"content": "string", "truncated": "boolean"}, hints=Hints(read_only=True),
)  # fmt: skip
