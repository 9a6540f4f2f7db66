"""Pseudo-terminals: the agent has the master, a guest's program the slave.

ioctl numbers are those of asm-generic/ioctls.h; see tty_ioctl(2) and pty(7).
"""

from __future__ import annotations

import fcntl
import os
from _struct import Struct

_TCGETS = 0x5401
_TCSETS = 0x5402
_TIOCGPGRP = 0x540F
_TIOCSWINSZ = 0x5414
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_SIZE = Struct("<4H")
_NUMBER = Struct("<i")
# struct termios of the kernel: four words of flags, the last of them local modes.
_TERMIOS_BYTES = 64
_LOCAL_MODES = 12
_CANONICAL = 2
_INPUT_MODES_HIGH = 1
_UTF8 = 0x40  # 0x4000 of the whole word


class Terminal:
    """One pair. The slave is kept open, so that the master has no end before `close_slave`.

    `directory` is a descriptor of the devpts to make it in. The slave is taken from the master,
    not by a path: in the guest's tree, anything may lie at that path.
    """

    def __init__(self, directory: int, cols: int, rows: int) -> None:
        self.master = os.open(
            "ptmx", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory
        )
        self.slave = -1
        try:
            fcntl.ioctl(self.master, _TIOCSPTLCK, _NUMBER.pack(0))
            how = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
            self.slave = fcntl.ioctl(self.master, _TIOCGPTPEER, how)
            modes = bytearray(self._modes())
            modes[_INPUT_MODES_HIGH] |= _UTF8
            fcntl.ioctl(self.slave, _TCSETS, bytes(modes))
            self.resize(cols, rows)
        except BaseException:
            self.close()
            raise

    def resize(self, cols: int, rows: int) -> None:
        """Give it another size; the kernel tells its foreground group by SIGWINCH."""
        fcntl.ioctl(self.master, _TIOCSWINSZ, _SIZE.pack(rows, cols, 0, 0))

    def foreground_group(self) -> int:
        """Number of the process group that the terminal's signals go to; 0 for none."""
        try:
            answer = fcntl.ioctl(self.master, _TIOCGPGRP, bytes(_NUMBER.size))
        except OSError:
            return 0
        return int(_NUMBER.unpack(answer)[0])

    def is_canonical(self) -> bool:
        """Whether the program in it gets input by lines, of which Linux keeps 4095 bytes each."""
        return bool(self._modes()[_LOCAL_MODES] & _CANONICAL)

    def _modes(self) -> bytes:
        return fcntl.ioctl(self.slave, _TCGETS, bytes(_TERMIOS_BYTES))

    def close_slave(self) -> None:
        """Let go of the slave: from then on the master has an end. May be called twice."""
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1

    def close(self) -> None:
        """Hang up. May be called twice."""
        self.close_slave()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1
