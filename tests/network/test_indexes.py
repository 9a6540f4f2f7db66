"""A real use: pip in a guest, with the index, proxies and certificates of this host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pyro_mcp import Pyro
from pyro_mcp.network import inherit, policy

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


def test_what_only_this_host_has_stays_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".npmrc").write_text("registry=http://192.0.2.9:4873/\n//192.0.2.9/:_authToken=s\n")
    environ = {
        "HTTP_PROXY": "http://127.0.0.1:3128",
        "https_proxy": "http://10.9.8.7:3128",
        "PIP_EXTRA_INDEX_URL": "file:///opt/index http://192.0.2.9/simple",
        "SECRET": "value",
        "XDG_CONFIG_DIRS": str(tmp_path),
    }

    found = inherit.from_host(environ)
    widened = inherit.widened(policy.parse(policy.EGRESS, ["example.org"]), found)

    assert "http_proxy" not in found.variables
    assert found.variables["https_proxy"] == "http://10.9.8.7:3128"
    assert found.variables["PIP_EXTRA_INDEX_URL"] == "http://192.0.2.9/simple"
    assert found.variables["NPM_CONFIG_REGISTRY"] == "http://192.0.2.9:4873/"
    assert "SECRET" not in found.variables
    assert "10.9.8.7:3128" in {entry.text for entry in widened.allow}
    assert "10.9.8.7/32" in {str(network) for network in widened.private}
