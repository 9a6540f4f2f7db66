"""The runtime: a tree for the host, a root for the jail, a root for the guest agent."""

import json
import stat
import subprocess
from pathlib import Path

import pytest

from pyro_mcp.config import Settings
from pyro_mcp.environments import cache, keys, shipped_kernel
from pyro_mcp.environments.image import loader_command
from pyro_mcp.environments.workshop import unfinished
from pyro_mcp.errors import EnvironmentBuildError


def _run(runtime: cache.Runtime, program: str, *arguments: str) -> str:
    finished = subprocess.run(
        loader_command(runtime.tree, program, *arguments),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def _names(runtime: cache.Runtime, folder: str) -> set[str]:
    listed = _run(runtime, "usr/sbin/debugfs", "-R", f"ls -p {folder}", str(runtime.agent_image))
    return {line.split("/")[5] for line in listed.splitlines() if line} - {".", "..", "lost+found"}


def test_the_jail_holds_the_kernel_its_libraries_and_nothing_else(runtime: cache.Runtime) -> None:
    """The guest may get to see all of it, and anything executable in it is a tool for it."""
    found = {
        str(path.relative_to(runtime.jail_root)): stat.S_IMODE(path.lstat().st_mode)
        for path in runtime.jail_root.rglob("*")
    }

    assert set(found) == {
        *("linux", "dev", "tmp", "run", "run/disks", "run/sock", "lib", "lib64"),
        *("lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu"),
        *("lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/libgcc_s.so.1"),
    }
    assert set(found.values()) == {0o755}
    assert not any(path.is_symlink() for path in runtime.jail_root.rglob("*"))


def test_the_agents_root_has_mount_points_launcher_and_agent(runtime: cache.Runtime) -> None:
    assert _names(runtime, "/") == {
        *("bin", "sbin", "lib", "lib64", "usr", "etc", "init.py"),
        *("proc", "sys", "dev", "run", "tmp", "env", "seed", "data", "sysroot"),
    }
    assert _names(runtime, "/usr/lib/pyro") == {"pyro_mcp"}
    assert {"protocol.py", "guest", "__init__.py"} <= _names(runtime, "/usr/lib/pyro/pyro_mcp")
    assert _names(runtime, "/usr/bin") == {"python3", "python3.14", "busybox"}
    assert _names(runtime, "/usr/sbin") == {"mke2fs"}
    assert _names(runtime, "/etc") == {"mke2fs.conf"}


def test_the_agents_modules_are_compiled_for_the_agents_python(runtime: cache.Runtime) -> None:
    """Start-up in the guest counts, and its root is read-only: nothing is compiled there."""
    compiled = _names(runtime, "/usr/lib/pyro/pyro_mcp/__pycache__")

    assert {"__init__.cpython-314.pyc", "protocol.cpython-314.pyc"} <= compiled
    assert "os.cpython-314.pyc" in _names(runtime, "/usr/lib/python3.14/__pycache__")


def test_python_of_the_agents_root_has_what_an_agent_may_use(
    runtime: cache.Runtime, tmp_path: Path
) -> None:
    """Its libraries are a selection of the tree's: each extension module must find its own."""
    root = tmp_path / "root"
    root.mkdir()
    _run(runtime, "usr/sbin/debugfs", "-R", f"rdump /usr {root}", str(runtime.agent_image))
    wanted = (
        "ctypes, hashlib, lzma, bz2, zlib, ssl, socket, select, json, struct, subprocess, pty, "
        "termios, fcntl, resource, tarfile, zipfile, compression.zstd, unicodedata, mmap, "
        "xml.etree.ElementTree, multiprocessing, asyncio"
    )
    command = [
        str(root / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
        "--library-path",
        str(root / "usr/lib/x86_64-linux-gnu"),
        str(root / "usr/bin/python3.14"),
        *("-I", "-S", "-B", "-c", f"import {wanted}; print(ssl.OPENSSL_VERSION)"),
    ]

    finished = subprocess.run(command, capture_output=True, text=True, check=False)

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("OpenSSL")


def test_the_record_tells_exact_versions_and_the_kernels_digest(runtime: cache.Runtime) -> None:
    manifest = json.loads((runtime.jail_root.parent / cache.RUNTIME_MANIFEST).read_text())

    assert manifest["suite"] == "forky"
    assert manifest["kernel_version"] == runtime.version == shipped_kernel.provenance().release
    assert set(keys.RUNTIME_PACKAGES) <= set(manifest["packages"])
    assert runtime.digest == manifest["kernel_digest"]


def test_another_agent_is_another_image_of_the_same_runtime(
    own_cache: Settings, runtime: cache.Runtime
) -> None:
    """A new version of pyro must not fetch Debian again, nor run the old agent."""
    from pyro_mcp.environments import runtime as building

    sources = {**keys.agent_sources(), "guest/of_this_test.py": b"ANSWER = 42\n"}
    place = cache.runtime_place(own_cache)
    agent = place / f"agent-{keys.agent_key(sources)}.ext4"
    assert agent != runtime.agent_image

    building.build_agent(own_cache, place, agent, sources, progress=cache.quiet)

    other = runtime._replace(agent_image=agent)
    assert "of_this_test.py" in _names(other, "/usr/lib/pyro/pyro_mcp/guest")
    assert _names(other, "/usr/lib/pyro/pyro_mcp/guest/__pycache__") >= {
        "of_this_test.cpython-314.pyc"
    }


def test_an_agent_that_does_not_compile_is_refused(
    own_cache: Settings, runtime: cache.Runtime
) -> None:
    from pyro_mcp.environments import runtime as building

    sources = {"__init__.py": b"", "guest/broken.py": b"def ("}
    place = cache.runtime_place(own_cache)
    agent = place / "agent-broken.ext4"

    with pytest.raises(EnvironmentBuildError, match=r"broken\.py"):
        building.build_agent(own_cache, place, agent, sources, progress=cache.quiet)

    assert not agent.exists()
    assert unfinished(place) == []


def test_a_damaged_agent_image_is_made_again(own_cache: Settings, tmp_path: Path) -> None:
    place = cache.runtime_place(own_cache)
    agent = cache.ensure_runtime(own_cache).agent_image
    whole = agent.read_bytes()
    fresh = tmp_path / "short"
    fresh.write_bytes(b"short")
    fresh.replace(agent)

    again = cache.ensure_runtime(own_cache).agent_image

    assert again == agent
    assert agent.parent == place
    assert agent.read_bytes() == whole


def test_a_blank_disk_of_any_size_is_made_once(own_cache: Settings) -> None:
    before = cache.blank_disk(own_cache, 64).stat()

    assert cache.blank_disk(own_cache, 64).stat().st_ino == before.st_ino
    assert before.st_size == 64 << 20
