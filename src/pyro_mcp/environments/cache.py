"""Images of the cache: found when they are there, built when they are not.

    <cache>/<platform>/<name>-<version>/    environment.json, rootfs.ext4
    <cache>/runtime/<platform>-<key>/       runtime.json, tree/, jail/, agent-<key>.ext4,
                                            empty-<MiB>.ext4
    <cache>/catalogue.json                  what the catalogue said, to be read quickly
    <cache>/.locks/                         one per entry, held while it is built or removed

An entry is built under another name beside its place and renamed once it is whole. Finding what
is there is on the path of every run and imports little; all that builds is imported when needed.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from pyro_mcp.config import CACHE_VARIABLE, PLATFORM
from pyro_mcp.environments import keys
from pyro_mcp.errors import CacheAccessError, DiskSpaceError, UnknownEnvironmentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pyro_mcp.config import Settings
    from pyro_mcp.environments.catalogue import Catalogue, Entry

    Progress = Callable[[str, float | None], None]
    """Called with what is being done, and how much of the whole is done (0 to 1) if known."""

MANIFEST = "environment.json"
IMAGE = "rootfs.ext4"
RUNTIME_MANIFEST = "runtime.json"
_MEMO = "catalogue.json"
AGENT_MIB = 64
"""Size of every agent image; most of it are holes."""
DATA_DISK_MIB = 10 * 1024
"""Size of a machine's data disk unless asked otherwise; it grows on the host as it is used."""


class Runtime(NamedTuple):
    """The kernel, the agent and the host-side tools, all from one Debian tree."""

    tree: Path
    """The tree itself; its programs run through its own loader."""
    jail_root: Path
    """Smallest root in which the kernel runs."""
    kernel: Path
    agent_image: Path
    """Read-only ext4: the root of the guest agent."""
    version: str
    """The kernel's release, or Debian's version of its package."""
    digest: str
    """sha256 of the kernel."""


class Installed(NamedTuple):
    """An environment in the cache."""

    name: str
    version: str
    image: Path
    digest: str | None
    """sha256 of the image when it was built."""
    manifest: Path


class Wanted(NamedTuple):
    """What an installed environment must be to count as current."""

    name: str
    version: str
    recipe: str


def quiet(phase: str, fraction: float | None) -> None:
    """Progress that nobody watches."""


def ensure_images(
    settings: Settings, name: str, *, progress: Progress = quiet
) -> tuple[Runtime, Installed, Path]:
    """All that a machine of this environment is made from, the blank data disk last.

    Raises:
        UnknownEnvironmentError: before anything is built.
        PyroError: as `ensure_environment`.
    """
    wanted(settings, name)
    runtime = ensure_runtime(settings, progress=progress)
    installed = ensure_environment(settings, name, progress=progress)
    return runtime, installed, blank_disk(settings, progress=progress)


def ensure_runtime(settings: Settings, *, progress: Progress = quiet) -> Runtime:
    """The runtime of this version of pyro; built if it is missing or damaged.

    Raises:
        PyroError: as `ensure_environment`.
    """
    place = runtime_place(settings)
    with accessing(settings):
        sources = keys.agent_sources()
        agent = place / f"agent-{keys.agent_key(sources)}.ext4"
        found = find_runtime(place, agent)
        if found is not None and _size(agent) == AGENT_MIB << 20:
            return found
        from pyro_mcp.environments import runtime

        if found is None:
            runtime.build(settings, place, progress=progress)
        runtime.build_agent(settings, place, agent, sources, progress=progress)
        found = find_runtime(place, agent)
        assert found is not None
        return found


def ensure_environment(settings: Settings, name: str, *, progress: Progress = quiet) -> Installed:
    """The image of an environment; built if it is missing, damaged or of another recipe.

    Raises:
        UnknownEnvironmentError: the catalogue has no such name; nothing was done.
        CatalogueError: the user's catalogue cannot be used.
        ToolMissingError, NotAvailableError: this host lacks what building needs.
        DiskSpaceError: there is too little room, or it ran out.
        EnvironmentBuildError: the archive cannot be reached, or a package fails.
        CacheAccessError: the cache cannot be read or written.
    """
    current = wanted(settings, name)
    with accessing(settings):
        found = find_installed(settings, current)
        if found is not None:
            return found
        from pyro_mcp.environments import build

        build.build(settings, load(settings).entry(name), progress=progress)
        found = find_installed(settings, current)
        assert found is not None
        return found


def blank_disk(
    settings: Settings, size_mib: int = DATA_DISK_MIB, *, progress: Progress = quiet
) -> Path:
    """An empty formatted disk of that size, to be copied for a machine (`copy_sparse`).

    Raises:
        PyroError: as `ensure_environment`.
    """
    place = runtime_place(settings)
    blank = place / f"empty-{size_mib}.ext4"
    with accessing(settings):
        if _size(blank) != size_mib << 20:
            from pyro_mcp.environments import runtime

            ensure_runtime(settings, progress=progress)
            runtime.build_blank(settings, place, blank, size_mib, progress=progress)
    return blank


def list_environments(settings: Settings) -> list[dict[str, Any]]:
    """Every environment of the catalogue, installed or not; builds nothing."""
    from pyro_mcp.environments import report

    with accessing(settings):
        return report.list_all(settings)


def inspect_environment(settings: Settings, name: str) -> dict[str, Any]:
    """One environment; builds nothing. Raises `UnknownEnvironmentError`."""
    from pyro_mcp.environments import report

    with accessing(settings):
        return report.inspect(settings, name)


