"""Computers that are kept: made from a repository, changed, saved, taken home."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.ground import CLI, CLI_LABEL, SDK_LABEL, Ground
from benchmarks.rounds import NotMeasuredError, Subject, alternate, seconds
from benchmarks.table import Table
from pyro_mcp.config import DEBIAN_KERNEL

_ENVIRONMENT = "debian:12"
_MIB = 1 << 20
_AT_ONCE = 30
_BEAT = """
import os, time
beat = os.open("beat", os.O_CREAT | os.O_WRONLY)
last, longest = time.monotonic(), 0.0
open("beating", "w").close()
while not os.path.exists("stop"):
    os.pwrite(beat, b"x", 0)
    now = time.monotonic()
    last, longest = now, max(longest, now - last)
    time.sleep(0.001)
print(longest)
"""
"""Writes all the time, and says how long a write took at most."""
_NOISE = (
    "until test -e stop; do dd if=/dev/urandom of=noise bs=1M count=4 conv=notrunc 2> /dev/null;"
    " sync; sleep 0.2; done"
)


def measure(ground: Ground) -> list[Table]:
    """What an agent's work with a workspace consists of."""
    ground.images(_ENVIRONMENT)
    with TemporaryDirectory(prefix="pyro-bench-") as folder:
        bench = _Bench(ground, Path(folder))
        try:
            tables = [bench.made(), bench.used(), bench.stood_still(), bench.crossed()]
            return [*tables, bench.alive()]
        finally:
            bench.remove_all()


