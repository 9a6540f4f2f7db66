"""Fixtures for every test, and the check after every test that it left nothing behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import hypothesis
import pytest

from pyro_mcp.config import CATALOGUE_VARIABLE, DEBIAN_KERNEL, STATE_VARIABLE, Settings
from tests.support.images import images_with
from tests.support.leaks import Footprint, LeftBehindError, left_in
from tests.support.processes import adopt_orphans
from tests.support.waiting import NeverTrueError, until

# What runs guests is imported by the fixtures that do: most tests are about one part of it.
if TYPE_CHECKING:
    from pyro_mcp import Pyro
    from pyro_mcp.engines.base import Engine
    from pyro_mcp.machines.machine import Machine
    from pyro_mcp.machines.spec import Images

_LOG_TAIL = 8000
_SESSION_SECONDS = 7200
_STATE = pytest.StashKey[Path]()
_SHARED_STATE = pytest.StashKey[Path]()
_SHARED_MACHINE: pytest.StashKey[Machine] = pytest.StashKey()


def pytest_configure() -> None:
    """Become the reaper of whatever tests leave detached, so that it is found."""
    adopt_orphans()
    # No test asserts a time, and how long an example takes is the host's business.
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("pyro", deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("pyro")
    # Started under nohup(1) or in the background of a script, tests would pass ignored signals on
    # to what they start.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _shared_state_dir(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    # Machines shared between tests live here; those of a person who works in this checkout are
    # left alone. pytest settles its own base directory first, before TMPDIR changes.
    tmp_path_factory.getbasetemp()
    folder = _short_folder()
    state = folder / "state"
    request.config.stash[_SHARED_STATE] = state
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(STATE_VARIABLE, str(state))
        yield state
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def state_dir(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    _shared_state_dir: Path,
) -> Iterator[Path]:
    """This test's own state directory, not made yet; afterwards nothing may be left of the test.

    `PYRO_STATE_DIR` and `TMPDIR` point to directories of this test, for it and its children, and
    no catalogue of the person who runs it is read.
    """
    folder = _short_folder()
    state, scratch = folder / "state", folder / "tmp"
    scratch.mkdir()
    monkeypatch.setenv(STATE_VARIABLE, str(state))
    monkeypatch.setenv(CATALOGUE_VARIABLE, str(folder / "environments.toml"))
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    request.node.stash[_STATE] = state
    before = Footprint.now()
    shared = request.config.stash.get(_SHARED_MACHINE, None)
    shared_ran = shared is not None and shared.running

    yield state

    left: list[str] = []

    def nothing_left() -> bool:
        # Ending takes the kernel a moment; what stays is a leak.
        left[:] = before.left_since() + left_in(state, scratch)
        return not left

    try:
        until(nothing_left, timeout=15)
        if shared is not None and shared_ran:
            assert shared.running, "the test ended the machine that tests share"
    except NeverTrueError:
        before.kill_what_is_left()
        raise LeftBehindError(left) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def _turns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int] | None]:
    # Of several processes that run tests (pytest-xdist), one may want the host for itself.
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield None
        return
    shared_by_all = tmp_path_factory.getbasetemp().parent
    with (shared_by_all / "door.lock").open("w") as door:
        with (shared_by_all / "turns.lock").open("w") as turns:
            yield door.fileno(), turns.fileno()


@pytest.fixture(autouse=True)
def _own_turn(request: pytest.FixtureRequest, _turns: tuple[int, int] | None) -> Iterator[None]:
    """A test marked `alone` waits until no other runs, and the others for it."""
    if _turns is None:
        yield
        return
    door, turns = _turns
    alone = request.node.get_closest_marker("alone") is not None
    # Who waits for all others holds the door, or they would take turns for ever.
    fcntl.flock(door, fcntl.LOCK_EX)
    fcntl.flock(turns, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    fcntl.flock(door, fcntl.LOCK_UN)
    yield
    fcntl.flock(turns, fcntl.LOCK_UN)


@pytest.fixture
def settings(state_dir: Path) -> Settings:
    """Directories of this test: its own state, the real cache of images."""
    return Settings.from_environment(state_dir=state_dir)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The engine that this host runs guests with."""
    from pyro_mcp.machines.choose import choose_engine

    return choose_engine()


