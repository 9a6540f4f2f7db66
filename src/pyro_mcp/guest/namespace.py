"""Sandboxes: PID and mount namespaces in which one command runs, made before it is known.

A namespace belongs to the thread that made it, and a child lands in the namespaces of the thread
that started it. So each sandbox has a thread of the agent's: it enters new namespaces, starts
their PID 1, waits for its command, starts that and ends. The agent itself is never copied:
fork costs 11 ms here, posix_spawn 1 to 3.
"""

from __future__ import annotations

import _thread
import errno
import os

from pyro_mcp import protocol
from pyro_mcp.guest import init_program, system
from pyro_mcp.guest import loop as events
from pyro_mcp.guest.requests import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.loop import Loop
    from pyro_mcp.guest.requests import Launch

    Stdio = tuple[int, int, int]
    OnSpawned = Callable[[int | RefusedError], None]

_TERM, _KILL = 15, 9
# Python ignores these two, and a child would go on ignoring them.
_DEFAULT_SIGNALS = (13, 25)
_THREAD_STACK = 256 * 1024
_ABSENT = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR)


class Ground:
    """What all sandboxes stand on; made once, after the disks are mounted.

    `members` is the file of the control group that a sandbox's thread enters, and with it all
    that it starts.
    """

    def __init__(self, root: str, scratch: str, members: int) -> None:
        self.root = root
        self.members = members
        # The two lie outside of `root`: descriptors, since a sandbox cannot name them.
        program = f"{scratch}/init"
        with open(program, "wb") as file:  # noqa: PTH123 - pathlib costs start-up time
            file.write(init_program.executable())
        os.chmod(program, 0o755)  # noqa: PTH101
        self.programs = os.open(scratch, os.O_PATH | os.O_CLOEXEC)
        self.proc = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        _thread.stack_size(_THREAD_STACK)


