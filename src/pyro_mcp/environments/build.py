"""An environment, from its catalogue entry to the image in the cache."""

from __future__ import annotations

import json
import re
import time
from hashlib import file_digest
from typing import TYPE_CHECKING

from pyro_mcp.config import PLATFORM
from pyro_mcp.environments import archive, cache, image, packages, tarball, workshop
from pyro_mcp.environments.tarball import Addition
from pyro_mcp.errors import EnvironmentBuildError
from pyro_mcp.host.files import publish, sync_file, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pyro_mcp.config import Settings
    from pyro_mcp.environments.cache import Progress
    from pyro_mcp.environments.catalogue import Entry

# Kept by dpkg, also for what is installed later inside: nobody reads manuals in there, and a
# disposable disk need not be flushed after every file.
_DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    # update-alternatives, in the Java packages for one, fails where there is no such folder.
    "path-include=/usr/share/man/man[1-9]",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/lintian/*",
)
_APT_SETTINGS = b"""\
Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
APT::Install-Recommends "false";
"""
# What differs from build to build, or is about the host that built it.
_DROPPED = re.compile(
    r"""
    etc/(hostname|hosts|resolv\.conf|machine-id|mtab) | etc/apt/apt\.conf\.d/99mmdebstrap
    | etc/(passwd|group|shadow|gshadow|subuid|subgid)-
    | dev/.+ | run/.+ | tmp/.+ | var/tmp/.+ | proc/.+ | sys/.+
    | var/cache/(apt|debconf|ldconfig)/[^/]*(\.bin|-old|aux-cache)
    | var/log/(apt|alternatives|bootstrap|dpkg|unattended-upgrades).*
    | var/lib/dpkg/[a-z]+-old | var/lib/apt/lists/.+ | var/lib/systemd/.*random-seed
    """,
    re.VERBOSE,
)
_HOSTS = b"""\
127.0.0.1 localhost pyro
::1 localhost ip6-localhost ip6-loopback
"""
_PROFILES = ("etc/profile", "root/.profile")
_FETCHING = 0.85


def build(settings: Settings, entry: Entry, *, progress: Progress) -> None:
    """Build the image of `entry` into the cache, unless another process does so first.

    Raises:
        PyroError: see `cache.ensure_environment`; the cache is as it was.
    """
    runtime = cache.ensure_runtime(settings, progress=progress)
    target = cache.install_place(settings, entry)
    current = cache.Wanted(entry.name, entry.version, entry.recipe)
    with workshop.building(
        settings,
        target,
        what=entry.name,
        ready=lambda: cache.find_installed(settings, current) is not None,
        needed_mib=_needed_mib(entry),
        progress=progress,
    ) as work:
        if work is None:
            return
        if target.exists():
            progress(f"{entry.name} in the cache is damaged or outdated; it is built again", None)
        finished = work / "finished"
        finished.mkdir(mode=0o755)
        finished.chmod(0o755)
        _make(entry, runtime.tree, work, finished, progress)
        publish(finished, target)
        progress(f"{entry.name} is ready", 1.0)


def _make(entry: Entry, tree: Path, work: Path, finished: Path, progress: Progress) -> None:
    fetched, edited = work / "fetched.tar", work / "edited.tar"
    request = archive.Request(
        what=entry.name,
        suite=entry.suite,
        packages=entry.packages,
        variant="apt",
        needed_mib=_needed_mib(entry),
        options=[f"--dpkgopt={option}" for option in _DPKG_OPTIONS],
    )
    archive.fetch(
        request,
        fetched,
        work,
        progress=lambda phase, done: progress(phase, None if done is None else done * _FETCHING),
    )
    progress("arranging files", _FETCHING)
    status = tarball.read_member(fetched, "var/lib/dpkg/status").decode()
    sources = tarball.read_member(fetched, "etc/apt/sources.list")
    profiles = {path: tarball.read_member(fetched, path) for path in _PROFILES}
    try:
        contents = tarball.rewrite(
            fetched,
            edited,
            keep=lambda path: _DROPPED.fullmatch(path) is None,
            add=[*_additions(sources), *_quick(profiles), *_placed(entry)],
            mtime=image.BUILD_EPOCH,
        )
    except ValueError as error:
        raise EnvironmentBuildError(
            entry.name, f"/{error}", hint="Correct that target under files in the catalogue."
        ) from error
    fetched.unlink()
    progress("making the image", 0.9)
    rootfs = finished / cache.IMAGE
    image.make_image(tree, edited, rootfs, label=entry.suite[:16], contents=contents)
    progress("recording its digest", 0.96)
    with rootfs.open("rb") as content:
        digest = file_digest(content, "sha256").hexdigest()
    sync_file(rootfs)
    manifest = {
        "name": entry.name,
        "version": entry.version,
        "platform": PLATFORM,
        "suite": entry.suite,
        "recipe": entry.recipe,
        "image": cache.IMAGE,
        "image_bytes": rootfs.stat().st_size,
        "image_digest": f"sha256:{digest}",
        "built_at": time.time(),
        "source": f"debian archive ({entry.suite})",
        "packages": packages.from_status(status),
    }
    write_whole(finished / cache.MANIFEST, json.dumps(manifest, indent=2).encode())


def _quick(profiles: Mapping[str, bytes]) -> Iterator[Addition]:
    # Every command's shell is a login shell and reads these. Asking `id` who we are costs a fork
    # and an exec, as does `mesg`: more than the rest of a short command. The shell itself knows
    # who owns the root, and there is no terminal that anyone could write to.
    for path, content in profiles.items():
        if content:
            quick = content.replace(b'[ "$(id -u)" -eq 0 ]', b"[ -O / ]")
            yield Addition(path, quick.replace(b"mesg n 2> /dev/null || true\n", b""))


def _needed_mib(entry: Entry) -> int:
    # The unpacked tree and its archive, then two archives, then an archive and the image.
    return entry.unpacked_mib * 5 // 2


def _additions(sources: bytes) -> list[Addition]:
    return [
        Addition("workspace", mode=0o755, directory=True),
        Addition("etc/hostname", b"pyro\n"),
        Addition("etc/hosts", _HOSTS),
        Addition("etc/resolv.conf"),
        # Present and empty: made up at the first start of whoever wants one (machine-id(5)).
        Addition("etc/machine-id"),
        Addition("etc/apt/apt.conf.d/90pyro", _APT_SETTINGS),
        # What is in here belongs to whoever runs code in the guest.
        Addition("etc/apt/sources.list", archive.without_password(sources.decode()).encode()),
    ]


def _placed(entry: Entry) -> list[Addition]:
    return [
        Addition(file.target.strip("/"), file.source.read_bytes(), file.mode)
        for file in entry.files
    ]
