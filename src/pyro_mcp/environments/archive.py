"""Debian systems from the archive, as tar archives: one run of mmdebstrap.

Signatures are always checked. The expiry of the archive's index is not: mirrors lag.
"""

from __future__ import annotations

import os
import pwd
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp.config import CACHE_VARIABLE
from pyro_mcp.environments.image import BUILD_EPOCH
from pyro_mcp.environments.packages import from_archive_name
from pyro_mcp.errors import DiskSpaceError, EnvironmentBuildError, NotAvailableError
from pyro_mcp.host.files import free_mib, remove_tree
from pyro_mcp.host.process import Tool, run_tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyro_mcp.environments.cache import Progress

MIRROR_VARIABLE = "PYRO_DEBIAN_MIRROR"
"""Another place of the Debian archive: a URL, or a path for `file://`."""

_PURPOSE = "build images from the Debian archive"
_MMDEBSTRAP = Tool("mmdebstrap", "mmdebstrap", _PURPOSE)
_NEWUIDMAP = Tool("newuidmap", "uidmap", f"{_PURPOSE} without being root")
_UNSHARE = Tool("unshare", "util-linux", _PURPOSE)
_AS_ROOT = ("--map-root-user", "--map-auto")
_SUBORDINATE_IDS = 65536

_MARK = "PYRO-PACKAGE "
# What mmdebstrap says when a phase begins, what we call it, how much is then done.
_PHASES = (
    ("running apt-get update", "reading the package index", 0.0),
    ("downloading packages", "downloading packages", 0.1),
    ("extracting archives", "unpacking", 0.25),
    ("installing essential packages", "installing essential packages", 0.35),
    ("installing remaining packages", "installing packages", 0.55),
    ("creating tarball", "collecting files", 0.9),
)
_NETWORK_WORDS = (
    "Could not connect",
    "Could not resolve",
    "Temporary failure",
    "Connection failed",
    "Unable to connect",
    "timed out",
    "Failed to fetch",
)
_SAYS_NOTHING = ("E: mmdebstrap failed", "E: Some index files failed", "E: apt-get ", "E: run_")


class Request(NamedTuple):
    """What is asked of the archive."""

    what: str
    """What it is for, in messages."""
    suite: str
    packages: Sequence[str]
    variant: str
    """mmdebstrap's: `extract` only unpacks the packages, `apt` gives a working system."""
    needed_mib: int
    """Room that the work needs, for the message when there was less."""
    options: Sequence[str] = ()


def fetch(request: Request, output: Path, scratch: Path, *, progress: Progress) -> dict[str, str]:
    """Write the system to the tar archive `output`; gives the downloaded packages' versions.

    `scratch` is a directory for intermediate files on a file system with room.

    Raises:
        ToolMissingError: mmdebstrap, or what an ordinary user needs for it, is not installed.
        NotAvailableError: this user has no subordinate ids.
        EnvironmentBuildError: the archive or a package failed; carries apt's own words.
        DiskSpaceError: the disk became full.
    """
    program = _MMDEBSTRAP.find()
    mirror = _mirror()
    # fmt: off
    command = [
        *_namespaces(), program,
        "--mode=root", f"--variant={request.variant}", "--format=tar", "--skip=chroot/mount/sys",
        f"--include={','.join(request.packages)}",
        '--aptopt=Acquire::Check-Valid-Until "false"',
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=Acquire::Retries "2"',
        # The names of the downloaded files carry the exact versions.
        f'--extract-hook=ls "$1/var/cache/apt/archives" | sed "s/^/{_MARK}/"',
        *request.options,
        request.suite, str(output),
        *([mirror] if mirror else []),
    ]
    # fmt: on
    if not request.packages:
        command.remove("--include=")
    versions: dict[str, str] = {}

    def on_line(line: str) -> None:
        if line.startswith(_MARK):
            if named := from_archive_name(line.removeprefix(_MARK)):
                versions[named[0]] = named[1]
            return
        for said, phase, fraction in _PHASES:
            if line.startswith(f"I: {said}"):
                progress(phase, fraction)

    finished = run_tool(
        command, on_line=on_line, environment=_environment(scratch), directory=scratch
    )
    if finished.status:
        output.unlink(missing_ok=True)
        raise _failure(request, finished.lines, scratch)
    return dict(sorted(versions.items()))


def _namespaces() -> list[str]:
    """What to run mmdebstrap under, so that it is root and leaves neither mounts nor processes.

    An ordinary user is root of a namespace there, in which the user's own files stay accessible:
    mmdebstrap's own mode for users cannot work below a home that others may not enter.
    """
    own = [_UNSHARE.find(), "--mount", "--pid", "--fork", "--kill-child"]
    if os.geteuid() != 0:
        _require_subordinate_ids()
        return [*own, *_AS_ROOT, "--"]
    # Root of a container may be refused this; then mmdebstrap can mount nothing either.
    allowed = run_tool([*own, "--", "true"]).status == 0
    return [*own, "--"] if allowed else []


