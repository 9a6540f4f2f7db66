"""Locks between processes."""

import subprocess
import sys
from pathlib import Path

from pyro_mcp.host.locks import locked, locked_if_free
from tests.support import until

_HOLDER = """
import sys
from pathlib import Path
from pyro_mcp.host.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def _holder(lock: Path) -> subprocess.Popen[bytes]:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    return holder


def test_a_second_process_waits_and_is_told_so_once(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    told = []
    with _holder(lock) as holder:
        assert holder.stdin is not None

        def give_way() -> None:
            told.append("waiting")
            holder.stdin.close()  # type: ignore[union-attr]

        with locked(lock, on_wait=give_way):
            until(lambda: holder.poll() is not None)

    assert told == ["waiting"]


def test_a_killed_holder_frees_its_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with _holder(lock) as holder:
        with locked_if_free(lock) as held:
            assert not held
        holder.kill()
        holder.wait()

    with locked_if_free(lock) as held:
        assert held


def test_a_free_lock_is_taken_without_waiting(tmp_path: Path) -> None:
    told: list[str] = []

    with locked(tmp_path / "lock", on_wait=lambda: told.append("waiting")):
        pass

    assert told == []
