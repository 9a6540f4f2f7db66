"""Terminals: how soon a key is answered, and how fast output comes."""

from __future__ import annotations

import os
import pty
import signal
import time
from contextlib import ExitStack

from benchmarks.ground import SDK_LABEL, Ground
from benchmarks.peers.podman import Podman
from benchmarks.rounds import NotMeasuredError, Subject, alternate
from benchmarks.table import Table
from pyro_mcp import Pyro

_ENVIRONMENT = "debian:12"
_BYTES = 100_000_000
_PATIENCE_SECONDS = 120.0
_FLOOD = f"head -c {_BYTES} /dev/zero | tr '\\0' x; echo e''nd"


def measure(ground: Ground) -> list[Table]:
    """A line typed until its answer is there, and 100 MB through one terminal."""
    peers, missing = ground.peers(_ENVIRONMENT, [Podman])
    ground.images(_ENVIRONMENT)
    with ExitStack() as owned:
        made = ground.pyro.create_workspace(environment=_ENVIRONMENT, mem_mib=512)
        owned.callback(ground.pyro.delete_workspace, made["workspace_id"])
        guest = _Guest(ground.pyro, made["workspace_id"])
        host = _OnHost(["bash", "--noprofile", "--norc", "-i"])
        owned.callback(host.close)
        answered = [
            Subject(SDK_LABEL, guest.answered, goal="≤ 15 ms", note="write_shell, read_shell"),
            Subject("bash on the host", host.answered),
        ]
        flooded = [
            Subject(SDK_LABEL, guest.flooded, note="the last MiB can be read"),
            Subject("bash on the host", host.flooded),
        ]
        for peer in peers:
            if isinstance(peer, Podman):
                container = peer.start_idle()
                owned.callback(peer.remove, container)
                argv = peer.into(container, "bash", "--noprofile", "--norc", "-i")
                argv.insert(argv.index("-i"), "-t")
                inside = _OnHost(argv)
                owned.callback(inside.close)
                answered.append(Subject("podman exec -it", inside.answered))
                flooded.append(Subject("podman exec -it", inside.flooded))
        return [
            Table(
                title="Shell: a line typed until its answer is read",
                unit="ms",
                rows=[*alternate(answered, rounds=ground.rounds(60, 20), warm_up=3), *missing],
                references=[SDK_LABEL],
                digits=1,
            ),
            Table(
                title="Shell: 100 MB through one terminal",
                unit="MB/s",
                rows=[*alternate(flooded, rounds=ground.rounds(3, 1), warm_up=0), *missing],
                references=[SDK_LABEL],
                digits=1,
            ),
        ]


class _Guest:
    """A shell of a workspace, through the SDK."""

    def __init__(self, pyro: Pyro, workspace_id: str) -> None:
        self._pyro = pyro
        self._workspace_id = workspace_id
        self._shell_id = pyro.open_shell(workspace_id)["shell_id"]
        self._count = 0
        self._cursor = pyro.read_shell(workspace_id, self._shell_id, wait_for_idle_ms=500)[
            "next_cursor"
        ]

    def answered(self) -> float:
        """Milliseconds."""
        self._count += 1
        begun = time.perf_counter()
        self._type(f"echo $(({self._count} + 1000000))")
        self._wait_for(f"\r{self._count + 1000000}\r\n", begun)
        return (time.perf_counter() - begun) * 1000

    def flooded(self) -> float:
        """MB/s, waited for until all of it is there."""
        begun = time.perf_counter()
        self._type(_FLOOD)
        self._wait_for("xend\r\n", begun, pause=0.02)
        return _BYTES / 1e6 / (time.perf_counter() - begun)

    def _type(self, line: str) -> None:
        self._pyro.write_shell(self._workspace_id, self._shell_id, input=line)

    def _wait_for(self, text: str, begun: float, *, pause: float = 0.0) -> None:
        seen = ""
        while text not in seen:
            if time.perf_counter() - begun > _PATIENCE_SECONDS:
                raise NotMeasuredError("the answer did not come")
            read = self._pyro.read_shell(self._workspace_id, self._shell_id, cursor=self._cursor)
            self._cursor = read["next_cursor"]
            seen = seen[-100:] + read["output"]
            if pause and not read["truncated"]:
                time.sleep(pause)


class _OnHost:
    """A program of the host in a pseudo-terminal."""

    def __init__(self, argv: list[str]) -> None:
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.execvpe(argv[0], argv, {**os.environ, "PS1": "pyro$ ", "TERM": "xterm-256color"})
        self._count = 0
        self._seen = b""
        self._line(b"")

    def answered(self) -> float:
        """Milliseconds."""
        self._count += 1
        begun = time.perf_counter()
        self._line(b"echo $((%d + 1000000))" % self._count)
        self._wait_for(b"%d\r\n" % (self._count + 1000000))
        return (time.perf_counter() - begun) * 1000

    def flooded(self) -> float:
        """MB/s."""
        begun = time.perf_counter()
        self._line(_FLOOD.encode())
        self._wait_for(b"xend\r\n")
        return _BYTES / 1e6 / (time.perf_counter() - begun)

    def close(self) -> None:
        """End it."""
        os.close(self._terminal)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def _line(self, text: bytes) -> None:
        os.write(self._terminal, text + b"\n")

    def _wait_for(self, text: bytes) -> None:
        while text not in self._seen:
            try:
                self._seen = self._seen[-100:] + os.read(self._terminal, 65536)
            except OSError as error:
                raise NotMeasuredError("its terminal closed") from error
        self._seen = self._seen[self._seen.index(text) + len(text) :]
