"""A guest's vsock device, held by its monitor: Virtio 1.2, 5.10, over vhost-user.

One descriptor goes into the monitor's selector: an epoll of the device's own, in which sockets and
kicks are watched edge-triggered. So no event costs a change of registration, a socket that cannot
be served now does not keep the loop busy, and a kick is seen without being read.
"""

from __future__ import annotations

import _socket
import os
import select

from pyro_mcp.vsock.connections import Connections
from pyro_mcp.vsock.memory import GuestError
from pyro_mcp.vsock.vhost_user import RX, TX, VhostUser

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from pyro_mcp.vsock.virtqueue import Virtqueue

    class Watcher(Protocol):
        """One of `selectors`, or the monitor's own."""

        def register(self, fileobj: Any, events: int, data: Any, /) -> object:
            """Watch it for events: 1 is reading."""

        def unregister(self, fileobj: Any, /) -> object:
            """Watch it no more."""


_READABLE = 1  # selectors.EVENT_READ
_ROUNDS = 8
_PACKETS_AT_ONCE = 64
_TURNS_AT_ONCE = 64
_MOST_EVENTS = 256


class VsockDevice:
    """Backend of one guest's vsock device.

    `listener` is a bound and listening Unix stream socket; the first connection to it is the
    kernel's, and it is closed then. The device registers with `selector` under a callback as
    `data` that takes the event mask: `for key, mask in selector.select(): key.data(mask)`.

    `on_failure` is called once, with the reason, when the front end goes or breaks the protocol,
    or when a ring or packet is malformed. The device is closed before that.
    """

    def __init__(
        self,
        selector: Watcher,
        listener: _socket.socket,
        *,
        guest_cid: int,
        on_failure: Callable[[str], None],
    ) -> None:
        self._selector = selector
        self._listener: _socket.socket | None = listener
        self._guest_cid = guest_cid
        self._on_failure = on_failure
        self._closed = False
        self._front_end: VhostUser | None = None

        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._again = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._connections = Connections(self._epoll, self._handlers, guest_cid=guest_cid)
        self._watch(self._again, self._begin_again)
        listener.setblocking(False)
        self._watch(listener.fileno(), self._accept)
        selector.register(self._epoll, _READABLE, self._run)

    def listen(self, port: int, handler: Callable[[int], _socket.socket | None]) -> None:
        """Answer the guest's connections to host port `port`.

        `handler` gets the guest's port and gives the socket to pump to and from, which is the
        device's from then on, or None to refuse.
        """
        self._connections.listen(port, handler)

    def connect(
        self,
        port: int,
        sock: _socket.socket,
        *,
        on_open: Callable[[bool], None],
        ready: bytes = b"",
    ) -> None:
        """Connect `sock`, which is the device's from now on, to the guest's port `port`.

        `on_open` is called once: with True when the guest has accepted, before any byte of the
        guest is written to `sock` (`ready` is, if given, right after); with False when it refused,
        when the device or the guest's driver ends first, when the peer of `sock` goes first, and
        at once when the guest's driver is not up.
        """

        def opened(accepted: bool) -> None:
            on_open(accepted)
            if accepted and ready and sock.send(ready) != len(ready):
                raise OSError("no room for the first line in a fresh socket")

        if self._closed or not self._driver_is_up():
            on_open(False)
            sock.close()
            return
        self._connections.connect(port, sock, opened)
        self._wake()

    def close(self) -> None:
        """Release everything; idempotent. Connections not yet open are told False."""
        if self._closed:
            return
        self._closed = True
        self._selector.unregister(self._epoll)
        self._connections.close()
        if self._front_end is not None:
            self._front_end.close()
            self._front_end = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._epoll.close()
        os.close(self._again)
        self._handlers.clear()

    def _driver_is_up(self) -> bool:
        front_end = self._front_end
        return (
            front_end is not None
            and front_end.queue(RX) is not None
            and front_end.queue(TX) is not None
        )

    def _watch(self, descriptor: int, handler: Callable[[int], None]) -> None:
        self._epoll.register(descriptor, select.EPOLLIN)
        self._handlers[descriptor] = handler

    def _accept(self, _mask: int) -> None:
        listener = self._listener
        if listener is None:
            return
        try:
            descriptor, _ = listener._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return
        connection = _socket.socket(fileno=descriptor)
        self._handlers.pop(listener.fileno())
        self._epoll.unregister(listener)
        listener.close()
        self._listener = None
        self._front_end = front_end = VhostUser(
            connection,
            self._epoll,
            self._handlers,
            guest_cid=self._guest_cid,
            changed=self._queue_changed,
            kicked=_kicked,
        )
        self._watch(connection.fileno(), lambda _mask: self._front_end_event(front_end))

    def _front_end_event(self, front_end: VhostUser) -> None:
        if not front_end.read():
            # What the guest sent last is still in its memory.
            while self._take_packets():
                pass
            raise GuestError("the guest kernel closed its end")

    def _queue_changed(self) -> None:
        if not self._driver_is_up():
            # With its driver the guest forgets its streams.
            self._connections.close()

    def _run(self, _mask: int) -> None:
        """Deal with what there is, within bounds; what is left over is for the next call."""
        try:
            for _ in range(_ROUNDS):
                for descriptor, mask in self._epoll.poll(0, _MOST_EVENTS):
                    handler = self._handlers.get(descriptor)
                    if handler is not None:
                        handler(mask)
                    if self._closed:
                        return
                self._quiet()
                if not self._work() and not self._sleep():
                    return
                if self._closed:
                    return
            self._wake()
        except (GuestError, OSError) as error:
            self._fail(str(error))

    def _work(self) -> bool:
        """Move packets both ways; returns whether there is more to move now."""
        more = self._take_packets()
        return self._give_packets() or more

    def _take_packets(self) -> bool:
        queue = self._queue(TX)
        if queue is None:
            return False
        connections = self._connections
        for _ in range(min(queue.available(), _PACKETS_AT_ONCE)):
            if connections.choked:
                break
            head, parts = queue.readable()
            connections.take(parts)
            if self._closed:
                return False
            queue.finish(head, 0)
        self._interrupt(TX)
        return queue.available() > 0 and not connections.choked

    def _give_packets(self) -> bool:
        queue = self._queue(RX)
        if queue is None:
            return False
        connections = self._connections
        more = True
        for _ in range(_TURNS_AT_ONCE):
            more = connections.give(queue)
            if not more or self._closed:
                break
        if not self._closed:
            self._interrupt(RX)
        return more

    def _quiet(self) -> None:
        """While busy, the driver need not notify: both queues are looked at anyway."""
        for index in (RX, TX):
            queue = self._queue(index)
            if queue is not None:
                queue.want_notifications(False)

    def _sleep(self) -> bool:
        """Ask for the notifications that matter now; returns whether there is work after all."""
        connections = self._connections
        transmit = self._queue(TX)
        if transmit is not None and not connections.choked and transmit.want_notifications(True):
            return True
        receive = self._queue(RX)
        return receive is not None and connections.waiting and receive.want_notifications(True)

    def _interrupt(self, index: int) -> None:
        queue = self._queue(index)
        if queue is not None and self._front_end is not None and queue.driver_waits():
            self._front_end.interrupt(index)

    def _queue(self, index: int) -> Virtqueue | None:
        return None if self._front_end is None else self._front_end.queue(index)

    def _wake(self) -> None:
        os.eventfd_write(self._again, 1)

    def _begin_again(self, _mask: int) -> None:
        os.eventfd_read(self._again)

    def _fail(self, reason: str) -> None:
        if not self._closed:
            self.close()
            self._on_failure(reason)


def _kicked(_mask: int) -> None:
    """A kick only has to end the wait: the queues are looked at after every wait."""
