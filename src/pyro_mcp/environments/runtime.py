"""The runtime: one Debian tree, used as tools of the host, as the jail's root and as the agent's.

Its packages are only unpacked, no script of theirs runs: nothing in it is ever "installed".
"""

from __future__ import annotations

import json
import re
import shutil
import time
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.config import DEBIAN_KERNEL
from pyro_mcp.environments import (
    archive,
    cache,
    image,
    keys,
    shipped_kernel,
    tarball,
    workshop,
)
from pyro_mcp.environments.tarball import Addition
from pyro_mcp.errors import EnvironmentBuildError
from pyro_mcp.host.files import publish, sync_directory, sync_file, write_whole
from pyro_mcp.host.process import run_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyro_mcp.config import Settings
    from pyro_mcp.environments.cache import Progress

_NEEDED_MIB = 700
_AGENT_NEEDED_MIB = 150
_WHAT = "the runtime"

_LIBRARIES = "usr/lib/x86_64-linux-gnu"
# In load order of what needs what.
_MODULES = (
    "vsock",
    "vmw_vsock_virtio_transport_common",
    "vmw_vsock_virtio_transport",
    "overlay",
)
# Parts of Python that need a screen, a person or a developer.
_UNUSED_PYTHON = (
    r"test|idlelib|turtle\.py|turtledemo|tkinter|curses|ensurepip|venv|lib2to3|distutils|pydoc_data"
    r"|_pyrepl|pydoc\.py|doctest\.py|pdb\.py|unittest|config-.*|__pycache__"
)
_UNUSED = re.compile(
    rf"""
    usr/share/(?!python3) .+ | usr/include(/.*)? | usr/libexec/.+ | var/.+ | etc/apt.* | dev/.+
    | usr/lib/python3\.\d+/({_UNUSED_PYTHON})(/.*)?
    | usr/lib/python3/.+ | usr/lib/({"systemd|udev|mime|binfmt.d|debug"})(/.*)?
    | usr/lib/uml/modules/.*/(?!({"|".join(_MODULES)})\.ko$)[^/]+\.ko
    | {_LIBRARIES}/(gconv|libmvec.*|libstdc\+\+.*|perl.*|krb5|sasl2|security)(/.*)?
    """,
    re.VERBOSE,
)
# What the agent's root has of the tree; the rest of it is for the host.
_AGENT_PARTS = re.compile(
    rf"""
    usr/bin/(python3(\.\d+)?|busybox) | usr/lib/python3\.\d+(/.*)? | usr/lib64/.+
    | {_LIBRARIES}/(ld-linux-x86-64|lib(c|m|ffi|z|expat|crypto|ssl|lzma|bz2|zstd|gcc_s))[.-].*
    | usr/sbin/mke2fs | etc/mke2fs\.conf | {_LIBRARIES}/lib(ext2fs|e2p|com_err|blkid|uuid)[.-].*
    | etc/ssl/openssl\.cnf
    """,
    re.VERBOSE,
)
_MERGED = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
_MOUNT_POINTS = ("proc", "sys", "dev", "run", "tmp", "env", "seed", "data", "sysroot")
_JAIL_FILES = {
    "usr/lib64/ld-linux-x86-64.so.2": "lib64/ld-linux-x86-64.so.2",
    f"{_LIBRARIES}/libc.so.6": "lib/x86_64-linux-gnu/libc.so.6",
    # Without it the kernel cannot end its threads, and its exit status is an abort.
    f"{_LIBRARIES}/libgcc_s.so.1": "lib/x86_64-linux-gnu/libgcc_s.so.1",
}
_JAIL_MOUNT_POINTS = ("dev", "tmp", "run", "run/disks", "run/sock")

AGENT_FOLDER = "usr/lib/pyro"
"""In the agent's root: the package `pyro_mcp` as the guest has it, and Debian's `modules/*.ko`."""


def build(settings: Settings, place: Path, *, progress: Progress) -> None:
    """Build the runtime at `place`, unless another process does so first.

    Raises:
        PyroError: see `cache.ensure_environment`; the cache is as it was.
    """
    with workshop.building(
        settings,
        place,
        what=_WHAT,
        ready=lambda: cache.find_runtime(place, place) is not None,
        needed_mib=_NEEDED_MIB,
        progress=progress,
    ) as work:
        if work is None:
            return
        finished = work / "finished"
        finished.mkdir()
        finished.chmod(0o755)
        request = archive.Request(
            what=_WHAT,
            suite=keys.RUNTIME_SUITE,
            packages=keys.runtime_packages(settings.kernel),
            variant="extract",
            needed_mib=_NEEDED_MIB,
        )
        fetched = work / "fetched.tar"
        versions = archive.fetch(
            request,
            fetched,
            work,
            progress=lambda phase, done: progress(
                f"{_WHAT}: {phase}", None if done is None else done * 0.7
            ),
        )
        progress(f"{_WHAT}: arranging files", 0.7)
        tree = finished / "tree"
        _make_tree(fetched, tree)
        fetched.unlink()
        kernel = _make_jail(tree, finished / "jail")
        if settings.kernel == DEBIAN_KERNEL:
            # The host needs it nowhere else.
            (tree / "usr/bin/linux.uml").rename(kernel)
            version = versions[keys.KERNEL_PACKAGE]
        else:
            shipped_kernel.unpack(kernel)
            version = shipped_kernel.provenance().release
        kernel.chmod(0o755)
        progress(f"{_WHAT}: compiling Python", 0.8)
        python = _standard_library(tree)
        compile_python(tree, python, as_path=f"/{python.relative_to(tree)}")
        with kernel.open("rb") as content:
            digest = file_digest(content, "sha256").hexdigest()
        manifest = {
            "key": keys.runtime_key(settings.kernel),
            "suite": keys.RUNTIME_SUITE,
            "built_at": time.time(),
            "kernel": settings.kernel,
            "kernel_version": version,
            "kernel_bytes": kernel.stat().st_size,
            "kernel_digest": f"sha256:{digest}",
            "packages": versions,
        }
        write_whole(finished / cache.RUNTIME_MANIFEST, json.dumps(manifest, indent=2).encode())
        publish(finished, place)


