"""Building entries of the cache: by one at a time, whole or not at all."""

import json
from contextlib import suppress
from pathlib import Path

import pytest

from pyro_mcp.config import Settings
from pyro_mcp.environments import cache
from pyro_mcp.environments.workshop import building, unfinished
from pyro_mcp.errors import DiskSpaceError
from pyro_mcp.host.files import publish
from tests.environments.support import builder, read_until
from tests.support import until

# Builds the entry named by ENTRY, slowly: it goes on when a line comes on its input.
_BUILDER = """
import os, sys
from pyro_mcp.config import Settings
from pyro_mcp.environments.workshop import building
from pyro_mcp.host.files import publish
settings = Settings.from_environment()
target = settings.cache_dir / "entries" / os.environ["ENTRY"]
with building(
    settings, target, what="it", ready=target.is_dir, needed_mib=1,
    progress=lambda phase, fraction: print(phase, flush=True),
) as work:
    if work is None:
        print("found it there", flush=True)
    else:
        (work / "finished").mkdir()
        (work / "finished/half").touch()
        print("building", flush=True)
        sys.stdin.readline()
        (work / "finished/whole").touch()
        publish(work / "finished", target)
        print("published", flush=True)
"""


@pytest.fixture
def entries(empty_cache: Settings) -> Path:
    """Folder of the entries that these tests build."""
    return empty_cache.cache_dir / "entries"


def test_an_unfinished_entry_is_not_seen(empty_cache: Settings, entries: Path) -> None:
    with builder(empty_cache, _BUILDER, ENTRY="one") as process:
        read_until(process, "building")

        assert not (entries / "one").exists()

        process.communicate("\n")
    assert {path.name for path in (entries / "one").iterdir()} == {"half", "whole"}
    assert unfinished(entries) == []


def test_a_second_builder_waits_says_so_and_finds_it(empty_cache: Settings) -> None:
    with builder(empty_cache, _BUILDER, ENTRY="one") as first:
        read_until(first, "building")
        with builder(empty_cache, _BUILDER, ENTRY="one") as second:
            read_until(second, "waiting for another process: it")

            first.communicate("\n")

            assert "found it there" in read_until(second, "found")


def test_different_entries_are_built_side_by_side(empty_cache: Settings) -> None:
    with (
        builder(empty_cache, _BUILDER, ENTRY="one") as first,
        builder(empty_cache, _BUILDER, ENTRY="two") as second,
    ):
        read_until(first, "building")
        read_until(second, "building")

        assert "published" in second.communicate("\n")[0]
        assert "published" in first.communicate("\n")[0]


def test_what_a_killed_builder_left_is_removed_by_the_next(
    empty_cache: Settings, entries: Path
) -> None:
    with builder(empty_cache, _BUILDER, ENTRY="one") as killed:
        read_until(killed, "building")
        killed.kill()
        killed.wait()
    assert len(unfinished(entries, "one")) == 1

    with builder(empty_cache, _BUILDER, ENTRY="one") as process:
        assert "published" in process.communicate("\n")[0]

    assert unfinished(entries) == []


def test_a_name_that_begins_alike_is_another_entry(empty_cache: Settings, entries: Path) -> None:
    """`debian_12` and `debian_12-base` must not take each other for left-overs."""
    with builder(empty_cache, _BUILDER, ENTRY="one-more") as other:
        read_until(other, "building")

        with builder(empty_cache, _BUILDER, ENTRY="one") as process:
            assert "published" in process.communicate("\n")[0]

        assert "published" in other.communicate("\n")[0]
    assert (entries / "one-more/whole").exists()


def test_a_failing_build_leaves_nothing(empty_cache: Settings, entries: Path) -> None:
    with (
        suppress(KeyboardInterrupt),
        building(
            empty_cache,
            entries / "one",
            what="it",
            ready=lambda: False,
            needed_mib=1,
            progress=cache.quiet,
        ) as work,
    ):
        assert work is not None
        (work / "half").touch()
        raise KeyboardInterrupt

    assert list(entries.iterdir()) == []


def test_without_room_nothing_is_begun(empty_cache: Settings, entries: Path) -> None:
    with pytest.raises(DiskSpaceError, match="PYRO_ENVIRONMENT_CACHE_DIR"):
        with building(
            empty_cache,
            entries / "one",
            what="it",
            ready=lambda: False,
            needed_mib=1 << 40,
            progress=cache.quiet,
        ):
            pytest.fail("it was begun")

    assert list(entries.iterdir()) == []


def test_a_damaged_entry_is_replaced_whole(empty_cache: Settings, entries: Path) -> None:
    (entries / "one").mkdir(parents=True)
    (entries / "one/damaged").touch()

    with building(
        empty_cache,
        entries / "one",
        what="it",
        ready=lambda: False,
        needed_mib=1,
        progress=cache.quiet,
    ) as work:
        assert work is not None
        (work / "finished").mkdir()
        (work / "finished/whole").touch()
        publish(work / "finished", entries / "one")

    assert [path.name for path in (entries / "one").iterdir()] == ["whole"]


def test_pruning_leaves_a_builder_at_work_alone(own_cache: Settings) -> None:
    script = _BUILDER.replace('"entries"', '"linux-x86_64"')
    with builder(own_cache, script, ENTRY="lab-1") as process:
        read_until(process, "building")

        assert cache.prune_environments(own_cache)["count"] == 0

        process.kill()
        process.wait()
    left = unfinished(cache.platform_place(own_cache))
    assert len(left) == 1

    def removed() -> dict[str, object] | None:
        pruned = cache.prune_environments(own_cache)
        return pruned if pruned["count"] else None

    pruned = until(removed)
    assert pruned["deleted_environment_dirs"] == [str(left[0])]
    assert json.dumps(pruned)
    assert list(cache.platform_place(own_cache).iterdir()) == []
