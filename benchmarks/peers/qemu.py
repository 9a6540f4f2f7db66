"""QEMU without KVM (TCG): Debian's cloud kernel on the same images as pyro's guest."""

from __future__ import annotations

import shutil
import stat
import tempfile
from pathlib import Path
from typing import Self

from benchmarks.peers.base import Peer, Tree, need
from benchmarks.rounds import NotMeasuredError, run

_META_PACKAGE = "linux-image-cloud-amd64"
_MODULES = (
    "virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
    "virtio_blk", "overlay",
)  # fmt: skip
_BEGIN, _END = b"=== begin ===", b"=== end ==="
_INIT = f"""#!/busybox sh
b=/busybox
$b mkdir -p /proc /sys /dev /env /data /root
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for m in {" ".join(_MODULES)}; do $b insmod /$m.ko; done
$b mount -t ext4 -o ro /dev/vda /env
$b mount -t ext4 /dev/vdb /data
$b mkdir -p /data/upper /data/work
$b mount -t overlay -o lowerdir=/env,upperdir=/data/upper,workdir=/data/work overlay /root
$b mount -t proc proc /root/proc
$b mount --bind /dev /root/dev
$b cp /stdin /root/stdin
echo "{_BEGIN.decode()}"
$b chroot /root /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/root LANG=C.UTF-8 \
    sh -c 'cd /workspace && exec python3 - </stdin'
echo "{_END.decode()} $?"
$b poweroff -f
"""


class QemuTcg(Peer):
    """Emulation of every instruction: what isolation by a kernel costs here without pyro."""

    label = "QEMU TCG"
    note = "measured once"

    def __init__(self, qemu: str, kernel: Path, modules: Path, tree: Tree) -> None:
        self._qemu = qemu
        self._kernel = kernel
        self._modules = modules
        self._tree = tree

    @classmethod
    def prepare(cls, tree: Tree, directory: Path) -> Self:
        """Fetch Debian's kernel with apt, without installing it."""
        qemu = need("qemu-system-x86_64", "qemu-system-x86")
        unpacked = directory / "linux"
        if not unpacked.exists():
            listed = run([need("apt-cache", "apt"), "depends", _META_PACKAGE]).decode()
            packages = [line.split()[1] for line in listed.splitlines() if "Depends:" in line]
            if not packages:
                raise NotMeasuredError(f"apt knows no {_META_PACKAGE}; try 'apt-get update'")
            with tempfile.TemporaryDirectory(dir=directory) as work:
                run(["env", "-C", work, "apt-get", "download", "--quiet", packages[0]])
                deb = next(Path(work).glob("*.deb"))
                part = Path(work) / "linux"
                run(["dpkg-deb", "--extract", str(deb), str(part)])
                shutil.move(part, unpacked)
        return cls(qemu, next(unpacked.glob("boot/vmlinuz-*")), unpacked, tree)

    def one_shot(self, *command: str) -> list[str]:
        """Only `work` is supported: a machine is booted for a script, not for a command line."""
        raise NotMeasuredError("a machine of its own takes no command line")

    def work(self, script: bytes, cpu: int, mem_mib: int) -> bytes:
        """Boot, give Python the script, and return what it printed."""
        with tempfile.TemporaryDirectory() as place:
            initrd, disk = Path(place) / "initrd", Path(place) / "data"
            initrd.write_bytes(self._initrd(script))
            run(["cp", "--sparse=always", str(self._tree.blank_disk), str(disk)])
            # fmt: off
            argv = [
                self._qemu, "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", str(mem_mib),
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-serial", "stdio", "-kernel", str(self._kernel), "-initrd", str(initrd),
                "-append", "console=ttyS0 quiet rdinit=/init panic=-1",
                "-drive", f"file={self._tree.image},format=raw,if=virtio,readonly=on",
                "-drive", f"file={disk},format=raw,if=virtio,cache=writeback",
            ]
            # fmt: on
            console = run(argv, cpu=cpu).replace(b"\r", b"")
        _, began, rest = console.partition(_BEGIN + b"\n")
        output, ended, status = rest.partition(_END)
        if not began or not ended or status.split()[:1] != [b"0"]:
            raise NotMeasuredError(f"the console ended with {console[-300:]!r}")
        return output

    def _initrd(self, script: bytes) -> bytes:
        modules = {path.name: path for path in self._modules.rglob("*.ko")}
        files = [
            _entry("init", _INIT.encode(), 0o755),
            _entry("busybox", self._tree.busybox.read_bytes(), 0o755),
            _entry("stdin", script, 0o644),
            *(_entry(f"{name}.ko", modules[f"{name}.ko"].read_bytes(), 0o644) for name in _MODULES),
            _entry("TRAILER!!!", b"", 0),
        ]
        return b"".join(files)


def _entry(name: str, content: bytes, mode: int) -> bytes:
    """One file of a "newc" cpio archive (Linux, buffer-format.rst)."""
    path = name.encode() + b"\0"
    # ino, mode, uid, gid, nlink, mtime, size, device and rdevice (two each), name's size, check
    fields = (0, stat.S_IFREG | mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
