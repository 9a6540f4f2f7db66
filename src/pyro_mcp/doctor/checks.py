"""One function per thing that guests need of this host; each says what it saw and what to do.

Every module of pyro beyond `errors` and `config` is imported by the check that needs it: on an
installation that is not whole, all other checks still say something.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyro_mcp.config import Settings

REINSTALL = "Install pyro again: pip install --force-reinstall pyro-mcp."

_PYTHON = (3, 11)
_RUN_TOOLS = {"bwrap": "bubblewrap", "setarch": "util-linux"}
_BUILD_TOOLS = {"mmdebstrap": "mmdebstrap"}
_ORDINARY_BUILD_TOOLS = {"newuidmap": "uidmap", "newgidmap": "uidmap"}
_SUBORDINATE_IDS = 65536
_SUBORDINATE_TABLES = ("/etc/subuid", "/etc/subgid")
_FIRST_SUBORDINATE_ID = 100000
_RUN_MIB = 256
_BUILD_MIB = 1500
"""The runtime and one environment, with what is needed while they are made."""


class Check(NamedTuple):
    """What one look at the host showed."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = True
    """Whether guests need it; if not, it is only worth knowing."""


def platform_check() -> Check:
    """The one platform there are guests for."""
    host = os.uname()
    found = f"{host.sysname} {host.release} on {host.machine}"
    ok = host.sysname == "Linux" and host.machine == "x86_64"
    return Check("platform", ok, found, "" if ok else "Use an x86_64 host that runs Linux.")


def python_check() -> Check:
    """The interpreter that runs this."""
    ok = sys.version_info >= _PYTHON
    wanted = ".".join(map(str, _PYTHON))
    found = f"Python {sys.version.split()[0]} at {sys.executable}"
    return Check("python", ok, found, "" if ok else f"Use Python {wanted} or later.")


def directory_check(name: str, directory: Path, variable: str, needed_mib: int) -> Check:
    """A directory of pyro's, or the place where it will be made."""
    there = directory
    while not there.exists() and there != there.parent:
        there = there.parent
    elsewhere = f"or set {variable} to another place"
    if not there.is_dir():
        return Check(name, False, f"{there} is not a directory", f"Remove it, {elsewhere}.")
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        remedy = f"Make it writable for this user, {elsewhere}."
        return Check(name, False, f"{there} is not writable", remedy)
    free_mib = _free_mib(there)
    state = "exists" if there == directory else "will be made"
    found = f"{directory} ({state}), {free_mib} MiB free"
    if free_mib < needed_mib:
        remedy = f"Free some room (pyro needs {needed_mib} MiB), {elsewhere}."
        return Check(name, False, found, remedy)
    return Check(name, True, found)


def cache_check(settings: Settings, *, installed: bool) -> Check:
    """Where images are kept."""
    from pyro_mcp.config import CACHE_VARIABLE

    needed = _RUN_MIB if installed else _BUILD_MIB
    return directory_check("cache directory", settings.cache_dir, CACHE_VARIABLE, needed)


def state_check(settings: Settings) -> Check:
    """Where running machines are kept."""
    from pyro_mcp.config import STATE_VARIABLE

    return directory_check("state directory", settings.state_dir, STATE_VARIABLE, _RUN_MIB)


def tools_checks(*, installed: bool) -> Iterator[Check]:
    """Programs of the host: those for every run, then those for building environments."""
    yield from _tools(_RUN_TOOLS, "runs guests", required=True)
    building = dict(_BUILD_TOOLS)
    if os.geteuid() != 0:
        building |= _ORDINARY_BUILD_TOOLS
    # With an environment in the cache, guests run without these.
    yield from _tools(building, "builds environments", required=not installed)


def find_program(name: str) -> str | None:
    """Full path of a program; also where ordinary users have no search path."""
    import shutil

    path = os.environ.get("PATH", os.defpath)
    return shutil.which(name, path=os.pathsep.join((path, "/usr/sbin", "/sbin")))


def subordinate_ids_check(*, installed: bool) -> Check:
    """An ordinary user builds environments under ids of its own for it."""
    name = "subordinate ids"
    if os.geteuid() == 0:
        return Check(name, True, "not needed: root builds environments directly")
    import pwd
    from pathlib import Path

    user = pwd.getpwuid(os.geteuid()).pw_name
    lacking = [
        table
        for table in _SUBORDINATE_TABLES
        if not _has_range(Path(table), {user, str(os.geteuid())})
    ]
    if not lacking:
        return Check(name, True, f"{user} has {_SUBORDINATE_IDS} of them")
    free = _free_range(_SUBORDINATE_TABLES)
    return Check(
        name,
        False,
        f"{user} has no {_SUBORDINATE_IDS} ids in {' and '.join(lacking)}",
        f"As root: usermod --add-subuids {free} --add-subgids {free} {user}.",
        required=not installed,
    )


