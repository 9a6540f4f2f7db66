"""Guest root tries each known way out of the machine, for real."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyro_mcp.errors import GuestLostError, GuestStartError
from pyro_mcp.machines.machine import Machine
from tests.conftest import MachineFactory
from tests.security.views import as_guest_root, jail_of
from tests.support import until

_MIB = 1 << 20
_COW_MAGIC = 0x4F4F4F4D  # "OOOM", arch/um/drivers/cow_user.c


def _assert_alive(machine: Machine) -> None:
    assert machine.execute("echo alive", timeout_seconds=60).stdout.text() == "alive\n"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_hostfs_cannot_be_mounted(shared_machine: Machine) -> None:
    """It would show the whole of the jail, with the kernel process's rights."""
    seen = as_guest_root(
        shared_machine,
        """
os.makedirs("/tmp/h", exist_ok=True)
answer([mount("none", "/tmp/h", "hostfs", 0, data) for data in (None, "/", "/run")]
       + ["hostfs" in open("/proc/filesystems").read()])
""",
    )

    assert seen == ["ENODEV", "ENODEV", "ENODEV", False]


def test_there_is_no_management_console(shared_machine: Machine) -> None:
    """It attaches files of the jail as disks, and is reached through a socket in the jail."""
    kernel = jail_of(shared_machine).kernel.pid
    sockets = Path(f"/proc/{kernel}/net/unix").read_text()

    assert "mconsole" not in sockets
    assert as_guest_root(shared_machine, "answer(os.path.exists('/proc/mconsole'))") is False


def test_kernel_options_cannot_be_changed_by_a_boot_of_its_own(shared_machine: Machine) -> None:
    """kexec would start a kernel with hostfs in it, were there one."""
    tried = (
        "ctypes.set_errno(0); libc.syscall(246, 0, 0, None, 0); answer(name_of(ctypes.get_errno()))"
    )

    assert as_guest_root(shared_machine, tried) in ("ENOSYS", "EPERM", "ENODEV")


@pytest.mark.parametrize("letter", ["a", "b"])
def test_the_shared_images_cannot_be_written(shared_machine: Machine, letter: str) -> None:
    """Guest root makes the device nodes, takes the read-only mark off and writes."""
    images = shared_machine.images
    image = {"a": images.agent_image, "b": images.environment_image}[letter]
    before = _digest(image)

    seen = as_guest_root(
        shared_machine,
        f"""
found = {{}}
def attempt(name, work):
    try: found[name] = work() or "ok"
    except OSError as error: found[name] = name_of(error.errno)
path = disk("{letter}")
def clear():
    fd = os.open(path, os.O_RDONLY)
    fcntl.ioctl(fd, 0x125D, struct.pack("i", 0))  # BLKROSET
def write():
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, b"owned" * 1000, 0)
    os.fsync(fd)
def discard():
    fd = os.open(path, os.O_RDWR)
    fcntl.ioctl(fd, 0x1277, struct.pack("QQ", 0, 1 << 20))  # BLKDISCARD
attempt("write", write)
attempt("clear", clear)
attempt("write again", write)
attempt("discard", discard)
answer(found)
""",
    )

    assert seen["write"] != "ok"
    assert seen["write again"] != "ok"
    assert _digest(image) == before


def test_the_disk_does_not_grow_however_it_is_written(open_machine_factory: MachineFactory) -> None:
    machine = open_machine_factory()
    disk = machine.directory / "data.ext4"
    size = disk.stat().st_size

    seen = as_guest_root(
        machine,
        """
fd = os.open(disk("d"), os.O_RDWR)
end = os.lseek(fd, 0, os.SEEK_END)
found = []
for at in (end, end + 4096, 1 << 50):
    try: found.append(os.pwrite(fd, b"x" * 4096, at))
    except OSError as error: found.append(name_of(error.errno))
answer(found)
""",
    )

    assert all(outcome in ("ENOSPC", "EFBIG", "EINVAL", 0) for outcome in seen)
    assert disk.stat().st_size == size


