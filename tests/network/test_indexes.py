"""Package managers in a guest, with the indexes, proxies and certificates of its host."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp import Pyro
from pyro_mcp.network import inherit, policy
from tests.network.conftest import MakeGuest
from tests.support.indexes import SAYS, TINY, debian_archive, npm_registry
from tests.support.internet import INDEX_PORT, OTHER_PRIVATE, PRIVATE, World
from tests.support.needs import CHECKOUT

_INDEX = f"http://{PRIVATE}:{INDEX_PORT}/"
_PACKAGE = "six"
_INSTALL = (
    "cat > /tmp/pip-1-py3-none-any.whl"
    " && python3 /tmp/pip-1-py3-none-any.whl/pip install --quiet --no-cache-dir --target /tmp/six"
    f" {_PACKAGE} && PYTHONPATH=/tmp/six python3 -c 'import six; print(six.__name__)'"
)


@pytest.fixture
def pip_wheel(tmp_path: Path) -> bytes:
    """pip itself, from the index of this host."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", tmp_path, "pip"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip("this host reaches no package index")
    (wheel,) = tmp_path.glob("pip-*.whl")
    return wheel.read_bytes()


def test_pip_installs_in_a_guest_from_the_index_of_this_host(
    state_dir: Path, images: object, pip_wheel: bytes
) -> None:
    with Pyro() as pyro:
        result = pyro.run_in_vm(
            environment="debian:12",
            command=_INSTALL,
            stdin=pip_wheel,
            network=True,
            network_inherit=True,
            timeout_seconds=120,
        )

    assert result["stdout"] == f"{_PACKAGE}\n", result
    assert result["network_learned"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The small internet, with an index in a private network."""
    with World(tmp_path_factory.mktemp("internet") / "log", as_user=True) as made:
        debian_archive(made.index / "archive.test/debian")
        npm_registry(made.index / "npm", f"{_INDEX}npm/")
        yield made


@pytest.fixture
def npm() -> bytes:
    """Node and npm that need nothing else of a guest, as an archive: unlike Debian's."""
    installed = CHECKOUT / ".npm/node_modules"
    if not (installed / "npm").is_dir():
        pytest.fail("no .npm with npm in it; 'scripts/dev test' makes it", pytrace=False)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(installed / "node/bin/node", "node")
        archive.add(installed / "npm", "npm")
    return packed.getvalue()


def test_npm_installs_from_a_registry_in_a_private_network_of_the_host(
    make_own_guest: MakeGuest, npm: bytes, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"{_INDEX}npm/")
    guest = make_own_guest(network_policy="egress", network_inherit=True)
    guest.run("tar -x -C /opt", stdin=npm)

    installed = guest.run(
        "export PATH=/opt:$PATH; node /opt/npm/bin/npm-cli.js install tiny >&2"
        " && node node_modules/.bin/tiny"
    )

    assert installed["stdout"] == SAYS, installed
    assert f"/npm/{TINY}.tgz" in [seen["path"] for seen in world.seen("index")]
    assert guest.tries(("tcp", OTHER_PRIVATE), ("tcp", PRIVATE)) == ["error: ECONNREFUSED"] * 2


def test_apt_installs_through_the_proxy_that_apt_has_on_the_host(
    make_own_guest: MakeGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    if shutil.which("apt-config") is None:
        pytest.skip("this host has no apt")
    config = tmp_path / "apt.conf"
    config.write_text(f'Acquire::http::Proxy "{_INDEX}";\nAcquire::http::Timeout "9";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))
    guest = make_own_guest(network_policy="egress", network_inherit=True)

    installed = guest.run(
        "echo 'deb [trusted=yes] http://archive.test/debian ./' > /etc/apt/sources.list"
        " && apt-get -q update >&2 && apt-get -q install -y tiny >&2 && cat /usr/share/tiny"
    )

    assert installed["stdout"] == SAYS, installed
    asked = [seen["path"] for seen in world.seen("index") if "archive.test" in seen["path"]]
    assert "http://archive.test/debian/./tiny.deb" in asked


def test_what_only_this_host_has_stays_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".npmrc").write_text("registry=http://192.0.2.9:4873/\n//192.0.2.9/:_authToken=s\n")
    environ = {
        "HTTP_PROXY": "http://127.0.0.1:3128",
        "https_proxy": "http://10.9.8.7:3128",
        "PIP_EXTRA_INDEX_URL": "file:///opt/index http://192.0.2.9/simple",
        "ftp_proxy": "http://[2001:db8::1",
        "SECRET": "value",
        "XDG_CONFIG_DIRS": str(tmp_path),
    }

    found = inherit.from_host(environ)
    widened = inherit.widened(policy.parse(policy.EGRESS, ["example.org"]), found)

    assert not {"http_proxy", "ftp_proxy"} & set(found.variables)
    assert found.variables["https_proxy"] == "http://10.9.8.7:3128"
    assert found.variables["PIP_EXTRA_INDEX_URL"] == "http://192.0.2.9/simple"
    assert found.variables["NPM_CONFIG_REGISTRY"] == "http://192.0.2.9:4873/"
    assert "SECRET" not in found.variables
    assert found.urls
    assert "10.9.8.7:3128" in {entry.text for entry in widened.allow}
    assert [(str(address), port) for address, port in widened.places] == [("10.9.8.7", 3128)]