class _Bench:
    def __init__(self, ground: Ground, folder: Path) -> None:
        self._ground = ground
        self._pyro = ground.pyro
        self._folder = folder
        self._rounds = ground.rounds(7, 3)
        self._made: list[str] = []

    def made(self) -> Table:
        """Create, empty and from 10,000 files of 200 MB."""
        repository = _tree(self._folder / "repository", files=10_000, size=200 * _MIB)
        copy = self._folder / "copy"

        def create(seed: Path | None) -> float:
            begun = time.perf_counter()
            workspace_id = self._create(seed_path=seed)
            took = time.perf_counter() - begun
            self._delete(workspace_id)
            return took

        def cp() -> float:
            try:
                return seconds(["cp", "-r", str(repository), str(copy)])
            finally:
                shutil.rmtree(copy)

        rows = alternate(
            [
                Subject(SDK_LABEL, lambda: create(repository), goal="≤ 2.0 s and twice cp -r"),
                Subject("cp -r", cp),
                Subject("pyro, empty", lambda: create(None), goal="≤ 0.5 s"),
            ],
            rounds=self._rounds,
        )  # fmt: skip
        return Table(
            title="Create from 10,000 files, 200 MB",
            unit="s",
            rows=rows,
            references=[SDK_LABEL],
        )

    def used(self) -> Table:
        """Exec, diff, snapshot, reset and fork with 100 MB changed."""
        seed = _tree(self._folder / "large", files=50_000, size=50 * _MIB)
        large = self._create(seed_path=seed)
        self._run(large, "for n in 1 2 3; do echo changed > 0/$n; done")
        changed = self._create()
        self._run(changed, "head -c 100000000 /dev/urandom > blob")
        self._pyro.create_snapshot(changed, "mark")
        self._run(changed, "head -c 100000000 /dev/urandom > blob")
        names = iter(range(10**6))

        def fork() -> float:
            begun = time.perf_counter()
            copy = self._pyro.fork_workspace(changed)["workspace_id"]
            took = time.perf_counter() - begun
            self._pyro.delete_workspace(copy)
            return took

        def snapshot() -> float:
            name = f"s{next(names)}"
            took = _timed(lambda: self._pyro.create_snapshot(changed, name))
            self._pyro.delete_snapshot(changed, name)
            return took

        words = [CLI, "workspace", "exec", large, "--", "true"]
        rows = alternate(
            [
                Subject(
                    "exec, SDK", lambda: _timed(lambda: self._run(large, "true")), goal="≤ 0.010"
                ),
                Subject("exec, " + CLI_LABEL, lambda: seconds(words), goal="≤ 0.25"),
                Subject(
                    "diff, 3 of 50,000 files",
                    lambda: _timed(lambda: self._pyro.diff_workspace(large)),
                    goal="≤ 0.060",
                ),
                Subject("snapshot, 100 MB changed", snapshot, goal="≤ 1.0"),
                Subject("fork, 100 MB changed", fork, goal="≤ 1.0"),
                Subject(
                    "reset, 100 MB changed",
                    lambda: _timed(lambda: self._pyro.reset_workspace(changed, snapshot="mark")),
                    goal="≤ 1.0",
                ),
            ],
            rounds=self._rounds,
        )
        return Table(title="Calls on a running workspace", unit="s", rows=rows)

    def stood_still(self) -> Table:
        """How long a snapshot holds a guest up that writes, with 1 GB changed."""
        busy = f"{SDK_LABEL}, 4 MB are written and flushed again and again"
        compared = f"{SDK_LABEL}, Debian's kernel (all is compared)"
        with self._ground.kernel(DEBIAN_KERNEL):
            other = self._create()
        own = self._create()
        for workspace_id in (own, other):
            self._run(workspace_id, "head -c 1000000000 /dev/urandom > blob; sync")
            self._pyro.write_workspace_file(workspace_id, "beat.py", text=_BEAT)
        subjects = [
            Subject(SDK_LABEL, lambda: self._longest(own), goal="≤ 0.2"),
            Subject(busy, lambda: self._longest(own, meanwhile=_NOISE)),
            Subject(compared, lambda: self._longest(other)),
        ]
        rows = alternate(subjects, rounds=self._rounds)
        for workspace_id in (own, other):
            self._delete(workspace_id)
        title = "The longest write of a guest while a snapshot is made, 1 GB changed"
        return Table(title=title, unit="s", rows=rows, references=[SDK_LABEL])

    def _longest(self, workspace_id: str, *, meanwhile: str = "true") -> float:
        self._run(workspace_id, "rm -f stop beating")
        with ThreadPoolExecutor(2) as pool:
            beating = pool.submit(self._run, workspace_id, "python3 beat.py")
            self._run(workspace_id, "until test -e beating; do sleep 0.01; done")
            more = pool.submit(self._run, workspace_id, meanwhile)
            self._pyro.create_snapshot(workspace_id, "still")
            self._run(workspace_id, "touch stop")
            took = float(beating.result())
            more.result()
        self._pyro.delete_snapshot(workspace_id, "still")
        return took

    def crossed(self) -> Table:
        """Push of 1,000 files, export of 200 MB."""
        pushed = _tree(self._folder / "pushed", files=1_000, size=20 * _MIB)
        workspace_id = self._create()
        self._run(workspace_id, "head -c 200000000 /dev/urandom > blob; mkdir many")
        self._pyro.push_workspace_sync(
            workspace_id, self._folder / "repository", dest="/workspace/many"
        )
        output = self._folder / "out"

        def push() -> float:
            self._run(workspace_id, "rm -rf pushed")
            return _timed(
                lambda: self._pyro.push_workspace_sync(
                    workspace_id, pushed, dest="/workspace/pushed"
                )
            )

        def export(path: str) -> float:
            took = _timed(
                lambda: self._pyro.export_workspace(workspace_id, path, output_path=output)
            )
            shutil.rmtree(output) if output.is_dir() else output.unlink()
            return took

        rows = alternate(
            [
                Subject("push, 1,000 files, 20 MB", push, goal="≤ 1.0"),
                Subject(
                    "export, one file of 200 MB", lambda: export("blob"), goal="≤ 1.33 (150 MB/s)"
                ),
                Subject("export, 10,000 files, 200 MB", lambda: export("many")),
            ],
            rounds=self._rounds,
        )
        return Table(title="Across the boundary", unit="s", rows=rows)

    def alive(self) -> Table:
        """30 at once, all answering."""

        def all_answer() -> float:
            begun = time.perf_counter()
            with ThreadPoolExecutor(8) as pool:
                ids = list(pool.map(lambda _n: self._create(mem_mib=256), range(_AT_ONCE)))
                answers = list(pool.map(lambda id_: self._run(id_, "echo here"), ids))
            took = time.perf_counter() - begun
            for workspace_id in ids:
                self._delete(workspace_id)
            if answers != ["here\n"] * _AT_ONCE:
                raise NotMeasuredError("not all of them answered")
            return took

        rows = alternate([Subject(SDK_LABEL, all_answer, goal="all answer")], rounds=1)
        return Table(title=f"{_AT_ONCE} workspaces made and alive at once", unit="s", rows=rows)

    def remove_all(self) -> None:
        """Nothing of this run stays."""
        for workspace_id in list(self._made):
            self._delete(workspace_id)

    def _create(self, *, seed_path: Path | None = None, mem_mib: int = 512) -> str:
        made = self._pyro.create_workspace(
            environment=_ENVIRONMENT, mem_mib=mem_mib, seed_path=seed_path
        )
        workspace_id = str(made["workspace_id"])
        self._made.append(workspace_id)
        return workspace_id

    def _delete(self, workspace_id: str) -> None:
        self._pyro.delete_workspace(workspace_id)
        self._made.remove(workspace_id)

    def _run(self, workspace_id: str, command: str) -> str:
        answer = self._pyro.exec_workspace(workspace_id, command=command, timeout_seconds=300)
        if answer["exit_code"] != 0:
            raise NotMeasuredError(f"{command!r} ended with {answer}")
        return str(answer["stdout"])


def _tree(root: Path, *, files: int, size: int) -> Path:
    content = (b"pyro bench " * (size // files // 11 + 1))[: size // files]
    for number in range(files):
        folder = root / str(number // 250)
        if number % 250 == 0:
            folder.mkdir(parents=True)
        (folder / str(number % 250)).write_bytes(content)
    subprocess.run(["sync"], check=True)
    return root


def _timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