def guest_kernel_check(settings: Settings) -> Check:
    """Which kernel guests run; the one that comes with pyro is unpacked and compared."""
    from pyro_mcp.config import DEBIAN_KERNEL, KERNEL_VARIABLE, OWN_KERNEL
    from pyro_mcp.environments import shipped_kernel

    if settings.kernel == DEBIAN_KERNEL:
        other = f"without {KERNEL_VARIABLE}={DEBIAN_KERNEL} it is pyro's own"
        return Check("guest kernel", True, f"the distribution's; {other}")
    whose = shipped_kernel.provenance()
    shipped_kernel.verify()
    other = f"{KERNEL_VARIABLE}={DEBIAN_KERNEL} takes the distribution's"
    return Check(
        "guest kernel", True, f"{OWN_KERNEL}'s own, {whose.release} from {whose.source}; {other}"
    )


def installed_checks(settings: Settings) -> Iterator[Check]:
    """The runtime and the environments of the cache, read and compared with their records."""
    from pyro_mcp.environments import cache

    place = cache.runtime_place(settings)
    rebuild = f"Remove {place}; the next run builds it again."
    if not place.exists():
        yield Check("runtime", True, "not built yet; the first run builds it")
    elif wrong := _runtime_problem(place):
        yield Check("runtime", False, wrong, rebuild)
    else:
        yield Check("runtime", True, f"{place} is intact")
    for entry in cache.list_environments(settings):
        name = f"environment {entry['name']}"
        if entry["installed"]:
            yield _verified(settings, name, entry["name"])
        elif problem := entry.get("problem"):
            remedy = f"Run 'pyro env pull {entry['name']}'; it builds the environment again."
            # Not a fault of the host: whoever uses it next has it built again.
            detail = f"{entry['install_dir']} {problem}"
            yield Check(name, False, detail, remedy, required=False)


def boot_check(settings: Settings, environment: str) -> Check:
    """A guest of an installed environment, booted and asked something."""
    import time

    from pyro_mcp.environments import cache
    from pyro_mcp.machines.choose import choose_engine
    from pyro_mcp.machines.machine import Machine
    from pyro_mcp.machines.spec import Images, MachineSpec

    runtime, found, blank = cache.ensure_images(settings, environment)
    images = Images(runtime.jail_root, runtime.agent_image, found.image, found.version, blank)
    spec = MachineSpec(environment, 1, 256, 60, False, False)
    started = time.monotonic()
    with Machine.create(settings, spec, images, choose_engine()) as machine:
        machine.start(life_seconds=60)
        outcome = machine.execute("uname -sr", timeout_seconds=10)
    took = time.monotonic() - started
    said = f"{outcome.stdout.text()}{outcome.stderr.text()}".strip()
    if outcome.exit_code != 0:
        return Check("guest boot", False, f"a guest booted, and then said: {said}", REINSTALL)
    return Check("guest boot", True, f"{environment} booted and answered in {took:.2f} s ({said})")


def _tools(tools: dict[str, str], purpose: str, *, required: bool) -> Iterator[Check]:
    for tool, package in tools.items():
        if path := find_program(tool):
            yield Check(f"tool {tool}", True, path, required=required)
        else:
            remedy = f"Install the package {package} (Debian: apt-get install {package})."
            detail = f"is not installed; it {purpose}"
            yield Check(f"tool {tool}", False, detail, remedy, required=required)


def _runtime_problem(place: Path) -> str | None:
    from hashlib import file_digest

    from pyro_mcp.environments import cache

    found = cache.find_runtime(place, place / "agent")
    if found is None:
        return f"{place} has no manifest, or a kernel of another size than recorded"
    with found.kernel.open("rb") as kernel:
        digest = file_digest(kernel, "sha256").hexdigest()
    if found.digest != f"sha256:{digest}":
        return f"{found.kernel} is not the file that was recorded"
    for part in ("lib64/ld-linux-x86-64.so.2", "usr/sbin/mke2fs"):
        if not (found.tree / part).exists():
            return f"{found.tree / part} is missing"
    return None


def _verified(settings: Settings, name: str, environment: str) -> Check:
    from pyro_mcp.environments import cache
    from pyro_mcp.errors import CacheCorruptError

    try:
        cache.verify_environment(settings, environment)
    except CacheCorruptError as error:
        return Check(name, False, error.problem, error.hint)
    return Check(name, True, "its image is intact")


def _free_mib(directory: Path) -> int:
    facts = os.statvfs(directory)
    return facts.f_bavail * facts.f_frsize >> 20


def _has_range(table: Path, names: set[str]) -> bool:
    return any(owner in names and count >= _SUBORDINATE_IDS for owner, _, count in _ranges(table))


def _free_range(tables: tuple[str, ...]) -> str:
    # Ids that two users share would let one touch the other's files.
    from pathlib import Path

    ends = [first + count for table in tables for _, first, count in _ranges(Path(table))]
    start = max([_FIRST_SUBORDINATE_ID, *ends])
    return f"{start}-{start + _SUBORDINATE_IDS - 1}"


def _ranges(table: Path) -> Iterator[tuple[str, int, int]]:
    """Owner, first id and number of ids of each line of a subuid(5) table."""
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        owner, _, numbers = line.partition(":")
        first, _, count = numbers.partition(":")
        if first.isdecimal() and count.isdecimal():
            yield owner, int(first), int(count)
