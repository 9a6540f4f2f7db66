"""Processes of this host, read from /proc."""

import ctypes
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_DEAD = frozenset("ZXx")


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process, as it was when it was looked at."""

    pid: int
    parent: int
    state: str
    """One letter, as in proc(5); Z has ended and waits to be reaped."""
    command: str

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.state in _DEAD


def look_at(pid: int) -> Process | None:
    """The process of that number, or None."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may itself contain some: fields follow the last one.
    name, _, rest = stat.partition("(")[2].rpartition(")")
    fields = rest.split()
    words = command.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    return Process(pid=pid, parent=int(fields[1]), state=fields[0], command=words or f"[{name}]")


def is_running(pid: int) -> bool:
    """Whether the process exists and has not ended; one that only waits to be reaped has."""
    process = look_at(pid)
    return process is not None and not process.ended


def monitor_of_workspace(workspace_id: str) -> int:
    """The process that holds that workspace's machine, which names its directory."""
    for entry in Path("/proc").glob("[0-9]*"):
        process = look_at(int(entry.name))
        if process is None or process.ended or not process.command.endswith(workspace_id):
            continue
        if "pyro_mcp.machines.monitor" in process.command:
            return process.pid
    raise LookupError(f"no monitor holds {workspace_id}")


def descendants(
    root: int, *, without: Collection[int] = (), with_ended: bool = False
) -> list[Process]:
    """What runs below `root`, leaving out those in `without` and everything below them.

    `with_ended` adds those that have ended and wait to be reaped.
    """
    children = _children()
    found = []
    todo = [root]
    while todo:
        for child in children.get(todo.pop(), []):
            if child.pid not in without and (with_ended or not child.ended):
                found.append(child)
                todo.append(child.pid)
    return found


def reap_orphans(*, without: Collection[int] = ()) -> None:
    """Collect the ended children of this process, as the system's init would (`adopt_orphans`).

    Not those in `without`, whose owners still wait for them.
    """
    for child in _children().get(os.getpid(), []):
        if child.ended and child.pid not in without:
            # Somebody else may collect it meanwhile.
            with suppress(ChildProcessError):
                os.waitpid(child.pid, os.WNOHANG)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, in place of the system's init.

    So whatever a test starts, however detached, stays findable below the test process.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _children() -> dict[int, list[Process]]:
    """All processes of the system by their parent."""
    children: dict[int, list[Process]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (process := look_at(int(entry.name))):
            children.setdefault(process.parent, []).append(process)
    return children
