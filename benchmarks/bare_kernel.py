"""Kernels without agent, monitor and jail: one static program is all that runs in them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.ground import Ground
from benchmarks.memory import settled
from benchmarks.processes import descendants
from benchmarks.rounds import NotMeasuredError, Subject, alternate, last_cpu, run, seconds
from benchmarks.table import Table
from pyro_mcp.config import DEBIAN_KERNEL, OWN_KERNEL
from pyro_mcp.engines.uml import KERNEL_OPTIONS
from pyro_mcp.environments import cache
from pyro_mcp.environments.image import make_image
from pyro_mcp.jail.bubblewrap import find_tool

_PARTS = ("linux", "lib", "lib64")
"""Of the jail's root: the kernel and what it is linked with."""
_SOURCE = Path(__file__).with_name("bare_kernel.c")
_MEM_MIB = 512
_TOGETHER = 8
_OWN = "own kernel"
_DEBIAN = "Debian's, with pyro's options"
_FREE = "Debian's, with them, on any CPU"
_AS_IT_COMES = "Debian's, as it comes"
_NEEDED_OPTIONS = ("root=/dev/ubda", "ro", "rootfstype=ext4", "con=null", "con0=null,fd:1")


def measure(ground: Ground) -> list[Table]:
    """Boot with power-off, and memory of one and of each of several."""
    with tempfile.TemporaryDirectory() as folder:
        disk = _disk(ground, Path(folder))
        start = partial(_command, ground, disk)
        own = partial(start, OWN_KERNEL, KERNEL_OPTIONS)
        debian = partial(start, DEBIAN_KERNEL, KERNEL_OPTIONS)
        free = partial(start, DEBIAN_KERNEL, KERNEL_OPTIONS, pinned=False)
        as_it_comes = partial(start, DEBIAN_KERNEL, _NEEDED_OPTIONS, pinned=False)

        def life(command: Callable[..., list[str]]) -> float:
            return seconds(command())

        boots = alternate(
            [
                Subject(_OWN, partial(life, own), goal="≤ 0.6 x Debian's"),
                Subject(_DEBIAN, partial(life, debian)),
                Subject(_FREE, partial(life, free)),
                Subject(_AS_IT_COMES, partial(life, as_it_comes)),
            ],
            rounds=ground.rounds(10, 3),
        )
        memory = {
            number: alternate(
                [
                    Subject(_OWN, partial(_memory, own, number), goal="≤ 24 MB (22.9 MiB)"),
                    Subject(_DEBIAN, partial(_memory, debian, number)),
                ],
                rounds=ground.rounds(5, 1),
                warm_up=0,
            )
            for number in (1, _TOGETHER)
        }
    return [
        Table(
            title="A bare kernel booted and powered off",
            unit="s", rows=boots, references=[_DEBIAN, _FREE, _AS_IT_COMES],
        ),
        *(
            Table(
                title=f"Memory of a bare kernel of {_MEM_MIB} MiB, idle, {number} at once (PSS)",
                unit="MiB", rows=rows, references=[_DEBIAN], digits=1,
            )
            for number, rows in memory.items()
        ),
    ]  # fmt: skip


def _disk(ground: Ground, folder: Path) -> Path:
    root, disk = folder / "root", folder / "disk"
    for name in ("dev", "proc"):
        (root / name).mkdir(parents=True)
    run(["gcc", "-O2", "-static", "-o", str(root / "init"), str(_SOURCE)])
    make_image(cache.ensure_runtime(ground.pyro.manager.settings).tree, root, disk, label="bare")
    return disk


def _command(
    ground: Ground,
    disk: Path,
    kernel: str,
    options: tuple[str, ...],
    *words: str,
    pinned: bool = True,
) -> list[str]:
    with ground.kernel(kernel):
        jail_root = cache.ensure_runtime(ground.pyro.manager.settings).jail_root
    # The kernel's own libc is beside it; bubblewrap alone costs a few milliseconds. Parts of the
    # jail's root and not all of it: mount points would be made in the directory that every
    # machine of this cache starts from.
    return [
        *(["taskset", "--cpu-list", str(last_cpu())] if pinned else []),
        find_tool("bwrap") or "bwrap", "--unshare-pid", "--die-with-parent",
        *(word for part in _PARTS for word in ("--ro-bind", str(jail_root / part), f"/{part}")),
        "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
        "--ro-bind", str(disk), "/tmp/disk",
        "--setenv", "HOME", "/tmp", "--setenv", "TMPDIR", "/tmp",
        "/linux", f"mem={_MEM_MIB}M", *options, "ubd0dr=/tmp/disk", "init=/init", "--", *words,
    ]  # fmt: skip


def _memory(command: Callable[..., list[str]], number: int) -> float:
    before = descendants()
    running: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(number):
            running.append(
                subprocess.Popen(
                    command("rest"),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            )
        for process in running:
            assert process.stdout is not None
            if not any(line.strip() == b"up" for line in process.stdout):
                raise NotMeasuredError("the guest did not start")
        helpers = {process.pid for process in running}
        return settled(lambda: descendants() - before - helpers) / number
    finally:
        for process in running:
            process.kill()
            process.communicate()
