"""The record: every attempt counts once, in the file and for whoever asks."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from pyro_mcp.network.record import Attempt, Record

DENIED = Attempt("tcp", None, "10.0.0.1", 80, "denied", "private addresses are closed")
ALLOWED = Attempt("tcp", "a.test", "203.0.113.10", 80, "allowed", "egress")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.jsonl"


def times(path: Path) -> int:
    return sum(json.loads(line)["times"] for line in path.read_text().splitlines())


def test_what_is_refused_many_times_in_a_second_is_written_with_how_often(path: Path) -> None:
    with closing(Record(str(path))) as record:
        for _ in range(500):
            record.refused(DENIED)

    assert len(path.read_text().splitlines()) == 2
    assert times(path) == 500


def test_many_different_refusals_are_all_counted(path: Path) -> None:
    with closing(Record(str(path))) as record:
        for port in range(1000):
            record.refused(DENIED._replace(port=port))
            record.refused(DENIED._replace(port=port))

    assert times(path) == 2000


def test_who_asks_is_told_of_each_attempt_how_often_however_many_there_were(path: Path) -> None:
    with closing(Record(str(path))) as record:
        record.refused(DENIED)
        mark = record.mark()
        for _ in range(5000):
            record.refused(DENIED)
            record.began(ALLOWED)
        later = record.mark()

        assert record.since(mark) == [(DENIED, 5000), (ALLOWED, 5000)]
        assert record.since(0) == [(DENIED, 5001), (ALLOWED, 5000)]
        assert record.since(later) == []


def test_the_memory_of_attempts_has_an_end(path: Path) -> None:
    with closing(Record(str(path))) as record:
        for port in range(10000):
            record.mark()
            record.refused(DENIED._replace(port=port))

        told = record.since(0)

    assert len(told) < 5000
    assert told[-1] == (DENIED._replace(port=9999), 1)
