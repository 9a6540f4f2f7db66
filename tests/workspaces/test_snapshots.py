"""Snapshots, reset and fork: everything the workspace changed, and the old one until the switch."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from pyro_mcp import Pyro
from pyro_mcp.config import DEBIAN_KERNEL, OWN_KERNEL, STATE_VARIABLE
from pyro_mcp.environments import cache
from pyro_mcp.environments.image import loader_command
from pyro_mcp.errors import (
    GuestLostError,
    GuestStartError,
    InvalidInputError,
    NameTakenError,
    UnknownSnapshotError,
    UnknownWorkspaceError,
)
from pyro_mcp.workspaces import recovery
from tests.support import until
from tests.support.processes import descendants


@pytest.fixture
def workspace_id(pyro: Pyro) -> str:
    made = pyro.create_workspace(
        environment="debian:12", mem_mib=256, name="original", labels={"kind": "test"}
    )
    return str(made["workspace_id"])


def run(pyro: Pyro, workspace_id: str, command: str) -> str:
    result = pyro.exec_workspace(workspace_id, command=command, timeout_seconds=60)
    assert result["exit_code"] == 0, result
    return str(result["stdout"])


def test_a_snapshot_holds_what_was_changed_everywhere(pyro: Pyro, workspace_id: str) -> None:
    run(pyro, workspace_id, "echo one > note; echo one > /etc/note")
    pyro.create_snapshot(workspace_id, "first")
    run(pyro, workspace_id, "echo two > note; rm /etc/note; touch later")

    reset = pyro.reset_workspace(workspace_id, snapshot="first")

    assert run(pyro, workspace_id, "cat note /etc/note; ls") == "one\none\nnote\n"
    assert reset["workspace_reset"]["snapshot_name"] == "first"
    assert (reset["state"], reset["reset_count"], reset["command_count"]) == ("started", 1, 0)


def test_a_reset_to_the_baseline_is_a_new_beginning(pyro: Pyro, workspace_id: str) -> None:
    run(pyro, workspace_id, "touch /workspace/a /etc/b")

    reset = pyro.reset_workspace(workspace_id)

    assert run(pyro, workspace_id, "ls /workspace; ls /etc/b 2>&1 || true").endswith(
        "No such file or directory\n"
    )
    assert (reset["name"], reset["labels"]) == ("original", {"kind": "test"})
    assert pyro.logs_workspace(workspace_id)["entries"][0]["sequence"] == 1


def test_snapshots_are_listed_with_the_baseline_first(pyro: Pyro, workspace_id: str) -> None:
    pyro.create_snapshot(workspace_id, "a")
    pyro.create_snapshot(workspace_id, "b")

    listed = pyro.list_snapshots(workspace_id)

    assert [s["snapshot_name"] for s in listed["snapshots"]] == ["baseline", "b", "a"]
    assert [s["deletable"] for s in listed["snapshots"]] == [False, True, True]
    assert pyro.delete_snapshot(workspace_id, "a")["deleted"] is True
    assert pyro.list_snapshots(workspace_id)["count"] == 2


def test_names_of_snapshots_are_checked(pyro: Pyro, workspace_id: str) -> None:
    pyro.create_snapshot(workspace_id, "taken")

    with pytest.raises(NameTakenError, match="taken"):
        pyro.create_snapshot(workspace_id, "taken")
    with pytest.raises(InvalidInputError, match="baseline"):
        pyro.create_snapshot(workspace_id, "baseline")
    with pytest.raises(InvalidInputError, match="baseline"):
        pyro.delete_snapshot(workspace_id, "baseline")
    with pytest.raises(InvalidInputError, match="snapshot_name"):
        pyro.create_snapshot(workspace_id, "a/b")
    with pytest.raises(UnknownSnapshotError, match="It has: baseline, taken"):
        pyro.reset_workspace(workspace_id, snapshot="none")
    with pytest.raises(UnknownWorkspaceError):
        pyro.create_snapshot("0" * 12, "x")


def test_a_stopped_workspace_can_be_saved_and_reset(pyro: Pyro, workspace_id: str) -> None:
    run(pyro, workspace_id, "echo kept > note")
    pyro.stop_workspace(workspace_id)
    pyro.create_snapshot(workspace_id, "at-rest")

    assert pyro.status_workspace(workspace_id)["state"] == "stopped"
    assert pyro.reset_workspace(workspace_id, snapshot="at-rest")["state"] == "started"
    assert run(pyro, workspace_id, "cat note") == "kept\n"


def test_a_busy_workspace_is_saved_consistently(pyro: Pyro, workspace_id: str) -> None:
    """A writer renames whole files into place meanwhile: the snapshot never shows half of one."""
    run(
        pyro,
        workspace_id,
        "cat > loop.sh <<'X'\n"
        "i=0; while [ $i -lt 400 ]; do i=$((i+1)); seq 2000 > t; echo end >> t; mv t f; done\n"
        "X\n",
    )
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(run, pyro, workspace_id, "sh loop.sh")
        until(lambda: "f" in run(pyro, workspace_id, "ls").split())
        pyro.create_snapshot(workspace_id, "busy")
        writer.result(120)

    pyro.reset_workspace(workspace_id, snapshot="busy")

    assert run(pyro, workspace_id, "tail -n1 f; wc -l < f") == "end\n2001\n"


def test_a_reset_that_does_not_boot_leaves_the_workspace_as_it_was(
    pyro: Pyro, workspace_id: str
) -> None:
    run(pyro, workspace_id, "echo kept > note")
    pyro.create_snapshot(workspace_id, "broken")
    store = pyro.manager.workspaces
    place = store.place(workspace_id)
    for saved in place.snapshots.iterdir():
        with saved.open("r+b") as file:
            file.write(bytes(1 << 20))

    with pytest.raises(GuestStartError):
        pyro.reset_workspace(workspace_id, snapshot="broken")

    assert run(pyro, workspace_id, "cat note") == "kept\n"
    assert pyro.status_workspace(workspace_id)["reset_count"] == 0
    assert [p.name for p in place.home.glob("data-*")] == ["data-0.ext4"]


def test_a_fork_goes_its_own_way(pyro: Pyro, workspace_id: str) -> None:
    run(pyro, workspace_id, "echo common > note; echo common > /etc/note")

    fork = pyro.fork_workspace(workspace_id, name="copy")
    other = str(fork["workspace_id"])
    run(pyro, other, "echo other > note")

    assert run(pyro, other, "cat note /etc/note") == "other\ncommon\n"
    assert run(pyro, workspace_id, "cat note /etc/note") == "common\ncommon\n"
    assert (fork["name"], fork["forked_from"]) == ("copy", workspace_id)
    assert pyro.reset_workspace(other)["state"] == "started"
    assert run(pyro, other, "ls") == ""


def test_a_fork_can_begin_at_a_snapshot(pyro: Pyro, workspace_id: str) -> None:
    run(pyro, workspace_id, "echo then > note")
    pyro.create_snapshot(workspace_id, "then")
    run(pyro, workspace_id, "echo now > note")

    other = str(pyro.fork_workspace(workspace_id, snapshot="then")["workspace_id"])

    assert run(pyro, other, "cat note") == "then\n"


def test_what_an_interrupted_reset_left_is_tidied(pyro: Pyro, workspace_id: str) -> None:
    """The disk and the machine of a generation that the database does not know."""
    run(pyro, workspace_id, "echo kept > note")
    store = pyro.manager.workspaces
    place = store.place(workspace_id)
    row = store.row(workspace_id)
    store.halt(place)
    images = store.find_images("debian:12", lambda _phase, _part: None)
    from pyro_mcp.host.files import copy_sparse

    copy_sparse(images.blank_disk, place.disk(1), variable=STATE_VARIABLE)
    with place.changing():
        store.boot(row, place, generation=1)

    recovery.tidy(store)

    assert not place.running
    assert not place.disk(1).exists()
    assert run(pyro, workspace_id, "cat note") == "kept\n"


def test_a_file_that_was_written_is_never_found_empty(pyro: Pyro, workspace_id: str) -> None:
    """Whatever of it had reached the disk when the machine was killed."""
    for number in range(20):
        pyro.write_workspace_file(workspace_id, f"new{number}", text="whole")
    for process in descendants(os.getpid()):
        if workspace_id in process.command:
            os.kill(process.pid, signal.SIGKILL)
    until(lambda: pyro.status_workspace(workspace_id)["state"] == "stopped")

    listed = pyro.list_workspace_disk(workspace_id, path="/workspace")["entries"]
    pyro.create_snapshot(workspace_id, "as-it-was")
    assert run(pyro, workspace_id, "find . -empty -type f") == ""
    found = run(pyro, workspace_id, "ls -A").split()
    assert sorted(entry["path"] for entry in listed) == [f"/workspace/{name}" for name in found]
    assert not pyro.diff_workspace(workspace_id, against="as-it-was")["changed"]


def test_a_killed_monitor_stops_the_workspace_and_loses_nothing_flushed(
    pyro: Pyro, workspace_id: str
) -> None:
    run(pyro, workspace_id, "echo kept > note; sync")
    for process in descendants(os.getpid()):
        if workspace_id in process.command:
            os.kill(process.pid, signal.SIGKILL)
    until(lambda: pyro.status_workspace(workspace_id)["state"] == "stopped")

    result = pyro.exec_workspace(workspace_id, command="cat note", timeout_seconds=60)

    assert (result["stdout"], result["workspace_started"]) == ("kept\n", True)


def test_a_diff_can_be_against_a_snapshot(pyro: Pyro, tmp_path: Path) -> None:
    """Of what was seeded, what was changed before and what was changed since, the last alone."""
    seed = tmp_path / "seed"
    seed.mkdir()
    for name in ("kept", "before", "since", "back", "gone", "mode"):
        (seed / name).write_text(f"{name}\n")
    made = pyro.create_workspace(environment="debian:12", mem_mib=256, seed_path=seed)
    workspace_id = str(made["workspace_id"])
    run(pyro, workspace_id, "echo 1 >> before; echo 1 >> back; rm gone; echo a > added; mkdir d")
    pyro.create_snapshot(workspace_id, "mark")
    run(
        pyro,
        workspace_id,
        "echo 2 >> since; echo back > back; echo gone > gone; rm added; chmod +x mode;"
        " echo n > d/n",
    )

    against = pyro.diff_workspace(workspace_id, against="mark")

    assert {(e["path"], e["status"]) for e in against["entries"]} == {
        ("since", "modified"),
        ("back", "modified"),
        ("gone", "added"),
        ("added", "deleted"),
        ("mode", "modified"),
        ("d/n", "added"),
    }
    assert "-1\n" in against["patch"]
    assert "+2\n" in against["patch"]
    assert against["against"] == "mark"
    with pytest.raises(UnknownSnapshotError):
        pyro.diff_workspace(workspace_id, against="none")


def test_a_snapshot_differs_in_nothing_from_itself(pyro: Pyro, workspace_id: str) -> None:
    run(pyro, workspace_id, "seq 100 > numbers; ln -s numbers link; mkdir folder; chmod 700 folder")
    pyro.create_snapshot(workspace_id, "now")

    against = pyro.diff_workspace(workspace_id, against="now")

    assert (against["changed"], against["patch"]) == (False, "")


def test_files_of_exchanged_directories_differ_though_none_was_touched(
    pyro: Pyro, workspace_id: str
) -> None:
    """Their sizes and times are as they were, and many have the same; their text is all there."""
    run(
        pyro,
        workspace_id,
        "mkdir a b; for n in $(seq 60); do echo a$n > a/$n; echo b$n > b/$n; done; "
        "sleep 0.3; echo last > last",
    )
    pyro.create_snapshot(workspace_id, "before")
    run(pyro, workspace_id, "mv a c; mv b a; mv c b")

    against = pyro.diff_workspace(workspace_id, against="before")

    assert against["summary"]["modified"] == against["summary"]["text_patched"] == 120
    assert against["patch"].count("\n+") == 240
    assert not against["truncated"]


def test_a_diff_with_a_snapshot_carries_no_more_than_it_may(pyro: Pyro, workspace_id: str) -> None:
    """Of what is too much to carry the guests say what is equal, and text is fetched."""
    run(
        pyro,
        workspace_id,
        "seq 100000 > text; for n in 1 2 3 4 5; do head -c 15M /dev/urandom > $n; done",
    )
    run(
        pyro,
        workspace_id,
        "cp 3 three; ln 4 four; head -c 20M /dev/urandom > large; cp large other",
    )
    pyro.create_snapshot(workspace_id, "full")
    run(
        pyro,
        workspace_id,
        "head -c 15M /dev/urandom > 2; cp 4 5; cp large rewritten; mv rewritten large",
    )
    run(
        pyro,
        workspace_id,
        "echo end >> text; printf x | dd of=other conv=notrunc bs=1 seek=9999999",
    )

    against = pyro.diff_workspace(workspace_id, against="full")

    assert {(e["path"], e["status"]) for e in against["entries"]} == {
        ("2", "modified"),
        ("5", "modified"),
        ("other", "modified"),
        ("text", "modified"),
    }
    assert "+end\n" in against["patch"]
    assert [e["path"] for e in against["entries"] if e["truncated"]] == ["other"]


def test_a_large_snapshot_of_a_busy_workspace_is_of_one_moment(
    pyro: Pyro, workspace_id: str
) -> None:
    """Most of it is copied while the guest writes on; file systems in it stay whole."""
    run(pyro, workspace_id, "head -c 300M /dev/urandom > blob; md5sum blob > sum; sync")
    busy = (
        "n=0; while true; do n=$((n+1)); for f in a b; do echo $n > t; mv t $f; done; sync;"
        " dd if=/dev/urandom of=noise bs=1M count=20 conv=notrunc; done"
    )
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(pyro.exec_workspace, workspace_id, command=busy, timeout_seconds=600)
        until(lambda: run(pyro, workspace_id, "cat b 2> /dev/null || true"))

        pyro.create_snapshot(workspace_id, "busy")
        pyro.reset_workspace(workspace_id, snapshot="busy")

        with pytest.raises(GuestLostError):
            writing.result()
    first, second = run(pyro, workspace_id, "md5sum -c sum > /dev/null && cat a b").split()
    assert int(first) - int(second) in (0, 1)


_WRITER = """
import os, random, struct, sys
PAGE, PAGES = 4096, 24000
source = random.Random(1)
file = os.open("pages", os.O_RDWR | os.O_CREAT, 0o644)
if sys.argv[1:] == ["check"]:
    # What one write left is all that was written before it, and nothing of what came after.
    held = []
    for page in range(PAGES):
        number, *rest = struct.unpack("<512Q", os.pread(file, PAGE, page * PAGE))
        assert rest == [number] * 511, (page, number, set(rest))
        held.append(number)
    expected = [0] * PAGES
    for number in range(1, max(held) + 1):
        expected[source.randrange(PAGES)] = number
    assert held == expected, [i for i in range(PAGES) if held[i] != expected[i]][:5]
    print(max(held))
    sys.exit()
