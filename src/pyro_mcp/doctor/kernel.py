"""What the host's kernel lets this user do: user namespaces and KVM, tried for real."""

from __future__ import annotations

import os
from typing import NamedTuple

from pyro_mcp.doctor.checks import Check, find_program

_KVM = "/dev/kvm"
_TRIAL_SECONDS = 20

_SWITCHES = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
        "kernel.apparmor_restrict_unprivileged_userns=0",
    ),
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
)  # fmt: skip
"""File, the value that forbids user namespaces, the setting that allows them."""


class Kvm(NamedTuple):
    """What `/dev/kvm` gives this user."""

    exists: bool
    readable: bool
    writable: bool
    runs_guest: bool
    detail: str


def kvm_probe() -> Kvm:
    """Look at KVM, and let it run a guest of a dozen instructions in 64-bit mode."""
    exists = os.path.exists(_KVM)  # noqa: PTH110
    readable, writable = os.access(_KVM, os.R_OK), os.access(_KVM, os.W_OK)
    if not (readable and writable):
        why = "cannot be opened by this user" if exists else "does not exist"
        return Kvm(exists, readable, writable, False, f"{_KVM} {why}")
    try:
        from pyro_mcp.machines.kvm_probe import probe
    except ImportError:  # a broken installation; another check says so
        return Kvm(exists, readable, writable, False, "not tried, for want of the probe")
    return Kvm(exists, readable, writable, *probe())


def kvm_check(kvm: Kvm) -> Check:
    """Only worth knowing: the engines there are need no KVM."""
    detail = f"{kvm.detail}; no engine uses it yet"
    return Check("kvm", kvm.runs_guest, detail, required=False)


def namespaces_check() -> Check:
    """A jail like a guest's, made by the kind of user that makes those, around `true`."""
    name = "user namespaces"
    bwrap, true = find_program("bwrap"), find_program("true")
    if bwrap is None or true is None:
        return Check(name, False, "not tried, for want of bwrap", required=False)
    from subprocess import DEVNULL, PIPE, STDOUT, TimeoutExpired, run

    from pyro_mcp.jail.limits import jail_uid

    uid = jail_uid()
    # fmt: off
    argv = [
        bwrap, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session",
        "--cap-drop", "ALL", "--ro-bind", "/", "/", "--", true,
    ]
    # fmt: on
    try:
        tried = run(
            argv, cwd="/", stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, timeout=_TRIAL_SECONDS,
            check=False, text=True, errors="replace",
            user=uid, group=uid, extra_groups=None if uid is None else [],
        )  # fmt: skip
    except (OSError, TimeoutExpired) as error:
        return Check(name, False, f"{bwrap} cannot be run: {error}", "Install bubblewrap again.")
    who = f"uid {os.geteuid() if uid is None else uid}"
    if tried.returncode == 0:
        return Check(name, True, f"a jail was made as {who}")
    said = tried.stdout.strip().replace("\n", " | ") or f"status {tried.returncode}"
    return Check(name, False, f"no jail can be made as {who}: {said}", namespace_remedy())


def namespace_remedy() -> str:
    """What to change so that user namespaces may be made; looks for what forbids them."""
    for file, forbids, setting in _SWITCHES:
        try:
            with open(file, encoding="ascii") as source:  # noqa: PTH123
                value = source.read().strip()
        except OSError:
            continue
        if value == forbids:
            return (
                f"As root: sysctl -w {setting}, and the same in a file below /etc/sysctl.d to "
                "keep it."
            )
    if any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv"))):
        return (
            "This is a container: start it with --security-opt seccomp=unconfined "
            "--security-opt systempaths=unconfined (and apparmor=unconfined where there is one)."
        )
    return "Let this user make user namespaces: look for a seccomp or LSM policy that forbids it."
