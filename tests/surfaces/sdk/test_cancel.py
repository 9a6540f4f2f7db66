"""A call is ended from another thread, and with it all that it started in the guest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from pyro_mcp import Cancel, Pyro
from pyro_mcp.errors import CallCancelledError
from tests.support import until

_STUBBORN = (
    "trap '' TERM HUP; exec 9>/var/tmp/held; flock 9; setsid sleep 4321 & echo go; sleep 4321"
)
_GONE = "test -e /var/tmp/held && flock 9 9</var/tmp/held"
"""Commands do not see each other's processes; a lock is held until the last of them has ended."""


@contextmanager
def _triggered_at_the_first_output(
    cancel: Cancel,
) -> Iterator[Callable[[str, bytes], None]]:
    started = threading.Event()

    def heard(_stream: str, _data: bytes) -> None:
        started.set()

    def trigger() -> None:
        started.wait()
        cancel.trigger()

    thread = threading.Thread(target=trigger)
    thread.start()
    yield heard
    thread.join()


def test_a_cancelled_command_of_a_workspace_is_killed_whole(kept: Pyro, workspace_id: str) -> None:
    cancel = Cancel()

    with _triggered_at_the_first_output(cancel) as heard:
        with pytest.raises(CallCancelledError):
            kept.exec_workspace(
                workspace_id, command=_STUBBORN, timeout_seconds=600,
                on_output=heard, cancel=cancel,
            )  # fmt: skip

    assert kept.exec_workspace(workspace_id, command=_GONE)["exit_code"] == 0
    assert kept.logs_workspace(workspace_id)["count"] == 1


def test_a_cancelled_one_shot_machine_is_gone(kept: Pyro) -> None:
    cancel = Cancel()
    ids = []

    with _triggered_at_the_first_output(cancel) as heard:
        with pytest.raises(CallCancelledError):
            kept.run_in_vm(
                environment="debian:12", command=_STUBBORN, mem_mib=256, timeout_seconds=600,
                on_output=heard, cancel=cancel,
                on_phase=lambda _phase, facts: ids.extend(
                    [facts["vm_id"]] if "vm_id" in facts else []
                ),
            )  # fmt: skip

    with pytest.raises(ValueError, match=ids[0]):
        kept.status_vm(ids[0])


def test_a_cancelled_command_of_a_started_machine_ends_it(kept: Pyro) -> None:
    vm_id = kept.create_vm(environment="debian:12", mem_mib=256)["vm_id"]
    kept.start_vm(vm_id)
    cancel = Cancel()

    with _triggered_at_the_first_output(cancel) as heard:
        with pytest.raises(CallCancelledError):
            kept.exec_vm(vm_id, command=_STUBBORN, on_output=heard, cancel=cancel)

    with pytest.raises(ValueError, match=vm_id):
        kept.status_vm(vm_id)


def test_one_that_was_triggered_before_starts_nothing(kept: Pyro, workspace_id: str) -> None:
    cancel = Cancel()
    cancel.trigger()
    cancel.trigger()

    with pytest.raises(CallCancelledError):
        kept.exec_workspace(workspace_id, command="touch made", cancel=cancel)
    with pytest.raises(CallCancelledError):
        kept.run_in_vm(environment="debian:12", command="true", cancel=cancel)

    assert kept.list_workspace_files(workspace_id)["entries"] == []
    assert kept.logs_workspace(workspace_id)["count"] == 0


def test_a_cancelled_wait_for_a_service_stops_it(kept: Pyro, workspace_id: str) -> None:
    cancel = Cancel()

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(
            kept.start_service, workspace_id, "web", command="echo up; sleep 4321",
            readiness={"type": "file", "path": "never"}, ready_timeout_seconds=600, cancel=cancel,
        )  # fmt: skip
        until(lambda: kept.list_services(workspace_id)["count"] == 1)
        until(lambda: "up" in kept.logs_service(workspace_id, "web")["stdout"])
        cancel.trigger()
        with pytest.raises(CallCancelledError):
            waiting.result()

    stopped = kept.status_service(workspace_id, "web")
    assert (stopped["state"], stopped["stop_reason"]) == ("stopped", "sigterm")


def test_a_cancelled_read_of_a_shell_waits_no_longer_and_leaves_it(
    kept: Pyro, workspace_id: str
) -> None:
    shell_id = kept.open_shell(workspace_id)["shell_id"]
    kept.write_shell(workspace_id, shell_id, input="while sleep 0.05; do echo on and on; done")
    cancel = Cancel()

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(
            kept.read_shell, workspace_id, shell_id, wait_for_idle_ms=10_000, cancel=cancel
        )
        until(lambda: "on and on" in kept.read_shell(workspace_id, shell_id)["output"])
        cancel.trigger()
        with pytest.raises(CallCancelledError):
            waiting.result()

    assert kept.read_shell(workspace_id, shell_id)["state"] == "running"


def test_one_ends_every_call_that_has_it(kept: Pyro, workspace_id: str) -> None:
    cancel = Cancel()
    ended: list[str] = []
    ready = threading.Semaphore(0)

    def run() -> None:
        try:
            kept.exec_workspace(
                workspace_id, command="echo go; sleep 4321", timeout_seconds=600,
                on_output=lambda _stream, _data: ready.release(), cancel=cancel,
            )  # fmt: skip
        except CallCancelledError as error:
            ended.append(error.code)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in threads:
        ready.acquire()
    cancel.trigger()
    for thread in threads:
        thread.join()

    assert ended == ["cancelled"] * 3