def pull_environment(
    settings: Settings, name: str, *, progress: Progress = quiet
) -> dict[str, Any]:
    """Build an environment, and what else a machine needs, unless it is there.

    Raises:
        PyroError: as `ensure_environment`.
    """
    from pyro_mcp.environments import report

    ensure_images(settings, name, progress=progress)
    with accessing(settings):
        return report.pulled(settings, name)


def prune_environments(settings: Settings) -> dict[str, Any]:
    """Remove what no current environment needs; what is being built now stays."""
    from pyro_mcp.environments import prune

    with accessing(settings):
        return prune.prune(settings)


def verify_environment(settings: Settings, name: str) -> None:
    """Read the whole image of an installed environment and compare its digest.

    Raises:
        UnknownEnvironmentError: the catalogue has no such name.
        CacheCorruptError: it is not what was built.
    """
    from pyro_mcp.environments import report

    with accessing(settings):
        report.verify(settings, name)


def platform_place(settings: Settings) -> Path:
    """Where environments are installed."""
    return settings.cache_dir / PLATFORM


def runtime_place(settings: Settings) -> Path:
    """Where the runtime of this version of pyro is, or will be."""
    return settings.cache_dir / "runtime" / f"{PLATFORM}-{keys.runtime_key(settings.kernel)}"


def install_place(settings: Settings, current: Wanted | Entry) -> Path:
    """Where an environment is, or will be, installed."""
    return platform_place(settings) / f"{current.name.replace(':', '_')}-{current.version}"


def wanted(settings: Settings, name: str) -> Wanted:
    """What the catalogue says of `name` now.

    Raises:
        UnknownEnvironmentError: nothing.
        CatalogueError: the user's catalogue cannot be used.
    """
    known = _read_memo(settings)
    if name not in known:
        entries = load(settings).entries.values()
        known = {entry.name: [entry.version, entry.recipe] for entry in entries}
    if name not in known:
        raise UnknownEnvironmentError(name, list(known))
    return Wanted(name, *known[name])


def load(settings: Settings) -> Catalogue:
    """Read the catalogue, and remember for the next `wanted` what it said."""
    from pyro_mcp.environments import catalogue
    from pyro_mcp.host.files import write_whole

    read = catalogue.load_catalogue(settings)
    carried = [str(file.source) for entry in read.entries.values() for file in entry.files]
    entries = {entry.name: [entry.version, entry.recipe] for entry in read.entries.values()}
    stamps = [_stamp(path) for path in (*_sources(settings), *carried)]
    memo = json.dumps({"stamps": stamps, "entries": entries})
    # Only a shortcut: without it the next run reads the catalogue again.
    with suppress(OSError):
        if settings.cache_dir.is_dir():
            write_whole(settings.cache_dir / _MEMO, memo.encode())
    return read


def find_installed(settings: Settings, current: Wanted) -> Installed | None:
    """The environment if it is there, of that recipe, and its image as large as recorded."""
    place = install_place(settings, current)
    manifest = read_manifest(place / MANIFEST)
    if (
        manifest is None
        or manifest.get("recipe") != current.recipe
        or _size(place / IMAGE) != manifest.get("image_bytes")
    ):
        return None
    digest = manifest.get("image_digest")
    return Installed(current.name, current.version, place / IMAGE, digest, place / MANIFEST)


def find_runtime(place: Path, agent: Path) -> Runtime | None:
    """The runtime if it is there and its kernel as large as recorded."""
    manifest = read_manifest(place / RUNTIME_MANIFEST)
    kernel = place / "jail/linux"
    if manifest is None or _size(kernel) != manifest.get("kernel_bytes"):
        return None
    return Runtime(
        tree=place / "tree",
        jail_root=place / "jail",
        kernel=kernel,
        agent_image=agent,
        version=manifest["kernel_version"],
        digest=manifest["kernel_digest"],
    )


def read_manifest(path: Path) -> dict[str, Any] | None:
    """A manifest, or None if there is none that can be understood."""
    try:
        with open(path, "rb") as source:  # noqa: PTH123
            value = json.load(source)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return value if isinstance(value, dict) else None


@contextmanager
def accessing(settings: Settings) -> Iterator[None]:
    """Turn the system's refusals about the cache into pyro's errors."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            from pyro_mcp.host.files import free_mib

            free = free_mib(settings.cache_dir)
            raise DiskSpaceError(
                settings.cache_dir, needed_mib=free + 1, free_mib=free, variable=CACHE_VARIABLE
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            where = str(error.filename or settings.cache_dir)
            raise CacheAccessError(
                settings.cache_dir,
                f"{where}: {error.strerror}",
                variable=CACHE_VARIABLE,
            ) from error
        raise


def _sources(settings: Settings) -> list[str]:
    """What decides about the catalogue, besides the files that entries carry."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    own = [os.path.join(here, name) for name in ("catalogue.py", "catalogue.toml")]  # noqa: PTH118
    return [*own, str(settings.catalogue)]


def _read_memo(settings: Settings) -> dict[str, list[str]]:
    sources = _sources(settings)
    try:
        with open(settings.cache_dir / _MEMO, "rb") as source:  # noqa: PTH123
            memo = json.load(source)
        stamps = memo["stamps"]
        # Another user's catalogue, or another version of pyro, may have written it.
        if [stamp[0] for stamp in stamps[: len(sources)]] != sources:
            return {}
        if any(_stamp(stamp[0]) != stamp for stamp in stamps):
            return {}
        return {name: [version, recipe] for name, (version, recipe) in memo["entries"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _stamp(path: str) -> list[Any]:
    try:
        facts = os.stat(path)  # noqa: PTH116
    except OSError:
        return [path, None]
    return [path, facts.st_mtime_ns, facts.st_size, facts.st_ino]


def _size(path: Path) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