class Sandbox:
    """One pair of namespaces with its PID 1.

    `on_ready` gets None, or the error that kept it from being made. `on_ended` may be set by who
    takes the sandbox: called once when PID 1 and with it every other process has ended.
    """

    def __init__(
        self, loop: Loop, ground: Ground, on_ready: Callable[[Sandbox, OSError | None], None]
    ) -> None:
        self.on_ended: Callable[[], None] | None = None
        self.ended = False
        self._loop = loop
        self._ground = ground
        self._on_ready = on_ready
        self._go = _thread.allocate_lock()
        self._go.acquire()
        self._released = False
        self._job: tuple[Launch, Stdio, OnSpawned] | None = None
        self._init = 0
        self._init_handle = -1
        self._signals = -1
        self._proc = -1
        try:
            _thread.start_new_thread(self._live, ())
        except RuntimeError:
            error = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            loop.call_from_thread(lambda: on_ready(self, error))

    def spawn(self, launch: Launch, stdio: Stdio, on_spawned: OnSpawned) -> None:
        """Start the command; only once. `on_spawned` gets its pid, or why it did not start."""
        self._job = (launch, stdio, on_spawned)
        self._release_thread()

    def terminate(self) -> None:
        """Send TERM to every process but PID 1."""
        try:
            os.write(self._signals, bytes((_TERM,)))
        except OSError:
            return  # it has ended

    def empty(self) -> bool:
        """Whether no process but PID 1 is left."""
        try:
            names = os.listdir(self._proc)  # noqa: PTH208 - of a descriptor
        except OSError:
            return True  # it has ended
        return not any(name.isdigit() and name != "1" for name in names)

    def kill(self) -> None:
        """Kill PID 1 and with it every process; `on_ended` follows. May be called twice."""
        self._release_thread()
        if self._init and not self.ended:
            os.kill(self._init, _KILL)

    def _release_thread(self) -> None:
        if not self._released:
            self._released = True
            self._go.release()

    def _live(self) -> None:
        error = None
        try:
            self._prepare()
        except Exception as failure:  # noqa: BLE001 - a thread has nobody else to tell
            error = failure if isinstance(failure, OSError) else OSError(str(failure))
            self._undo()
        self._loop.call_from_thread(lambda: self._ready(error))
        if error is not None:
            return
        self._go.acquire()
        job = self._job
        if job is None:
            return
        launch, stdio, on_spawned = job
        outcome: int | RefusedError
        try:
            outcome = _start(launch, stdio)
        except RefusedError as refusal:
            outcome = refusal
        except Exception as failure:  # noqa: BLE001 - a thread has nobody else to tell
            outcome = RefusedError(protocol.ERROR_CANNOT_START, f"the agent failed: {failure}")
        self._loop.call_from_thread(lambda: on_spawned(outcome))

    def _prepare(self) -> None:
        ground = self._ground
        # 0 is the thread that writes.
        os.write(ground.members, b"0")
        system.unshare(system.CLONE_NEWPID | system.CLONE_NEWNS | system.CLONE_FS)
        system.enter_root(ground.root)
        reader, self._signals = os.pipe()
        try:
            os.fchdir(ground.programs)
            # By a name relative to a directory outside of the new root.
            self._init = os.posix_spawn(
                "./init",
                ("init",),
                {},
                file_actions=(
                    (os.POSIX_SPAWN_DUP2, reader, 0),
                    (os.POSIX_SPAWN_DUP2, ground.null, 1),
                    (os.POSIX_SPAWN_DUP2, ground.null, 2),
                ),
                setsid=True,
            )
        finally:
            os.close(reader)
        os.fchdir(ground.proc)
        system.mount(
            "proc",
            "/proc",
            "proc",
            system.MS_NOSUID | system.MS_NODEV | system.MS_NOEXEC,
            "pidns=thread-self/ns/pid_for_children",
        )
        self._proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.chdir("/")
        self._init_handle = os.pidfd_open(self._init)

    def _undo(self) -> None:
        if self._init:
            os.kill(self._init, _KILL)
            os.waitpid(self._init, 0)
        self._release()

    def _ready(self, error: OSError | None) -> None:
        if error is None:
            self._loop.watch(self._init_handle, events.IN, self._init_ended)
        self._on_ready(self, error)

    def _init_ended(self, _events: int) -> None:
        if os.waitpid(self._init, os.WNOHANG)[0] == 0:
            return
        self.ended = True
        self._loop.forget(self._init_handle)
        self._release()
        self._release_thread()
        if self.on_ended is not None:
            self.on_ended()

    def _release(self) -> None:
        for name in ("_signals", "_proc", "_init_handle"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                setattr(self, name, -1)
                os.close(descriptor)


def _start(launch: Launch, stdio: Stdio) -> int:
    if launch.cwd == protocol.WORKSPACE.encode():
        try:  # noqa: SIM105 - contextlib costs start-up time
            os.mkdir(launch.cwd)  # noqa: PTH102
        except OSError:
            pass  # there already, or chdir says what is wrong
    try:
        os.chdir(launch.cwd)
    except OSError as error:
        place = launch.cwd.decode(errors="replace")
        raise RefusedError(protocol.ERROR_NO_SUCH_DIRECTORY, f"{place}: {error.strerror}") from None
    actions: list[tuple[object, ...]] = [
        (os.POSIX_SPAWN_DUP2, stdio[number], number) for number in range(3)
    ]
    if launch.terminal:
        # A terminal becomes its session's by being opened. Not to wait: a guest may have put
        # something else there.
        how = os.O_RDWR | os.O_NONBLOCK
        actions += (
            (os.POSIX_SPAWN_OPEN, 3, "/proc/self/fd/0", how, 0),
            (os.POSIX_SPAWN_CLOSE, 3),
        )
    for program, words in launch.programs:
        try:
            return os.posix_spawn(
                program,
                words,
                launch.environment,
                file_actions=actions,
                setsid=True,
                setsigmask=(),
                setsigdef=_DEFAULT_SIGNALS,
            )
        except OSError as error:
            if error.errno in _ABSENT and program != launch.programs[-1][0]:
                continue
            if error.errno == errno.E2BIG:
                why = "the command and its variables are too long: Linux takes 128 KiB of one"
                raise RefusedError(protocol.ERROR_TOO_LARGE, why) from None
            why = f"{program.decode()}: {_cause(error)}"
            raise RefusedError(protocol.ERROR_CANNOT_START, why) from None
    raise RefusedError(protocol.ERROR_CANNOT_START, "there is nothing to run")


def _cause(error: OSError) -> str:
    if error.errno == errno.EAGAIN:
        return "the machine has too many processes"
    return str(error.strerror)