@pytest.mark.parametrize("order", [">", "<"], ids=["big-endian", "little-endian"])
def test_a_copy_on_write_header_on_the_own_disk_opens_no_file(
    open_machine_factory: MachineFactory, order: str
) -> None:
    """The block driver believes such a header: the next boot would read the file that it names.

    The header lies before the file system, in bytes that ext4 leaves alone, so the disk is whole.
    """
    machine = open_machine_factory()
    disk = machine.directory / "data.ext4"
    size = disk.stat().st_size
    # magic, version, time, size, sector size, alignment, format of the bitmap; then the path
    header = struct.pack(f"{order}IIIQIII", _COW_MAGIC, 3, 0, 1 << 40, 512, 4096, 0)
    header += b"/run/disks/agent\0"
    as_guest_root(
        machine,
        f"""
fd = os.open(disk("d"), os.O_RDWR)
os.pwrite(fd, {header!r}.ljust(512, b"\\0"), 0)
os.fsync(fd)
answer(True)
""",
    )
    machine.stop()
    assert _head(disk) == header[:4]

    try:
        machine.start(life_seconds=600)
    except GuestStartError:
        assert disk.stat().st_size == size
        return

    seen = as_guest_root(
        machine,
        """
fd = os.open(disk("d"), os.O_RDWR)
answer({"size": os.lseek(fd, 0, os.SEEK_END), "start": os.pread(fd, 4, 0).decode("latin1")})
""",
    )
    # The disk itself, header and all or without it, and not the start of another file.
    assert seen["start"].encode() in (header[:4], bytes(4))
    assert seen["size"] == size
    kernel = jail_of(machine).kernel.pid
    opened = [os.readlink(p) for p in Path(f"/proc/{kernel}/fd").iterdir()]  # noqa: PTH115
    assert opened.count("/run/disks/agent") == 1


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def test_physical_memory_is_the_guests_own(
    open_machine_factory: MachineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/mem shows guest memory; a word that only the host's processes know is not in it."""
    secret = secrets.token_hex(24)
    monkeypatch.setenv("PYRO_TEST_SECRET", secret)
    machine = open_machine_factory(mem_mib=256)

    seen = as_guest_root(
        machine,
        """
import re
os.mknod("/dev/attack-mem", 0o600 | stat.S_IFCHR, os.makedev(1, 1))
fd = os.open("/dev/attack-mem", os.O_RDONLY)
word, read, found, at = re.compile(b"PYRO_TEST_SECRE[T]=([0-9a-f]{48})"), 0, [], 0
while at < 1 << 29:
    try: piece = os.pread(fd, 1 << 16, at)
    except OSError: piece = b""
    found += [match.decode() for match in word.findall(piece)]
    read += len(piece)
    at += 1 << 16
answer({"read": read, "found": found})
""",
        timeout_seconds=120,
    )

    assert secret not in seen["found"]
    assert seen["read"] <= 256 * _MIB


def test_a_guest_that_fills_its_memory_takes_no_more_than_its_size(
    machine_factory: MachineFactory,
) -> None:
    """The memory lies in a tmpfs of the jail, and that has an end."""
    machine = machine_factory(mem_mib=256)
    scratch = f"/proc/{jail_of(machine).kernel.pid}/root/tmp"

    def used() -> int:
        figures = os.statvfs(scratch)
        return (figures.f_blocks - figures.f_bfree) * figures.f_frsize

    with ThreadPoolExecutor() as threads:
        filling = threads.submit(
            machine.execute,
            "python3 -c 'x = [bytearray(b\"x\") * (1 << 20) for _ in range(4096)]'",
            timeout_seconds=60,
        )
        # It gives back what it does not need any more, so afterwards is too late to look.
        until(lambda: used() >= 128 * _MIB)
        with contextlib.suppress(GuestLostError):
            filling.result()

    figures = os.statvfs(scratch)
    assert figures.f_blocks * figures.f_frsize <= (256 + 256 // 20 + 4) * _MIB
    assert used() <= (256 + 4) * _MIB
    _assert_alive(machine)


def test_modules_of_the_guests_making_are_no_way_to_the_host(shared_machine: Machine) -> None:
    """Guest root owns the guest kernel; what it can load there still runs inside the jail."""
    seen = as_guest_root(
        shared_machine,
        """
found = []
for kind in ("hostfs", "9p", "virtiofs", "nfs", "fuseblk"):
    os.makedirs("/tmp/m", exist_ok=True)
    found.append(mount("/", "/tmp/m", kind, 0, "trans=virtio" if kind == "9p" else None))
answer(found)
""",
    )

    assert "ok" not in seen


def test_the_host_side_of_vsock_offers_nothing(shared_machine: Machine) -> None:
    """Only the port on which the agent reports is listened on, and it has reported."""
    seen = as_guest_root(
        shared_machine,
        """
found = {}
for port in (1, 22, 80, 1023, 1024, 1025, 1026, 9999, 0xFFFFFFFE):
    s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    s.settimeout(3)
    found[port] = name_of(s.connect_ex((2, port)))
answer(found)
""",
    )

    assert "ok" not in seen.values(), seen
    _assert_alive(shared_machine)


def test_no_file_of_the_host_can_be_seen(shared_machine: Machine, tmp_path: Path) -> None:
    marker = tmp_path / f"marker-{secrets.token_hex(8)}"
    marker.write_text("host")

    seen = as_guest_root(
        shared_machine,
        f"""
found = [os.path.exists({str(marker)!r}), os.path.exists({str(shared_machine.directory)!r})]
for root in ("/proc/1/root", "/proc/self/root", "/proc/1/cwd/.."):
    found.append(os.path.exists(root + {str(marker)!r}))
answer(found)
""",
    )

    assert not any(seen)