def build_agent(
    settings: Settings, place: Path, agent: Path, sources: dict[str, bytes], *, progress: Progress
) -> None:
    """Make the image `agent` of the runtime at `place`, with these modules of the agent."""

    def ready() -> bool:
        return agent.exists() and agent.stat().st_size == cache.AGENT_MIB << 20

    with workshop.building(
        settings,
        agent,
        what="the guest agent",
        ready=ready,
        needed_mib=_AGENT_NEEDED_MIB,
        progress=progress,
    ) as work:
        if work is None:
            return
        progress("the guest agent: making its image", None)
        tree = place / "tree"
        package = work / "pyro_mcp"
        for path, content in sources.items():
            module = package / path
            module.parent.mkdir(parents=True, exist_ok=True)
            module.write_bytes(content)
        compile_python(tree, package, as_path=f"/{AGENT_FOLDER}/pyro_mcp")
        tar = work / "agent.tar"
        contents = tarball.write_archive(
            tar, _agent_members(tree, package), mtime=image.BUILD_EPOCH
        )
        fresh = work / "agent.ext4"
        image.make_image(
            tree, tar, fresh, label="pyro-agent", contents=contents, size_mib=cache.AGENT_MIB
        )
        sync_file(fresh)
        fresh.replace(agent)
        sync_directory(place)


def build_blank(
    settings: Settings, place: Path, blank: Path, size_mib: int, *, progress: Progress
) -> None:
    """Make the empty disk `blank` of the runtime at `place`."""

    def ready() -> bool:
        return blank.exists() and blank.stat().st_size == size_mib << 20

    with workshop.building(
        settings,
        blank,
        what="the empty data disk",
        ready=ready,
        needed_mib=16,
        progress=progress,
    ) as work:
        if work is None:
            return
        fresh = work / "blank.ext4"
        image.make_blank(place / "tree", fresh, size_mib=size_mib, label="pyro-data")
        sync_file(fresh)
        fresh.replace(blank)
        sync_directory(place)


def compile_python(tree: Path, folder: Path, *, as_path: str) -> None:
    """Compile all modules below `folder` with the tree's Python, never to be checked again.

    `as_path` is where the guest has the folder; tracebacks name it.

    Raises:
        EnvironmentBuildError: a module does not compile.
    """
    command = image.loader_command(
        tree,
        _python(tree),
        *("-I", "-S", "-B", "-m", "compileall", "-q", "-f", "--invalidation-mode"),
        *("unchecked-hash", "-s", str(folder), "-p", as_path, str(folder)),
    )
    finished = run_tool(command, environment={"LC_ALL": "C.UTF-8"})
    if finished.status:
        said = " ".join(finished.lines[-5:])
        raise EnvironmentBuildError(
            _WHAT,
            f"Python ended with status {finished.status} compiling {as_path}: {said}",
            hint="'pyro env prune', then try again.",
        )


def _make_tree(fetched: Path, tree: Path) -> None:
    tree.mkdir()
    tree.chmod(0o755)
    tarball.unpack(fetched, tree, keep=lambda path: _UNUSED.fullmatch(path) is None)
    # Maintainer scripts make these, and none of them runs.
    for name, target in _MERGED.items():
        if not (tree / name).is_symlink():
            (tree / name).symlink_to(target)


def _make_jail(tree: Path, jail: Path) -> Path:
    """Everything but the kernel; gives the place for that."""
    for folder in ("", *_JAIL_MOUNT_POINTS, "lib64", "lib", "lib/x86_64-linux-gnu"):
        (jail / folder).mkdir()
        (jail / folder).chmod(0o755)
    for source, target in _JAIL_FILES.items():
        shutil.copyfile((tree / source).resolve(), jail / target)
        (jail / target).chmod(0o755)
    return jail / "linux"


def _python(tree: Path) -> str:
    # Not the link python3: Python finds its library by the name it is called by.
    return str(next((tree / "usr/bin").glob("python3.*")).relative_to(tree))


def _standard_library(tree: Path) -> Path:
    return next((tree / "usr/lib").glob("python3.*"))


def _agent_members(tree: Path, package: Path) -> Iterator[Addition]:
    for point in _MOUNT_POINTS:
        yield Addition(point, mode=0o755, directory=True)
    for name, target in _MERGED.items():
        yield Addition(name, link_to=target)
    yield from _below(tree, "", _AGENT_PARTS)
    for module in _MODULES:
        # The kernel that comes with pyro has them built in.
        for found in (tree / "usr/lib/uml/modules").glob(f"**/{module}.ko"):
            yield Addition(f"{AGENT_FOLDER}/modules/{module}.ko", found.read_bytes())
    yield from _below(package.parent, f"{AGENT_FOLDER}/", re.compile(r"pyro_mcp/.*"))
    yield Addition("init.py", keys.AGENT_LAUNCHER)


def _below(root: Path, prefix: str, wanted: re.Pattern[str]) -> Iterator[Addition]:
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if not wanted.fullmatch(name) or name.startswith("lib64/"):
            continue
        if path.is_symlink():
            yield Addition(prefix + name, link_to=str(path.readlink()))
        elif path.is_file():
            mode = 0o755 if path.stat().st_mode & 0o111 else 0o644
            yield Addition(prefix + name, path.read_bytes(), mode)