def _require_subordinate_ids() -> None:
    _NEWUIDMAP.find()
    user = pwd.getpwuid(os.geteuid()).pw_name
    for table in ("/etc/subuid", "/etc/subgid"):
        if not has_subordinate_ids(Path(table), {user, str(os.geteuid())}):
            raise NotAvailableError(
                f"The user {user} has no {_SUBORDINATE_IDS} ids in {table}, which an ordinary "
                "user needs to build images",
                hint="As root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "
                f"{user}",
            )


def has_subordinate_ids(table: Path, names: set[str]) -> bool:
    """Whether a table of subuid(5) gives one of these users enough ids for a Debian system."""
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return False
    return any(
        len(fields) == 3
        and fields[0] in names
        and fields[2].isdecimal()
        and int(fields[2]) >= _SUBORDINATE_IDS
        for fields in (line.split(":") for line in lines)
    )


def _environment(scratch: Path) -> dict[str, str]:
    # Package scripts run with this, so the user's own variables stay outside: only what finds
    # programs and the way to the archive goes through.
    passed = ("HOME", "USER", "LOGNAME", "APT_CONFIG")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in passed or name.lower().endswith("_proxy")
    }
    path = os.environ.get("PATH", os.defpath)
    return {
        **environment,
        "PATH": f"{path}:/usr/sbin:/sbin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(scratch),
        "SOURCE_DATE_EPOCH": str(BUILD_EPOCH),
    }


def discard(path: Path) -> None:
    """Remove a builder's directory, also where an interrupted run left other owners' files."""
    try:
        remove_tree(path)
    except PermissionError:
        # They belong to subordinate ids, and only a namespace that has those may remove them.
        run_tool([_UNSHARE.find(), *_AS_ROOT, "--", "rm", "-rf", "--", str(path)])
        remove_tree(path)


def _failure(request: Request, lines: Sequence[str], scratch: Path) -> Exception:
    text = "\n".join(lines)
    said = _last_words(lines)
    if "No space left on device" in text:
        cache_dir = scratch.parent
        free = free_mib(cache_dir)
        return DiskSpaceError(
            cache_dir,
            needed_mib=max(request.needed_mib, free + 1),
            free_mib=free,
            variable=CACHE_VARIABLE,
        )
    if missing := re.search(r"Unable to locate package (\S+)", text):
        return EnvironmentBuildError(
            request.what,
            f"the suite {request.suite} has no package {missing[1]}",
            hint="Correct the package's name in the catalogue.",
        )
    if "NO_PUBKEY" in text or "is not signed" in text:
        return EnvironmentBuildError(
            request.what,
            f"the signature of {_archive_name()} could not be checked: {said}",
            hint="Install the package debian-archive-keyring, or a newer one.",
        )
    if "unshare: " in text:
        return EnvironmentBuildError(
            request.what,
            f"this host refuses new namespaces: {said}",
            hint="'pyro doctor' names the setting that forbids them.",
        )
    if any(word in text for word in _NETWORK_WORDS):
        return EnvironmentBuildError(
            request.what,
            f"{_archive_name()} could not be read: {said}",
            hint="Check the network and the variables http_proxy and https_proxy; "
            f"{MIRROR_VARIABLE} names another mirror.",
        )
    if "does not have a Release file" in text:
        return EnvironmentBuildError(
            request.what,
            f"{_archive_name()} has no suite {request.suite}: {said}",
            hint=f"Correct the suite in the catalogue, or {MIRROR_VARIABLE} if it is set.",
        )
    return EnvironmentBuildError(
        request.what, f"mmdebstrap ended with an error: {said}", hint="Nothing was kept; try again."
    )


def _last_words(lines: Sequence[str]) -> str:
    # apt's own complaints say more than mmdebstrap's last line, which only names apt.
    complaints = [line.strip() for line in lines if line.lstrip().startswith("E: ")]
    telling = [line for line in complaints if not line.startswith(_SAYS_NOTHING)]
    chosen = list(dict.fromkeys(telling or complaints or lines))[-2:]
    said = " | ".join(line.removeprefix("E: ") for line in chosen)
    return without_password(said).rstrip(".") or "it said nothing"


def without_password(text: str) -> str:
    """The text with the name and password of each URL in it left out."""
    return re.sub(r"(\w://)[^/@\s]+@", r"\1", text)


def _archive_name() -> str:
    mirror = _mirror()
    if mirror is None:
        return "the Debian archive"
    return f"the Debian archive at {without_password(mirror)} ({MIRROR_VARIABLE})"


def _mirror() -> str | None:
    mirror = os.environ.get(MIRROR_VARIABLE)
    return f"file://{mirror}" if mirror and mirror.startswith("/") else mirror or None
