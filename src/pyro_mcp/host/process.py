"""Tools of the host that pyro runs: owned child processes that cannot outlive their owner."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple, Self

from pyro_mcp.errors import ToolMissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

_TAIL_LINES = 200
_LINE_LIMIT = 4096
_PIPE_BYTES = 1 << 20


class Tool(NamedTuple):
    """A program of the host, and what to say when it is not there."""

    name: str
    package: str
    purpose: str

    def find(self) -> str:
        """Full path; also looks where ordinary users have no search path.

        Raises:
            ToolMissingError: it is not installed.
        """
        folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
        for folder in (*folders, "/usr/sbin", "/sbin"):
            path = os.path.join(folder or ".", self.name)  # noqa: PTH118
            if os.access(path, os.X_OK) and not os.path.isdir(path):  # noqa: PTH112
                return path
        raise ToolMissingError(self.name, package=self.package, purpose=self.purpose)


class Finished(NamedTuple):
    """How a tool ended."""

    status: int
    """Its exit status; 128 + n if signal n ended it."""
    lines: list[str]
    """The end of what it printed on both streams."""


class ProcessGroup:
    """One tool and all that it starts, ended together with the `with` block.

    A keeper process stands in between (see `keeper.py`): when this process is killed, the keeper
    ends the tool and every descendant of it, whatever sessions or namespaces they moved to.
    """

    def __init__(self, popen: subprocess.Popen[bytes], owned: ExitStack) -> None:
        self._popen = popen
        self._owned = owned
        self.pid = popen.pid

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        flushed: bool = True,
    ) -> Self:
        """Start `argv`; both of its output streams come from `lines()`.

        Without `flushed`, its fsync calls do nothing: for what a crash of the host may undo.
        """
        from pyro_mcp.host import keeper

        with ExitStack() as owned:
            lifeline, held = os.pipe()
            watched = str(lifeline) if flushed else f"{lifeline}{keeper.UNFLUSHED}"
            try:
                popen = subprocess.Popen(
                    [sys.executable, "-I", "-S", keeper.__file__, watched, *argv],
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=directory,
                    pass_fds=(lifeline,),
                    # Out of reach of the terminal's Ctrl-C: the owner ends it, in order.
                    start_new_session=True,
                )
            except BaseException:
                os.close(held)
                raise
            finally:
                os.close(lifeline)
            owned.callback(_reap, popen)
            owned.callback(os.close, held)
            return cls(popen, owned.pop_all())

    def lines(self) -> list[str]:
        """What it printed and was not yet asked for, until its end; the last 200 lines."""
        return self.follow(lambda line: None)

    def follow(self, on_line: Callable[[str], None]) -> list[str]:
        """Call `on_line` with each line as it comes, until the end; return the last 200."""
        assert self._popen.stdout is not None
        tail: list[str] = []
        while raw := self._popen.stdout.readline(_LINE_LIMIT):
            line = raw.decode(errors="replace").rstrip()
            # apt redraws progress with carriage returns; the last state of the line counts.
            line = line.rpartition("\r")[2]
            if line:
                tail.append(line)
                del tail[:-_TAIL_LINES]
                on_line(line)
        return tail

    def wait(self) -> int:
        """Exit status of the tool, once it and all it started have ended."""
        return self._popen.wait()

    def close(self) -> None:
        """End whatever still runs; may be called twice."""
        self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def run_tool(
    argv: Sequence[str],
    *,
    on_line: Callable[[str], None] = lambda line: None,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    chunks: Iterable[bytes] | None = None,
    flushed: bool = True,
) -> Finished:
    """Run `argv` to its end, with `chunks` as its input; `flushed` as in `ProcessGroup.start`.

    Nothing of it is left on any path, exceptions included; those of `chunks` end it.
    """
    if chunks is not None:
        return _run_fed(argv, on_line, environment, directory, chunks, flushed)
    with ProcessGroup.start(
        argv, environment=environment, directory=directory, flushed=flushed
    ) as group:
        lines = group.follow(on_line)
        return Finished(group.wait(), lines)


def _run_fed(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    environment: Mapping[str, str] | None,
    directory: Path | None,
    chunks: Iterable[bytes],
    flushed: bool,
) -> Finished:
    import fcntl
    import threading

    failures: list[BaseException] = []

    def feed(descriptor: int) -> None:
        with open(descriptor, "wb", buffering=0) as out:
            try:
                for chunk in chunks:
                    view = memoryview(chunk)
                    while view:
                        view = view[out.write(view) :]
            except BrokenPipeError:
                pass  # it ended early; its status says why
            except BaseException as error:  # noqa: BLE001 - raised again below
                failures.append(error)

    reading, writing = os.pipe()
    feeder = threading.Thread(target=feed, args=(writing,), name="feed", daemon=True)
    try:
        with suppress(OSError):  # beyond an unprivileged user's share of all pipes
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        group = ProcessGroup.start(
            argv, environment=environment, directory=directory, stdin=reading, flushed=flushed
        )
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    try:
        with group:
            feeder.start()
            lines = group.follow(on_line)
            status = group.wait()
    finally:
        # The tool has ended, so a write that waits for it ends as well.
        if feeder.ident is not None:
            feeder.join()
        else:
            os.close(writing)
    if failures:
        raise failures[0]
    return Finished(status, lines)


def _reap(popen: subprocess.Popen[bytes]) -> None:
    # The lifeline is closed by now, so the keeper ends its descendants and then itself.
    assert popen.stdout is not None
    popen.stdout.close()
    popen.wait()
