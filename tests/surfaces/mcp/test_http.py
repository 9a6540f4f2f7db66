"""Over HTTP: this host alone unless told otherwise, nobody without the token, no rebound names."""

from __future__ import annotations

import socket
import stat
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.surfaces.cli.support import run_pyro
from tests.surfaces.mcp.support import SERVE, Address, http_client, http_server, running

_SECONDS = 60
_PING = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}}
_ACCEPT = {"Accept": "application/json, text/event-stream"}


def _post(address: Address, **headers: str) -> httpx2.Response:
    return httpx2.post(address.url, json=_PING, headers={**_ACCEPT, **headers}, timeout=_SECONDS)


def test_nobody_comes_in_without_the_token(address: Address) -> None:
    without = _post(address)
    wrong = _post(address, Authorization=f"Bearer {address.token[:-1]}")
    other = _post(address, Authorization=f"Basic {address.token}")

    assert [one.status_code for one in (without, wrong, other)] == [401, 401, 401]
    assert without.headers["www-authenticate"].startswith("Bearer")
    assert address.token not in without.text


def test_a_name_that_was_rebound_to_this_host_is_refused(address: Address) -> None:
    """A web page may have any name resolve to 127.0.0.1."""
    assert _post(address, **address.headers, Host="evil.example").status_code == 421


def test_a_page_of_another_origin_is_refused(address: Address) -> None:
    assert _post(address, **address.headers, Origin="https://evil.example").status_code == 403


def test_a_message_beyond_the_limit_is_refused(address: Address) -> None:
    content = b'"' + b"x" * 9 * 1024 * 1024
    headers = {**_ACCEPT, **address.headers}
    answer = httpx2.post(address.url, content=content, headers=headers, timeout=_SECONDS)

    assert answer.status_code == 413


def test_two_clients_are_served_at_once(address: Address) -> None:
    async def two() -> None:
        async with http_client(address) as one, http_client(address, era="legacy") as other:
            assert len((await one.list_tools()).tools) == len((await other.list_tools()).tools)

    running(two)


def test_a_token_is_made_once_and_kept_to_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "made" / "token"

    for _ in range(2):
        with http_server("--token-file", str(file)) as address:
            token = file.read_text().strip()
            assert address.token == f"see {file}"
            assert _post(address, Authorization=f"Bearer {token}").status_code != 401
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [("x" * 40, 0o644, "can be read by others"), ("short", 0o600, "16 characters"),
     ("two words and more", 0o600, "single word")],
)  # fmt: skip
def test_a_token_file_that_protects_nothing_is_refused(
    content: str, mode: int, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    file.chmod(mode)

    finished = run_pyro(
        "mcp", "serve", "--transport", "http", "--port", "0", "--token-file", str(file)
    )

    assert finished.returncode == 1
    assert said in finished.stderr.decode()
    assert content not in finished.stderr.decode()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_other_hosts_are_kept_out_unless_that_is_asked_for(host: str) -> None:
    finished = run_pyro("mcp", "serve", "--transport", "http", "--host", host)

    assert finished.returncode == 1
    assert "--allow-remote" in finished.stderr.decode()


def test_what_listens_wider_still_wants_the_token() -> None:
    with http_server("--host", "0.0.0.0", "--allow-remote") as address:
        url = address.url.replace("0.0.0.0", "127.0.0.1")

        assert httpx2.post(url, json=_PING, headers=_ACCEPT, timeout=_SECONDS).status_code == 401


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        finished = subprocess.run(
            [*SERVE, "--transport", "http", "--port", port], capture_output=True, check=False
        )

    assert finished.returncode == 1
    assert f"127.0.0.1 port {port} cannot be listened on" in finished.stderr.decode()