os.write(file, bytes(PAGE * PAGES))
os.fsync(file)
number = 0
while True:
    number += 1
    os.pwrite(file, struct.pack("<Q", number) * 512, source.randrange(PAGES) * PAGE)
    if number % 50 == 0:
        os.fdatasync(file)
        open("renamed", "w").write(str(number))
        os.replace("renamed", "last")
"""


@pytest.mark.parametrize("kernel", [OWN_KERNEL, DEBIAN_KERNEL])
@pytest.mark.timeout(240)
def test_a_snapshot_of_a_guest_that_never_stops_writing_is_its_disk_at_one_moment(
    pyro: Pyro, kernel: str
) -> None:
    """With a kernel that keeps a record of what was written, and with one that keeps none."""
    pyro.manager.settings = replace(pyro.manager.settings, kernel=kernel)
    made = pyro.create_workspace(environment="debian:12", mem_mib=256)
    workspace_id = str(made["workspace_id"])
    pyro.write_workspace_file(workspace_id, "writer.py", text=_WRITER)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(
            pyro.exec_workspace, workspace_id, command="python3 writer.py", timeout_seconds=200
        )
        until(lambda: "last" in run(pyro, workspace_id, "ls").split(), timeout=60)
        pyro.create_snapshot(workspace_id, "first")
        last = int(run(pyro, workspace_id, "cat last"))
        until(lambda: int(run(pyro, workspace_id, "cat last")) > last, timeout=60)
        pyro.create_snapshot(workspace_id, "second")
        pyro.reset_workspace(workspace_id, snapshot="first")
        with pytest.raises(GuestLostError):
            writing.result()
    first = int(run(pyro, workspace_id, "python3 writer.py check"))
    pyro.reset_workspace(workspace_id, snapshot="second")
    second = int(run(pyro, workspace_id, "python3 writer.py check"))

    assert 0 < first < second
    tree = cache.ensure_runtime(pyro.manager.settings).tree
    for disk in pyro.manager.workspaces.place(workspace_id).snapshots.iterdir():
        check = loader_command(tree, "usr/sbin/e2fsck", "-f", "-n", str(disk))
        checked = subprocess.run(check, capture_output=True, check=False)
        assert checked.returncode == 0, checked.stdout
