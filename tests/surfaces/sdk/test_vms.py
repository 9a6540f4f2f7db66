"""The SDK's one-shot machines, as the contract has them and a little better."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors import (
    HostMemoryError,
    InvalidInputError,
    MachineExpiredError,
    MachineStateError,
    UnknownEnvironmentError,
    UnknownMachineError,
)
from pyro_mcp.machines.spec import available_memory_mib


@pytest.fixture
def pyro(images: object) -> Iterator[Pyro]:
    with Pyro() as pyro:
        yield pyro


def test_one_call_makes_runs_and_deletes(pyro: Pyro) -> None:
    result = pyro.run_in_vm(environment="debian:12", command="git --version")

    assert result["stdout"].startswith("git version")
    assert result["exit_code"] == 0
    assert result["execution_mode"] == "guest_vsock"
    assert result["engine"] == "uml"
    assert "jail" in result["isolation"]
    assert result["cleanup"] == {
        "vm_id": result["vm_id"],
        "deleted": True,
        "reason": "post_exec_cleanup",
    }


def test_a_failing_command_is_a_result(pyro: Pyro) -> None:
    result = pyro.run_in_vm(environment="debian:12", command="echo no >&2; exit 7")

    assert (result["exit_code"], result["stderr"]) == (7, "no\n")


def test_the_long_way_is_create_start_exec(pyro: Pyro) -> None:
    created = pyro.create_vm(environment="debian:12", mem_mib=256, ttl_seconds=120)
    vm_id = created["vm_id"]
    assert (created["state"], created["execution_mode"]) == ("created", "pending")
    assert created["expires_at"] == pytest.approx(created["created_at"] + 120)
    assert len(vm_id) == 12
    assert int(vm_id, 16) >= 0

    started = pyro.start_vm(vm_id)
    assert (started["state"], started["execution_mode"]) == ("started", "guest_vsock")
    assert (started["vcpu_count"], started["vcpu_count_given"]) == (1, 1)

    assert pyro.network_info_vm(vm_id)["network_enabled"] is False
    assert pyro.status_vm(vm_id)["state"] == "started"
    assert pyro.exec_vm(vm_id, command="echo done")["stdout"] == "done\n"

    with pytest.raises(UnknownMachineError):
        pyro.status_vm(vm_id)


def test_a_stopped_machine_starts_again_with_its_disk(pyro: Pyro) -> None:
    vm_id = pyro.create_vm(environment="debian:12")["vm_id"]
    pyro.start_vm(vm_id)

    assert pyro.stop_vm(vm_id)["state"] == "stopped"
    assert pyro.stop_vm(vm_id)["state"] == "stopped"
    with pytest.raises(MachineStateError, match="start_vm"):
        pyro.exec_vm(vm_id, command="true")
    pyro.start_vm(vm_id)
    with pytest.raises(MachineStateError):
        pyro.start_vm(vm_id)

    assert pyro.exec_vm(vm_id, command="echo again")["stdout"] == "again\n"


def test_deleting_works_in_any_state_and_says_so(pyro: Pyro) -> None:
    created = pyro.create_vm(environment="debian:12")["vm_id"]
    started = pyro.create_vm(environment="debian:12")["vm_id"]
    pyro.start_vm(started)

    for vm_id in (created, started):
        assert pyro.delete_vm(vm_id) == {
            "vm_id": vm_id,
            "deleted": True,
            "reason": "explicit_delete",
        }
    with pytest.raises(ValueError, match=created):
        pyro.delete_vm(created)


def test_a_machine_past_its_time_is_gone_at_the_next_look(
    pyro: Pyro, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyro_mcp.config.TTL_SECONDS_RANGE", (1, 3600))
    first = pyro.create_vm(environment="debian:12", ttl_seconds=1)["vm_id"]
    second = pyro.create_vm(environment="debian:12", ttl_seconds=1)["vm_id"]
    time.sleep(1.1)

    with pytest.raises(MachineExpiredError, match="1 s"):
        pyro.status_vm(first)

    assert pyro.reap_expired() == {"deleted_vm_ids": [second], "count": 1}
    assert pyro.reap_expired() == {"deleted_vm_ids": [], "count": 0}


def test_an_unknown_environment_is_refused_with_the_nearest_names(pyro: Pyro) -> None:
    with pytest.raises(UnknownEnvironmentError, match="Nearest: debian:12"):
        pyro.run_in_vm(environment="debain:12", command="true")


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"command": ""}, InvalidInputError, "command is empty"),
    ({"mem_mib": 0}, InvalidInputError, "mem_mib is 0"),
    ({"vcpu_count": 0}, InvalidInputError, "vcpu_count is 0"),
    ({"ttl_seconds": 0}, InvalidInputError, "ttl_seconds is 0"),
    ({"timeout_seconds": 0}, InvalidInputError, "timeout_seconds is 0"),
    ({"timeout_seconds": -1}, InvalidInputError, "timeout_seconds is -1"),
    ({"network_allow": ["a.test"]}, InvalidInputError, "network_policy"),
]


@pytest.mark.parametrize(("wrong", "error", "said"), BAD, ids=[str(b[0]) for b in BAD])
def test_bad_input_is_refused_before_anything_is_made(
    pyro: Pyro, wrong: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        pyro.run_in_vm(**{"environment": "debian:12", "command": "true", **wrong})


def test_more_memory_than_the_host_has_is_refused(pyro: Pyro) -> None:
    if available_memory_mib() < 32768:
        with pytest.raises(HostMemoryError, match="32768 MiB"):
            pyro.run_in_vm(environment="debian:12", command="true", mem_mib=32768)


def test_a_limit_of_machines_counts_those_that_are_active(images: object) -> None:
    with Pyro(max_active_vms=1) as pyro:
        first = pyro.create_vm(environment="debian:12")["vm_id"]
        with pytest.raises(RuntimeError, match="max_active_vms is 1"):
            pyro.create_vm(environment="debian:12")

        pyro.delete_vm(first)

        assert pyro.create_vm(environment="debian:12")["state"] == "created"


def test_an_unknown_engine_is_refused(images: object) -> None:
    with Pyro(backend_name="mock") as pyro, pytest.raises(ValueError, match="Known engines: uml"):
        pyro.run_in_vm(environment="debian:12", command="true")


def test_twenty_machines_at_once_all_answer(pyro: Pyro) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def one(number: int) -> str:
        result = pyro.run_in_vm(
            environment="debian:12", command=f"echo {number}", mem_mib=256, timeout_seconds=120
        )
        return str(result["stdout"])

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(one, range(20))) == [f"{n}\n" for n in range(20)]


def test_nothing_of_the_host_is_looked_at_before_the_first_call(tmp_path: object) -> None:
    from pathlib import Path

    nowhere = Path("/proc/nowhere")
    Pyro(base_dir=nowhere, cache_dir=nowhere).close()


def test_on_a_host_without_a_jail_the_command_runs_on_the_host_only_when_allowed(
    monkeypatch: pytest.MonkeyPatch, state_dir: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A PATH that has a shell and no bubblewrap stands for such a host."""
    folder = tmp_path_factory.mktemp("bin")
    for tool in ("bash", "setarch", "sleep"):
        import shutil

        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    with Pyro() as pyro:
        with pytest.raises(RuntimeError, match="bubblewrap"):
            pyro.run_in_vm(environment="debian:12", command="echo host")

        result = pyro.run_in_vm(
            environment="debian:12", command="echo host", allow_host_compat=True
        )
        slow = pyro.run_in_vm(
            environment="debian:12",
            command="echo begun; sleep 100",
            timeout_seconds=1,
            allow_host_compat=True,
        )

    assert result["stdout"] == "host\n"
    assert result["execution_mode"] == "host_compat"
    assert result["engine"] is None
    assert result["isolation"].startswith("none")
    assert (slow["exit_code"], slow["stdout"], slow["timed_out"]) == (124, "begun\n", True)
