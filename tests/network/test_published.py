"""Published ports beside a network: each comes and goes with the policy, without the other."""

from __future__ import annotations

import subprocess
import sys

from tests.network.conftest import Guest, MakeGuest, in_world
from tests.network.test_reach import REFUSED
from tests.support.internet import PRIVATE, WEB

_FETCH = """
import sys, urllib.request
place = f"http://127.0.0.1:{sys.argv[1]}/here"
try:
    print(urllib.request.urlopen(place, timeout=20).read().decode())
except OSError as error:
    print(type(error.reason).__name__)
"""


def _fetch(guest: Guest, port: int) -> str:
    """What the host of the small internet gets at its port."""
    words = [*guest.world.enter, sys.executable, "-c", _FETCH, str(port)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_port_is_published_with_a_network_and_without(make_own_guest: MakeGuest) -> None:
    guest = make_own_guest(network_policy="published-ports")
    guest.run("echo hello > here")
    service = in_world(
        guest.world, guest.state, "start_service",
        {
            "workspace_id": guest.workspace_id,
            "service_name": "web",
            "command": "exec python3 -m http.server --bind 127.0.0.1 8000",
            "readiness": {"type": "tcp", "address": "localhost:8000"},
            "published_ports": [{"guest_port": 8000}],
        },
    )  # fmt: skip
    (port,) = (one["host_port"] for one in service["published_ports"])
    attempts = (("tcp", WEB), ("tcp", PRIVATE))

    without = _fetch(guest, port), guest.tries(*attempts)
    guest.update_in_world(network_policy="egress+published-ports")
    both = _fetch(guest, port), guest.tries(*attempts)
    guest.update(network_policy="egress")
    only = _fetch(guest, port), guest.tries(*attempts)

    unreachable = "error: ENETUNREACH"
    assert without == ("hello", [unreachable, unreachable])
    assert both == ("hello", ["connected", REFUSED])
    assert only == ("ConnectionRefusedError", ["connected", REFUSED])
