"""Program between pyro and a tool: ends the tool and all it started when pyro is gone.

Run as `python -I -S keeper.py FD[unflushed] ARGV...`; standard library only, imports nothing of
pyro. With the word `unflushed` right behind the number, the tool's fsync calls do nothing.

FD is the read end of a pipe whose write end only the owner holds. The kernel closes that end
however the owner ends, also by SIGKILL, and that is the signal to end everything. Descendants that
leave the process group, or lose their parent, become children of the keeper (it is their
subreaper), so none is missed. The exit status is the tool's, 128 + n when signal n ended it.
"""

import ctypes
import os
import signal
import struct
import sys
from pathlib import Path

UNFLUSHED = "unflushed"
_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_CHILD_SUBREAPER = 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl

_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_X86_64 = 0xC000003E  # linux/audit.h
_FLUSHES = (74, 75)  # fsync, fdatasync on x86-64

CANNOT_START = 127


def main() -> int:
    """Start the tool, wait for it or for the end of the owner, leave no process."""
    lifeline = int(sys.argv[1].removesuffix(UNFLUSHED))
    os.set_inheritable(lifeline, False)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # A terminal's Ctrl-C reaches the owner, and the owner decides; a second opinion here would
    # end the tool before the owner knows why.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    # SIGCHLD and the lifeline are waited for together.
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    tool = _start(sys.argv[2:], unflushed=sys.argv[1].endswith(UNFLUSHED))
    status = _wait(tool, lifeline, wake)
    _end_descendants()
    return status


def _start(argv: list[str], *, unflushed: bool) -> int:
    keeper = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper:
            os._exit(CANNOT_START)
        for usual in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(usual, signal.SIG_DFL)
        # Python ignores these for itself; a tool that writes into a closed pipe should end.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if unflushed:
            _leave_flushes_out()
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(CANNOT_START)


def _leave_flushes_out() -> None:
    # What the tool writes is of no use before its reader is done with it, and a busy disk would
    # hold it up for seconds. Where the filter is refused it flushes: slower, no less right.
    def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", code, yes, no, value)

    load, equal, answer = 0x20, 0x15, 0x06  # linux/bpf_common.h
    steps = [step(load, 4), step(equal, _X86_64, 0, 3), step(load, 0)]
    steps += [step(equal, _FLUSHES[0], 2), step(equal, _FLUSHES[1], 1)]
    steps += [step(answer, 0x7FFF0000), step(answer, 0x00050000)]  # allow; error number 0
    program = ctypes.create_string_buffer(b"".join(steps))
    described = ctypes.create_string_buffer(
        struct.pack("@HP", len(steps), ctypes.addressof(program))
    )
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, described, 0, 0)


def _wait(tool: int, lifeline: int, wake: int) -> int:
    import select

    while True:
        ready, _, _ = select.select([lifeline, wake], [], [])
        if lifeline in ready:
            return 128 + signal.SIGKILL
        os.read(wake, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == tool:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if pid == 0:
                break


def _end_descendants() -> None:
    # Children of a killed child become ours, so this reaches the leaves round by round.
    while True:
        for pid in _children():
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    me = os.getpid()
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            # The name in the second field may contain spaces and brackets.
            if int(stat.rpartition(")")[2].split()[1]) == me:
                found.append(int(entry))
    return found


if __name__ == "__main__":
    sys.exit(main())
