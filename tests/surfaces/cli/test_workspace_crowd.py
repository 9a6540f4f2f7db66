"""Fifty `pyro` processes at once make, use and remove workspaces: nothing is lost or half-made."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from pyro_mcp import Pyro

CROWD = 50
PYRO = [sys.executable, "-m", "pyro_mcp", "workspace"]


def pyro(*words: str) -> str:
    finished = subprocess.run([*PYRO, *words], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_fifty_processes_at_once_lose_nothing(images: object, state_dir: object) -> None:
    """One workspace is used by all of them; half also make, use and remove one of their own."""
    shared = pyro("create", "debian:12", "--mem-mib", "512", "--id-only").strip()

    def one(number: int) -> None:
        pyro("exec", shared, "--timeout-seconds", "300", "--", "touch", f"n{number}")
        listed = json.loads(pyro("list", "--json"))["workspaces"]
        assert all(entry["environment"] == "debian:12" for entry in listed)
        if number % 2:
            own = pyro("create", "debian:12", "--mem-mib", "256", "--id-only").strip()
            words = ("sh", "-c", f"echo {number}")
            assert pyro("exec", own, "--timeout-seconds", "300", "--", *words) == f"{number}\n"
            pyro("delete", own)

    try:
        with ThreadPoolExecutor(CROWD) as pool:
            list(pool.map(one, range(CROWD)))

        with Pyro() as client:
            history = client.logs_workspace(shared)["entries"]
            assert [entry["sequence"] for entry in history] == list(range(1, CROWD + 1))
            found = client.list_workspace_files(shared)["entries"]
            assert len(found) == CROWD
            assert client.list_workspaces()["count"] == 1
    finally:
        pyro("delete", shared)