@pytest.fixture(scope="session")
def images() -> Images:
    """The runtime and `debian:12` of the real cache; built now if they are not there."""
    from pyro_mcp.sdk.manager import VmManager

    return VmManager()._images("debian:12", lambda _phase, _fraction: None)


@pytest.fixture
def pyro(images: object, state_dir: Path) -> Iterator[Pyro]:
    """pyro for this test, whatever process makes workspaces; all are deleted afterwards."""
    from pyro_mcp import Pyro

    with Pyro() as pyro:
        yield pyro
        for one in pyro.list_workspaces()["workspaces"]:
            pyro.delete_workspace(one["workspace_id"])


class MachineFactory(Protocol):
    """Makes machines of a test, all ended with it."""

    def __call__(self, *, mem_mib: int = 512, life_seconds: float = 600) -> Machine:
        """A machine that has booted."""


@pytest.fixture
def machine_factory(settings: Settings, images: Images, engine: Engine) -> Iterator[MachineFactory]:
    """For tests that break their machine, or need several."""
    with _factory(settings, images, engine) as make:
        yield make


@pytest.fixture
def open_machine_factory(settings: Settings, engine: Engine) -> Iterator[MachineFactory]:
    """The same with the distribution's kernel, which lets guest root do more to the machine.

    It has `/dev/mem`, and disks can be written while they are mounted.
    """
    with _factory(settings, images_with(DEBIAN_KERNEL), engine) as make:
        yield make


@contextmanager
def _factory(settings: Settings, images: Images, engine: Engine) -> Iterator[MachineFactory]:
    with ExitStack() as owned:

        def make(*, mem_mib: int = 512, life_seconds: float = 600) -> Machine:
            machine = owned.enter_context(_machine(settings, images, engine, mem_mib))
            machine.start(life_seconds=life_seconds)
            return machine

        yield make


@pytest.fixture(scope="session")
def shared_machine(
    request: pytest.FixtureRequest, _shared_state_dir: Path, images: Images, engine: Engine
) -> Iterator[Machine]:
    """One booted machine for all tests that only run commands in it and leave it as it was."""
    with sharing_machine(request, _shared_state_dir, images, engine) as machine:
        yield machine


@contextmanager
def sharing_machine(
    request: pytest.FixtureRequest, state_dir: Path, images: Images, engine: Engine
) -> Iterator[Machine]:
    """A machine that no test may end, for a fixture of many tests."""
    settings = Settings.from_environment(state_dir=state_dir)
    stash = request.config.stash
    before = stash.get(_SHARED_MACHINE, None)
    with _machine(settings, images, engine, mem_mib=1024) as machine:
        machine.start(life_seconds=_SESSION_SECONDS)
        stash[_SHARED_MACHINE] = machine
        yield machine
        if before is None:
            del stash[_SHARED_MACHINE]
        else:
            stash[_SHARED_MACHINE] = before


def _machine(settings: Settings, images: Images, engine: Engine, mem_mib: int) -> Machine:
    from pyro_mcp.machines.machine import Machine
    from pyro_mcp.machines.spec import MachineSpec

    spec = MachineSpec(
        environment="debian:12",
        vcpu_count=1,
        mem_mib=mem_mib,
        ttl_seconds=600,
        network=False,
        allow_host_compat=False,
    )
    return Machine.create(settings, spec, images, engine)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the logs of the machines that are there when a test fails into its report."""
    report = yield
    if report.failed:
        own = item.stash.get(_STATE, None)
        shared = item.config.stash.get(_SHARED_STATE, None)
        for place in (own, shared):
            for log in sorted(place.glob("machines/*/*.log")) if place else ():
                text = log.read_text(errors="replace")[-_LOG_TAIL:]
                report.sections.append((f"machine {log.parent.name}: {log.name}", text))
    return report


def _short_folder() -> Path:
    # Not pytest's tmp_path: a unix socket's path holds 107 bytes, and those names are long.
    return Path(tempfile.mkdtemp(prefix="pyro-test-"))
