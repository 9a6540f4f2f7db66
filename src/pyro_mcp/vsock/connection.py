"""One stream between a guest port and a host socket: bytes, credit and ends of both directions.

Guest to host, bytes go from guest memory straight into the socket. What the socket does not take
waits in `pending`, and counts as received but not as forwarded, so the guest's credit ends before
`pending` exceeds BUFFER: a host peer that does not read stalls its own stream and nothing else.

Host to guest, bytes are received straight into guest memory, never more than the guest's credit;
without credit the socket is not read, and its peer waits.
"""

from __future__ import annotations

import _socket
import errno

from pyro_mcp.vsock.memory import GuestError
from pyro_mcp.vsock.packet import COUNTS, NO_MORE, NO_RECEIVE, NO_SEND

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BUFFER = 256 * 1024
"""What the guest may have sent without the host socket having taken it, in bytes."""

_TELL = BUFFER // 4
_SCRATCH = 64 * 1024
_MOST_DISCARDS = 32


class Connection:
    """One stream. It owns its socket; tables, rings and packets are its owner's."""

    __slots__ = (
        "appetite",
        "draining",
        "forwarded",
        "guest_alloc",
        "guest_ended",
        "guest_forwarded",
        "guest_port",
        "guest_refuses",
        "host_ended",
        "host_port",
        "host_refuses",
        "on_open",
        "open",
        "owed",
        "owing",
        "pending",
        "readable",
        "ready",
        "said",
        "sent",
        "shut",
        "sock",
        "told",
    )

    def __init__(
        self,
        sock: _socket.socket,
        *,
        host_port: int,
        guest_port: int,
        on_open: Callable[[bool], None] | None = None,
    ) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.host_port = host_port
        self.guest_port = guest_port
        self.on_open = on_open
        self.open = False
        """Both sides agreed to it."""
        self.draining = False
        """The guest is done with it; only `pending` is still to go to the host."""

        self.pending = bytearray()
        self.forwarded = 0
        self.told = 0
        """`forwarded`, as last told to the guest."""

        self.sent = 0
        self.guest_alloc = 0
        self.guest_forwarded = 0
        self.readable = False
        """The socket may have something: edge-triggered, so true until it says it has not."""
        self.appetite = 1
        """How many guest buffers the next read is offered."""

        self.host_ended = False
        self.host_refuses = False
        self.guest_ended = False
        self.guest_refuses = False
        self.shut = False
        self.said = 0
        """The SHUTDOWN flags the guest has been told."""

        self.owed = 0
        """Bit n: a packet with operation n is to be sent to the guest."""
        self.owing = False
        """It stands in its owner's queue of those that owe."""
        self.ready = False
        """It stands in its owner's queue of those that can send to the guest."""

    def take_credit(self, alloc: int, forwarded: int) -> None:
        """What a packet of the guest says about its buffer."""
        self.guest_alloc = alloc
        self.guest_forwarded = forwarded

    def credit(self) -> int:
        """Bytes the guest has room for."""
        under_way = (self.sent - self.guest_forwarded) & COUNTS
        return max(0, self.guest_alloc - under_way)

    def can_send(self) -> bool:
        """Whether there may be bytes for the guest, and room for them."""
        return (
            self.readable
            and self.open
            and not self.host_ended
            and not self.guest_refuses
            and self.credit() > 0
        )

    def deliver(self, parts: Sequence[memoryview], length: int) -> bool:
        """Pass on what the guest sent; False when it sent more than its credit."""
        if self.host_refuses:
            self.forwarded += length
            return True
        pending = self.pending
        sent = 0
        if len(pending) + length > BUFFER:
            return False
        if not pending:
            try:
                sent = self.sock.sendmsg(parts) if len(parts) > 1 else self.sock.send(parts[0])
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno == errno.EFAULT:
                    raise GuestError("guest memory cannot be read") from error
                self.refuse()
                sent = length
            self.forwarded += sent
            if sent == length:
                return True
        for part in parts:
            pending += part[sent:]
            sent = max(0, sent - len(part))
        return True

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        pending = self.pending
        while pending and not self.host_refuses:
            try:
                sent = self.sock.send(pending)
            except BlockingIOError:
                return
            except OSError:
                self.refuse()
                return
            self.forwarded += sent
            del pending[:sent]

    def refuse(self) -> None:
        """The host peer takes nothing any more: what waits for it counts as forwarded."""
        self.host_refuses = True
        self.forwarded += len(self.pending)
        self.pending.clear()

    def update_due(self) -> bool:
        """Whether the guest should hear about room it does not know of."""
        return self.forwarded - self.told >= _TELL

    def ends(self) -> int:
        """Do what the ends seen so far ask for; returns the SHUTDOWN flags that now hold."""
        if self.guest_ended and not self.pending and not self.shut and not self.host_refuses:
            self.shut = True
            self._shutdown(_socket.SHUT_WR)
        if (self.host_ended or self.guest_refuses) and (self.shut or self.host_refuses):
            return NO_MORE
        return (NO_SEND if self.host_ended else 0) | (NO_RECEIVE if self.host_refuses else 0)

    def take_shutdown(self, flags: int) -> None:
        """The guest's own SHUTDOWN; flags once set stay (Virtio 1.2, 5.10.6.6)."""
        if flags & NO_RECEIVE and not self.guest_refuses:
            self.guest_refuses = True
            self._shutdown(_socket.SHUT_RD)
        if flags & NO_SEND:
            self.guest_ended = True

    def opened(self, accepted: bool) -> None:
        """Tell who asked for the connection; at most once."""
        tell, self.on_open = self.on_open, None
        if tell is not None:
            try:
                tell(accepted)
            except OSError:
                # It wrote to a socket whose peer has gone, which its events say as well.
                self.refuse()

    def close(self) -> None:
        """Release the socket; a Unix peer then sees an end, not a reset."""
        self._shutdown(_socket.SHUT_RD)
        # A Unix socket that is closed with unread data resets its peer, which would hide the end
        # of what the guest sent. After the shutdown nothing is added.
        scratch = bytearray(_SCRATCH) if self.readable else b""
        for _ in range(_MOST_DISCARDS if scratch else 0):
            try:
                if not self.sock.recv_into(scratch):
                    break
            except OSError:
                break
        self.sock.close()

    def _shutdown(self, how: int) -> None:
        try:
            self.sock.shutdown(how)
        except OSError:
            # Its peer has gone, or it was never connected.
            return
