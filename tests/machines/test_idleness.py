"""When a machine that nobody uses is stopped, and who comes in that moment."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyro_mcp.machines.monitor.idleness import Idleness

_TTL_SECONDS = 600


@pytest.fixture
def activity(tmp_path: Path) -> Path:
    """That of a machine whose time is over."""
    path = tmp_path / "activity"
    path.write_text(f"{_TTL_SECONDS:020d}")
    long_ago = time.time() - _TTL_SECONDS - 1
    os.utime(path, (long_ago, long_ago))
    return path


@contextmanager
def user(activity: Path) -> Iterator[bool]:
    """One who wants to use the machine; whether that can be at once."""
    with activity.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def test_who_comes_while_it_is_being_stopped_waits_for_that(activity: Path) -> None:
    """Or the last moments of the machine would be its command's."""
    idleness = Idleness(str(activity))
    with user(activity) as in_use:
        assert in_use

    assert idleness.is_over()

    with user(activity) as in_use:
        assert not in_use
    idleness.begin_again()
    with user(activity) as in_use:
        assert in_use


def test_one_that_is_in_use_or_was_just_now_is_not_stopped(activity: Path) -> None:
    idleness = Idleness(str(activity))

    with user(activity):
        assert not idleness.is_over()
        os.utime(activity)
    assert not idleness.is_over()

    with user(activity) as in_use:
        assert in_use


def test_without_a_time_to_live_it_never_ends(activity: Path) -> None:
    activity.write_text(f"{0:020d}")
    os.utime(activity, (0, 0))

    assert not Idleness(str(activity)).is_over()


def test_a_workspace_that_was_removed_is_not_idle(tmp_path: Path) -> None:
    assert not Idleness(str(tmp_path / "none")).is_over()
