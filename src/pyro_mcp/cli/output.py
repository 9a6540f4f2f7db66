"""What a command says: results to stdout, everything about them to stderr.

Written to the descriptors at once, without Python's buffers: guest output passes through byte by
byte, in order with our own lines, and a reader that has gone is noticed where it matters.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import sys
from typing import TYPE_CHECKING, Any

from pyro_mcp.errors import OutputWriteError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

STDOUT = 1
STDERR = 2

_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (9, 10)
}
"""Control characters, line feed and tab excepted, and how they are shown."""


_SKIPPED_SHOWN = 10


class ReaderGoneError(Exception):
    """Nobody reads our output any more (`pyro run … | head -1`)."""


def write(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`, waiting for a slow reader.

    Raises:
        ReaderGoneError: the other end of the pipe is closed.
        OutputWriteError: it cannot be written, for example because the disk is full.
    """
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:
            # Whoever started us shares a descriptor that does not wait.
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
        except BrokenPipeError:
            raise ReaderGoneError from None
        except OSError as error:
            name = "standard output" if descriptor == STDOUT else "standard error"
            raise OutputWriteError(name, error.strerror or str(error)) from error


def line(text: str) -> None:
    """One line of a result."""
    write(STDOUT, _printable(text))


def note(text: str) -> None:
    """One line about what happens, on stderr."""
    write(STDERR, _printable(text))


def warning(text: str) -> None:
    """Something the caller should know before relying on the result."""
    note(f"[warning] {text}")


def error(text: str) -> None:
    """Why nothing, or not all, was done. An unwritable stderr is no reason to fail differently."""
    with contextlib.suppress(OutputWriteError):
        note(f"[error] {text}")


def json_object(value: dict[str, Any]) -> None:
    """The SDK's answer as it is."""
    line(json.dumps(value, indent=2, sort_keys=True))


def failure(message: str, *, code: str, hint: str) -> None:
    """An error as an object, for `--json`."""
    json_object({"ok": False, "error": message, "code": code, "hint": hint})


def fields(value: dict[str, Any]) -> None:
    """An object as `key: value` lines, for people."""
    for key, item in value.items():
        if isinstance(item, dict):
            line(f"{key}:")
            for name, part in item.items():
                line(f"  {name}: {plain(part)}")
        else:
            line(f"{key}: {plain(item)}")


def said(tag: str, facts: dict[str, Any]) -> str:
    """Facts on one line, as `[tag] key=value …`."""
    return " ".join((f"[{tag}]", *(f"{key}={value}" for key, value in facts.items())))


def pass_on(stream: str, data: bytes) -> None:
    """What a guest's command wrote to `stdout` or `stderr`, byte by byte."""
    write(STDOUT if stream == "stdout" else STDERR, data)


def content(text: str, *, complete: bool = True, to: int = STDOUT) -> None:
    """What a guest has in a file: as it is, unless a terminal would act on it.

    `complete` adds the newline that a last line may lack.
    """
    if complete and text and not text.endswith("\n"):
        text = f"{text}\n"
    if os.isatty(to):
        text = text.translate(_CONTROLS)
    write(to, text.encode("utf-8", "surrogateescape"))


def on_one_line(text: str) -> str:
    """A path of a guest, which may hold anything."""
    return text.translate({**_CONTROLS, 9: "\\t", 10: "\\n"})


def listing(found: dict[str, Any]) -> None:
    """What a directory of a guest has."""
    line(f"Workspace path: {on_one_line(found['path'])} (recursive={plain(found['recursive'])})")
    for entry in found["entries"]:
        target = entry["link_target"]
        link = "" if target is None else f" -> {on_one_line(target)}"
        path = on_one_line(entry["path"])
        line(f"{path} [{entry['artifact_type']}] size={entry['size_bytes']}{link}")


def also(tag: str, result: dict[str, Any], *, skipped: Sequence[str] = ()) -> None:
    """Notes about a call: that it started the workspace, what it left out."""
    if result.get("workspace_started"):
        note(f"[{tag}] the workspace was stopped, and was started for this command")
    if result.get("redacted"):
        note(f"[{tag}] values of secrets are shown as [REDACTED]")
    for one in skipped[:_SKIPPED_SHOWN]:
        note(f"[{tag}] left out: {on_one_line(one)}")
    if len(skipped) > _SKIPPED_SHOWN:
        note(f"[{tag}] left out: {len(skipped) - _SKIPPED_SHOWN} more; --json lists them")


def network(tag: str, result: dict[str, Any], *, learn: bool) -> None:
    """What a command was refused, and on request the allow list that it would need."""
    if result["network_denied"]:
        note(said(tag, {"network_denied": result["network_denied"]}))
        for one in result["network_denied_to"]:
            note(f"  {one['message']}")
    if learn:
        for entry in result["network_learned"]:
            note(f"--network-allow {entry}")


def how_it_ended(tag: str, result: dict[str, Any], *, timeout_seconds: int, hint: str) -> None:
    """Say of a command what its exit status alone does not."""
    if result["timed_out"]:
        note(f"[{tag}] the command was ended after its {timeout_seconds} s")
    if result["oom_killed"]:
        note(f"[{tag}] the guest ran out of memory; {hint}")
    if result["signal"]:
        note(f"[{tag}] the command was ended by signal {result['signal']}")


def plain(item: object) -> str:
    """One value, for people."""
    if item is None:
        return "-"
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, list | tuple):
        return ", ".join(map(plain, item)) or "-"
    return str(item)


def result(value: dict[str, Any], *, as_json: bool) -> None:
    """Print an object in the form that was asked for."""
    if as_json:
        json_object(value)
    else:
        fields(value)


def discard_the_rest() -> None:
    """Send whatever is still written, by Python's own clean-up too, nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (STDOUT, STDERR):
        os.dup2(nowhere, descriptor)


def _printable(text: str) -> bytes:
    # A message may quote a guest, and what a guest says must not steer the terminal.
    return f"{text.translate(_CONTROLS)}\n".encode("utf-8", "backslashreplace")


def take_over_text() -> None:
    """Let `sys.stdout` and `sys.stderr`, which click and rich write to, go the same way.

    Text is UTF-8 whatever the locale says.
    """
    sys.stdout = _text(STDOUT)
    sys.stderr = _text(STDERR)


class _Descriptor(io.RawIOBase):
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Buffer) -> int:
        view = memoryview(data)
        write(self._descriptor, view)
        return view.nbytes


def _text(descriptor: int) -> io.TextIOWrapper:
    # Unbuffered below, so nothing is left to fail when Python flushes at its end.
    raw = _Descriptor(descriptor)
    return io.TextIOWrapper(
        raw,  # type: ignore[arg-type]  # what it asks of a buffer, a raw stream has
        encoding="utf-8", errors="backslashreplace", write_through=True,
    )  # fmt: skip
