"""Every process of a jail, looked at from the host: what it is, what it holds, what it sees."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from pyro_mcp.jail import limits
from pyro_mcp.machines.machine import Machine
from tests.conftest import MachineFactory
from tests.security.views import (
    as_guest_root,
    descriptors_of,
    jail_of,
    looked_at,
    mounts_of,
    status_of,
)
from tests.support import until

_ROOT = os.geteuid() == 0
_NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
_NO_CAPABILITY = "0" * 16


def test_no_process_of_a_jail_has_a_privilege(shared_machine: Machine) -> None:
    for process, status in looked_at(jail_of(shared_machine).inner, status_of):
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert status[kind] == _NO_CAPABILITY, (kind, process)
        assert status["NoNewPrivs"] == "1", process
        assert status["Seccomp"] == "2", process


def test_the_process_that_waits_outside_has_none_either(shared_machine: Machine) -> None:
    """bubblewrap's outer half never runs guest code; it must still be nobody's root."""
    status = status_of(jail_of(shared_machine).outermost.pid)

    assert status["CapEff"] == status["CapPrm"] == status["CapInh"] == _NO_CAPABILITY
    assert status["NoNewPrivs"] == "1"


def test_a_jail_runs_under_one_unprivileged_uid(shared_machine: Machine) -> None:
    jail = jail_of(shared_machine)
    owners = {
        (status["Uid"], status["Gid"])
        for _, status in looked_at((jail.outermost, *jail.inner), status_of)
    }

    assert len(owners) == 1
    uid, gid = (set(numbers.split()) for numbers in owners.pop())
    assert len(uid) == len(gid) == 1
    assert uid != {"0"} or not _ROOT
    if not _ROOT:
        assert uid == {str(os.getuid())}


def test_a_jail_belongs_to_no_other_group(shared_machine: Machine) -> None:
    groups = status_of(jail_of(shared_machine).kernel.pid)["Groups"].split()

    assert not _ROOT or groups in ([], ["65534"])


@pytest.mark.skipif(not _ROOT, reason="an ordinary user's machines share that user's uid")
def test_two_machines_of_root_run_under_different_uids(
    machine_factory: MachineFactory, shared_machine: Machine
) -> None:
    mine = status_of(jail_of(machine_factory()).kernel.pid)["Uid"]

    assert mine != status_of(jail_of(shared_machine).kernel.pid)["Uid"]


@pytest.mark.parametrize("kind", _NAMESPACES)
def test_no_namespace_is_shared_with_the_host(shared_machine: Machine, kind: str) -> None:
    def namespace(pid: int | str) -> Path:
        return Path(f"/proc/{pid}/ns/{kind}").readlink()

    for process, found in looked_at(jail_of(shared_machine).inner, namespace):
        assert found != namespace("self"), process


def test_the_only_network_interface_is_the_loopback(shared_machine: Machine) -> None:
    jail = jail_of(shared_machine)
    lines = Path(f"/proc/{jail.kernel.pid}/net/dev").read_text().splitlines()[2:]

    assert [line.split(":")[0].strip() for line in lines] == ["lo"]
    assert len(Path(f"/proc/{jail.kernel.pid}/net/route").read_text().splitlines()) == 1


def is_at(path: Path, within_file_system: str) -> bool:
    """The mount table counts from the root of the file system, which may lie above or below /."""
    return str(path).endswith(within_file_system) or within_file_system.endswith(str(path))


def test_the_jail_sees_its_root_its_files_and_nothing_else(shared_machine: Machine) -> None:
    mounts = mounts_of(jail_of(shared_machine).kernel.pid)
    images = shared_machine.images

    assert set(mounts) == {
        "/", "/dev", "/dev/null", "/dev/urandom", "/run", "/tmp", "/run/vsock",
        "/run/disks/agent", "/run/disks/environment", "/run/disks/data",
    }  # fmt: skip
    assert is_at(images.jail_root, mounts["/"][0])
    assert is_at(images.agent_image, mounts["/run/disks/agent"][0])
    assert is_at(images.environment_image, mounts["/run/disks/environment"][0])
    assert shared_machine.id in mounts["/run/disks/data"][0]


def test_only_the_own_disk_the_socket_and_scratch_can_be_written(shared_machine: Machine) -> None:
    mounts = mounts_of(jail_of(shared_machine).kernel.pid)
    writable = {path for path, (_, options, _) in mounts.items() if "rw" in options.split(",")}

    assert writable - {"/dev/null", "/dev/urandom"} == {"/tmp", "/run/vsock", "/run/disks/data"}


def test_no_mount_of_a_jail_honours_set_uid_files_or_devices(shared_machine: Machine) -> None:
    for path, (_, options, _) in mounts_of(jail_of(shared_machine).kernel.pid).items():
        assert "nosuid" in options.split(","), path
        if path not in ("/dev/null", "/dev/urandom"):
            assert "nodev" in options.split(","), path


def test_the_jail_has_no_proc_and_no_sys(shared_machine: Machine) -> None:
    """They would tell of the host, and allow re-opening files by descriptor."""
    kinds = {fs.split()[0] for _, _, fs in mounts_of(jail_of(shared_machine).kernel.pid).values()}

    assert kinds.isdisjoint({"proc", "sysfs", "cgroup", "cgroup2", "debugfs", "securityfs"})


def test_no_descriptor_of_the_monitor_reaches_the_jail(shared_machine: Machine) -> None:
    """bubblewrap hands on whatever it inherits."""
    jail = jail_of(shared_machine)
    console = descriptors_of(jail.kernel.pid)[1]
    held = {target for target in descriptors_of(jail.monitor.pid).values() if "[" in target}

    for process, found in looked_at((jail.outermost, *jail.inner), descriptors_of):
        for number, target in found.items():
            if target.startswith(("socket:", "pipe:")):
                assert target == console or target not in held, (process, number, target)


def test_every_descriptor_in_the_jail_is_the_kernels_own(shared_machine: Machine) -> None:
    expected = re.compile(
        r"/dev/null|/run/disks/(agent|environment|data)|/tmp/.*|(socket|pipe):\[\d+\]"
        r"|anon_inode:\[?(eventfd|eventpoll|signalfd)\]?"
    )
    jail = jail_of(shared_machine)

    for process, found in looked_at((jail.outermost, *jail.inner), descriptors_of):
        for number, target in found.items():
            assert expected.fullmatch(target), (process, number, target)


def test_a_guest_process_holds_nothing_but_its_line_to_the_kernel(shared_machine: Machine) -> None:
    jail = jail_of(shared_machine)
    stubs = [p for p in jail.inner if p.parent == jail.kernel.pid]

    assert stubs
    for _, found in looked_at(stubs, descriptors_of):
        kinds = [target.split(":")[0] for target in found.values()]
        assert set(kinds) <= {"socket", "/tmp/uml-userspace"} or len(kinds) <= 2, kinds


def test_nothing_of_the_hosts_environment_reaches_the_jail(shared_machine: Machine) -> None:
    kernel = jail_of(shared_machine).kernel
    environment = Path(f"/proc/{kernel.pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    names = {entry.split(b"=")[0] for entry in environment}

    assert names <= {b"HOME", b"TMPDIR", b"PWD", b"TERM"}
    assert shared_machine.id.encode() not in b"".join(environment)


def test_the_limits_are_on_every_process(shared_machine: Machine) -> None:
    jail = jail_of(shared_machine)
    disk = shared_machine.directory / "data.ext4"
    wanted = limits.rlimits(mem_mib=shared_machine.spec.mem_mib, disk_bytes=disk.stat().st_size)
    titles = {
        "RLIMIT_CORE": "Max core file size", "RLIMIT_FSIZE": "Max file size",
        "RLIMIT_NOFILE": "Max open files", "RLIMIT_NPROC": "Max processes",
        "RLIMIT_DATA": "Max data size", "RLIMIT_AS": "Max address space",
        "RLIMIT_MEMLOCK": "Max locked memory", "RLIMIT_MSGQUEUE": "Max msgqueue size",
    }  # fmt: skip

    def limits_of(pid: int) -> str:
        return Path(f"/proc/{pid}/limits").read_text()

    for process, table in looked_at(jail.inner, limits_of):
        for name, value in wanted.items():
            found = re.search(rf"^{titles[name]}\s+(\d+)\s+(\d+)", table, re.MULTILINE)
            assert found, (name, table)
            soft, hard = map(int, found.groups())
            assert soft == hard <= value, (process, name)


def test_all_of_a_machine_stays_on_one_cpu(shared_machine: Machine) -> None:
    def cpus() -> list[set[int]]:
        jail = jail_of(shared_machine)
        found = looked_at((jail.outermost, *jail.inner), os.sched_getaffinity)
        return [allowed for _, allowed in found]

    # On the same, all the time but while it goes to another, which may be just now.
    until(lambda: len({frozenset(one) for one in cpus()}) == 1)
    assert {len(one) for one in cpus()} == {1}


def test_the_machines_files_are_closed_to_other_users(shared_machine: Machine) -> None:
    """Another user's process must not get at the sockets or the disk of a machine."""
    machines = shared_machine.directory.parent

    for folder in (machines, shared_machine.directory):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0, folder


def test_the_guest_has_no_network(shared_machine: Machine) -> None:
    seen = as_guest_root(
        shared_machine,
        """
found = {}
for family, address in ((2, ("10.0.2.2", 80)), (2, ("169.254.169.254", 80)), (10, ("::2", 80))):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(3)
    found[address[0]] = name_of(s.connect_ex(address))
answer({"interfaces": [name for _, name in socket.if_nameindex()], "connect": found})
""",
    )

    assert seen["interfaces"] == ["lo"] or set(seen["interfaces"]) <= {"lo", "sit0", "tunl0"}
    assert set(seen["connect"].values()) <= {"ENETUNREACH", "EADDRNOTAVAIL"}
