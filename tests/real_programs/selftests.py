"""The kernel's own tests: built in a machine from the source of the kernel, run, and read."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

from pyro_mcp.errors import GuestLostError
from pyro_mcp.machines.machine import Machine

COLLECTIONS = (
    *("cachestat", "capabilities", "clone3", "core", "exec", "fchmodat2", "filelock"),
    *("filesystems", "filesystems/epoll", "filesystems/statmount", "futex", "ipc", "kcmp"),
    *("membarrier", "memfd", "mincore", "mm", "mount", "mount_setattr", "move_mount_set_group"),
    *("mqueue", "namespaces", "filesystems/openat2", "pid_namespace", "pidfd", "pipe", "prctl"),
    *("proc", "ptrace", "rlimits", "rseq", "seccomp", "signal", "size", "splice"),
    *("syscall_user_dispatch", "timens", "timers", "tmpfs", "tty", "uevent", "vDSO", "x86"),
)

LIFE_SECONDS = 4 * 3600
_BUILD = Path(__file__).parents[2] / "kernel/build"
# Of the tree, what the tests are built from.
_PARTS = re.compile(
    r"""(?x) Makefile | mm/gup_test\.h | lib/test_hmm_uapi\.h | (usr/include|include|scripts)/.*
    | tools/(include|scripts|arch|lib)/.* | tools/testing/selftests/(?!bpf/|drivers/|kvm/|net/).*"""
)
_PLACE = "/var/tmp/selftests"
_SKIPPED = "filesystems:file_stressor"
"""Takes a quarter of an hour by itself, and what it started outlives a time-out."""
_RESULT = re.compile(
    r"(?P<nested>(?:# )+)?(?P<verdict>ok|not\ ok) \d+ (?:- )?(?P<name>.*?)"
    r"(?: # (?P<directive>SKIP|XFAIL|TODO)\b.*)?"
)
_TITLE = re.compile(r"# selftests: [^:]+: (?P<program>\S+)")

Verdicts = dict[str, str]
"""Test → ok, not ok, or why it does not count (SKIP, XFAIL, TODO)."""


def pack(work: Path) -> Path:
    """An archive of what the tests are built from, made of the kernel's source with its headers."""
    work = Path(os.environ.get("WORK") or work)
    subprocess.run(
        [str(_BUILD), "--source"],
        check=True,
        env={**os.environ, "WORK": str(work)},
        stdout=subprocess.DEVNULL,
    )
    tree = work / "linux"
    subprocess.run(
        ["make", "-C", str(tree), "-s", "ARCH=x86", "headers"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    packed = work / "selftests.tar"
    with tarfile.open(packed, "w") as archive:
        for path in sorted(tree.rglob("*")):
            name = str(path.relative_to(tree))
            if not path.is_dir() and _PARTS.fullmatch(name):
                archive.add(path, name)
    return packed


def build(machine: Machine, packed: Path) -> None:
    """Compile them all and install them; those that this Debian cannot build are left out."""
    with packed.open("rb") as source:
        outcome = machine.execute(
            f"""
            set -e; mkdir -p {_PLACE}/tree; cd {_PLACE}/tree; tar -x
            cd tools/testing/selftests
            # What does not build must not keep the others from being installed.
            make -i install TARGETS='{" ".join(COLLECTIONS)}' SKIP_TARGETS= FORCE_TARGETS= \
                KSFT_INSTALL_PATH={_PLACE}/installed >{_PLACE}/log 2>&1 || true
            wc -l <{_PLACE}/installed/kselftest-list.txt
            """,
            stdin=source,
            timeout_seconds=1800,
        )
    assert outcome.exit_code == 0, outcome.stderr.text()[-2000:]


def run(machine: Machine, collection: str) -> Verdicts:
    """Boot, and run one collection, five minutes each program; it may end the guest."""
    said = bytearray()
    guest = "ended"
    machine.start(life_seconds=LIFE_SECONDS)
    try:
        with suppress(GuestLostError):
            machine.execute(
                f"cd {_PLACE}/installed && "
                f"exec ./run_kselftest.sh -f -o 300 -c {collection} -S {_SKIPPED} 2>&1 </dev/null",
                timeout_seconds=3000,
                on_output=lambda _stream, chunk: said.extend(chunk),
            )
            guest = "ok"
    finally:
        machine.stop()
    return {**read(said.decode(errors="replace")), "the guest": guest}


def worse(own: Verdicts, other: Verdicts) -> set[str]:
    """What passes on the other and does not here, be it that it is skipped, or never begun."""
    found = set()
    for test, verdict in other.items():
        program = test.partition(": ")[0]
        # A name may have a number in it that is another each time: then its program's counts.
        if verdict == "ok" and own.get(test, own.get(program, "missing")) != "ok":
            found.add(test)
    return found


def read(said: str) -> Verdicts:
    """What the runner printed, as verdicts: of its programs, and of the tests in each."""
    verdicts: Verdicts = {}
    program = ""
    for line in said.splitlines():
        if title := _TITLE.fullmatch(line):
            program = title["program"]
        elif result := _RESULT.fullmatch(line):
            verdict = result["directive"] or result["verdict"]
            name = f"{program}: {result['name']}" if result["nested"] else program
            # The same name twice: the worse one counts.
            if verdicts.get(name) != "not ok":
                verdicts[name] = verdict
    return verdicts
