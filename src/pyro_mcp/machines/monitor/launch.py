"""Starting the jail: from a plan to a running process.

Plain fork and exec: the monitor has one thread here, and `subprocess` would cost more than the
jail takes to start.
"""

from __future__ import annotations

import os

from pyro_mcp.jail.staging import stage

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from collections.abc import Sequence

_FILTER, _WIRE = 3, 4


def start_jail(
    argv: Sequence[str],
    sources: dict[str, str],
    *,
    seccomp: bytes,
    limits: dict[str, int],
    uid: int | None,
    cpu: int | None,
    console: int,
    wire: int | None = None,
) -> int:
    """Start the jail described by `argv` and return the pid of its outermost process.

    `sources` are the host paths behind the placeholders of `argv`; `limits` are RLIMIT names and
    values; `uid` is the unprivileged host uid to run under (None: ours); `cpu` the one host CPU
    for the whole tree; its output goes to the descriptor `console`; its descriptor 4
    is `wire`, if there is one.
    """
    filter_file = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        os.write(filter_file, seccomp)
        os.lseek(filter_file, 0, os.SEEK_SET)
        pid = os.fork()
        if pid == 0:
            _become(
                argv,
                sources,
                filter_file,
                limits=limits,
                uid=uid,
                cpu=cpu,
                console=console,
                wire=wire,
            )
        return pid
    finally:
        os.close(filter_file)


def _become(
    argv: Sequence[str],
    sources: dict[str, str],
    filter_file: int,
    *,
    limits: dict[str, int],
    uid: int | None,
    cpu: int | None,
    console: int,
    wire: int | None,
) -> None:
    """Turn this forked child into the jail; never returns."""
    try:
        # Here and not above: the monitor needs them only once its jail is on its way.
        import _signal  # type: ignore[import-not-found]  # `signal` makes enums, at 3 ms
        import resource

        for number in (_signal.SIGPIPE, _signal.SIGINT):  # Python's own; a start resets no others
            _signal.signal(number, _signal.SIG_DFL)
        # What all processes of a host get when it shuts down is for the monitor alone, which has
        # the guest write out first. It ends the jail by SIGKILL.
        told_to_all = (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, told_to_all)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(console, 1)
        os.dup2(console, 2)
        # Nothing but these may cross: bubblewrap hands on whatever it inherits.
        os.dup2(filter_file, _FILTER)
        last = _FILTER
        if wire is not None:
            os.dup2(wire, _WIRE)
            last = _WIRE
        for descriptor in range(last + 1):
            # A descriptor that had its number already was not duplicated, and would close.
            os.set_inheritable(descriptor, True)
        os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        places = dict(sources)
        if uid is not None:
            places.update(stage(sources) or {})
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        places["seccomp"] = str(_FILTER)
        for name, value in limits.items():
            number = getattr(resource, name)
            hard = resource.getrlimit(number)[1]
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (bound, bound))
        os.execv(argv[0], [_fill(word, places) for word in argv])
    except BaseException as error:  # noqa: BLE001 - this is the child: it must not return
        os.write(2, f"pyro: cannot start the jail: {error}\n".encode())
    finally:
        os._exit(127)


def _fill(word: str, places: dict[str, str]) -> str:
    if word.startswith("{") and word.endswith("}"):
        return places[word[1:-1]]
    return word
