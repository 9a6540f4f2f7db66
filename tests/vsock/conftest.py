"""A device and a front end for each test."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vsock.front_end import FakeFrontEnd, Monitor


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    """A device in its loop, to which no front end has connected yet."""
    # Not pytest's tmp_path: a unix socket's path holds 107 bytes, and those names are long.
    with tempfile.TemporaryDirectory() as folder, Monitor(Path(folder)) as monitor:
        yield monitor


@pytest.fixture
def front_end(monitor: Monitor) -> Iterator[FakeFrontEnd]:
    """A front end that is connected and has said nothing."""
    with FakeFrontEnd(monitor) as front_end:
        monitor.settle()
        yield front_end


@pytest.fixture
def guest(front_end: FakeFrontEnd) -> FakeFrontEnd:
    """A front end whose driver is up."""
    front_end.set_up()
    return front_end
