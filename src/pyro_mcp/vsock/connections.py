"""All streams of one guest: packets from the guest in, packets to the guest out.

Fairness: streams that can send to the guest take turns, each with at most a few buffers. Nothing
the guest sends makes this wait: a packet is dealt with when it is taken. What is owed to the guest
is kept per stream as a set of operations, so it needs no queue that could grow; only resets of
unknown streams are queued, and `choked` says when to take no more packets until the guest has made
room for those (Virtio 1.2, 5.10.6.1).
"""

from __future__ import annotations

import errno
import select
from _collections import deque  # type: ignore[import-not-found]  # not all of `collections`

from pyro_mcp.vsock import chains, packet
from pyro_mcp.vsock.connection import BUFFER, Connection
from pyro_mcp.vsock.memory import GuestError

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from pyro_mcp.vsock.virtqueue import Virtqueue

MOST_CONNECTIONS = 512
"""With this many streams the guest opens no more; BUFFER times this bounds the host's memory."""

_MOST_RESETS = 256
_MOST_BUFFERS = 16
_MOST_PARTS = 1024  # UIO_MAXIOV: what one system call takes
_FIRST_PORT = 1 << 30
_LAST_PORT = (1 << 32) - 2

_HEADER = packet.HEADER
_HEADER_SIZE = _HEADER.size
_GONE = select.EPOLLHUP | select.EPOLLERR
_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET

_OWED_IN_ORDER = (packet.REQUEST, packet.RESPONSE, packet.CREDIT_UPDATE, packet.SHUTDOWN)


class Connections:
    """The table of streams. `epoll` and `handlers` are the owner's, who calls the handlers."""

    def __init__(
        self, epoll: select.epoll, handlers: dict[int, Callable[[int], None]], *, guest_cid: int
    ) -> None:
        self._epoll = epoll
        self._handlers = handlers
        self._guest_cid = guest_cid
        self._listeners: dict[int, Callable[[int], _socket.socket | None]] = {}
        self._table: dict[tuple[int, int], Connection] = {}
        self._draining: set[Connection] = set()
        self._next_port = _FIRST_PORT
        self._resets: dict[tuple[int, int, int, int], None] = {}
        self._owing: deque[Connection] = deque()
        self._ready: deque[Connection] = deque()

    def listen(self, port: int, handler: Callable[[int], _socket.socket | None]) -> None:
        """Let `handler` answer the guest's connections to this host port."""
        self._listeners[port] = handler

    def connect(self, port: int, sock: _socket.socket, on_open: Callable[[bool], None]) -> None:
        """Ask the guest for a stream to its port."""
        host_port = self._next_port
        while (host_port, port) in self._table:
            host_port = _following(host_port)
        self._next_port = _following(host_port)
        connection = Connection(sock, host_port=host_port, guest_port=port, on_open=on_open)
        if self._add(connection):
            self._owe(connection, packet.REQUEST)
        else:
            connection.opened(False)
            connection.close()

    @property
    def choked(self) -> bool:
        """So much is owed to the guest that no more of its packets should be taken."""
        return len(self._resets) >= _MOST_RESETS

    @property
    def waiting(self) -> bool:
        """There is something for the guest, given buffers."""
        return bool(self._resets or self._owing or self._ready)

    def close(self) -> None:
        """End all streams; the guest is told nothing."""
        ended = [*self._table.values(), *self._draining]
        self._table.clear()
        self._draining.clear()
        self._resets.clear()
        self._owing.clear()
        self._ready.clear()
        for connection in ended:
            self._release(connection)

    # From the guest.

    def take(self, parts: list[memoryview]) -> None:
        """Deal with one packet of the guest, given as the parts of its chain."""
        first = parts[0]
        if len(first) >= _HEADER_SIZE:
            fields = _HEADER.unpack_from(first)
            parts[0] = first[_HEADER_SIZE:]
        else:
            fields, parts = chains.gather_header(parts)
        source, target, guest_port, host_port, length, kind, operation, flags, alloc, count = fields
        payload = chains.trim(parts, length)
        if source != self._guest_cid:
            return
        if target != packet.HOST_CID or kind != packet.STREAM:
            self._answer_reset(operation, target, host_port, guest_port, kind)
            return
        connection = self._table.get((host_port, guest_port))
        if connection is None:
            if operation == packet.REQUEST:
                self._accept(host_port, guest_port, alloc, count)
            else:
                self._answer_reset(operation, target, host_port, guest_port, kind)
            return
        connection.take_credit(alloc, count)
        if operation == packet.RW and connection.open and not connection.guest_ended:
            if length and not connection.deliver(payload, length):
                self._reset(connection)
                return
        elif operation == packet.RST:
            self._guest_resets(connection)
            return
        elif operation == packet.RESPONSE and not connection.open:
            self._opened(connection)
            return
        elif operation == packet.SHUTDOWN and connection.open:
            connection.take_shutdown(flags)
            if flags & packet.NO_MORE == packet.NO_MORE:
                # The guest has closed it and waits for this to forget it (5.10.6.6).
                self._reset(connection, orderly=True)
                return
        elif operation == packet.CREDIT_REQUEST and connection.open:
            self._owe(connection, packet.CREDIT_UPDATE)
        elif operation != packet.CREDIT_UPDATE or not connection.open:
            self._reset(connection)
            return
        self._settle(connection)

    def _accept(self, host_port: int, guest_port: int, alloc: int, count: int) -> None:
        handler = self._listeners.get(host_port)
        sock = None
        if handler is not None and len(self._table) + len(self._draining) < MOST_CONNECTIONS:
            try:
                sock = handler(guest_port)
            except OSError:
                # No descriptor left, or whom it stands for is not there: the guest is refused.
                sock = None
            if sock is not None and self._epoll.closed:
                # The handler ended the device.
                sock.close()
                return
        if sock is None:
            self._queue_reset(packet.HOST_CID, host_port, guest_port, packet.STREAM)
            return
        # A guest that asks again has forgotten the stream that was to be reset.
        self._resets.pop((packet.HOST_CID, host_port, guest_port, packet.STREAM), None)
        connection = Connection(sock, host_port=host_port, guest_port=guest_port)
        connection.take_credit(alloc, count)
        if not self._add(connection):
            connection.close()
            self._queue_reset(packet.HOST_CID, host_port, guest_port, packet.STREAM)
            return
        connection.open = True
        self._owe(connection, packet.RESPONSE)
        self._settle(connection)

    def _opened(self, connection: Connection) -> None:
        connection.open = True
        connection.opened(True)
        # The callback may have closed everything.
        if (connection.host_port, connection.guest_port) in self._table:
            self._settle(connection)

    def _guest_resets(self, connection: Connection) -> None:
        if connection.guest_ended:
            # It had said that no more comes: what did come is still to be passed on.
            self._drain(connection)
        else:
            self._drop(connection)

    def _answer_reset(
        self, operation: int, cid: int, host_port: int, guest_port: int, kind: int
    ) -> None:
        if operation != packet.RST:
            self._queue_reset(cid, host_port, guest_port, kind)

    # Ends of streams.

    def _reset(self, connection: Connection, *, orderly: bool = False) -> None:
        """Tell the guest that it is over, and forget it."""
        self._queue_reset(
            packet.HOST_CID, connection.host_port, connection.guest_port, packet.STREAM
        )
        if orderly:
            self._drain(connection)
        else:
            self._drop(connection)

    def _queue_reset(self, cid: int, host_port: int, guest_port: int, kind: int) -> None:
        self._resets[cid, host_port, guest_port, kind] = None

    def _drain(self, connection: Connection) -> None:
        """Forget it, once the host has what is left for it."""
        self._table.pop((connection.host_port, connection.guest_port), None)
        connection.flush()
        if connection.pending and not connection.host_refuses:
            connection.draining = True
            self._draining.add(connection)
        else:
            self._release(connection)

    def _drop(self, connection: Connection) -> None:
        self._table.pop((connection.host_port, connection.guest_port), None)
        self._draining.discard(connection)
        self._release(connection)

    def _add(self, connection: Connection) -> bool:
        """Watch its socket; False when this host does not let it be watched."""
        number = connection.sock.fileno()
        try:
            self._epoll.register(number, _EVENTS)
        except OSError:
            return False
        self._table[connection.host_port, connection.guest_port] = connection
        self._handlers[number] = lambda mask: self._host_event(connection, mask)
        return True

    def _release(self, connection: Connection) -> None:
        connection.open = False
        connection.owed = 0
        number = connection.sock.fileno()
        if number >= 0:
            self._handlers.pop(number, None)
            self._epoll.unregister(number)
        connection.opened(False)
        connection.close()

    # From the host.

    def _host_event(self, connection: Connection, mask: int) -> None:
        if mask & ~select.EPOLLOUT:
            connection.readable = True
        if mask & _GONE and not connection.shut:
            connection.refuse()
            if not connection.open and not connection.draining:
                # Who asked for it has gone before the guest answered.
                self._reset(connection)
                return
        if mask & select.EPOLLOUT and connection.pending:
            connection.flush()
        if connection.draining:
            if connection.host_refuses or not connection.pending:
                self._drop(connection)
        else:
            self._settle(connection)

    def _settle(self, connection: Connection) -> None:
        """Owe what follows from the state the stream is in now."""
        if not connection.open:
            return
        if connection.ends() & ~connection.said:
            self._owe(connection, packet.SHUTDOWN)
        if connection.update_due():
            self._owe(connection, packet.CREDIT_UPDATE)
        if not connection.ready and connection.can_send():
            connection.ready = True
            self._ready.append(connection)

    def _owe(self, connection: Connection, operation: int) -> None:
        connection.owed |= 1 << operation
        if not connection.owing:
            connection.owing = True
            self._owing.append(connection)

    # To the guest.

    def give(self, queue: Virtqueue) -> bool:
        """One turn: pay one debt, or let one stream send; False when nothing could be done."""
        room = queue.available()
        if not room:
            return False
        if self._resets:
            self._give_reset(queue)
        elif self._owing:
            connection = self._owing.popleft()
            connection.owing = False
            if connection.owed:
                self._give_owed(queue, connection)
        elif self._ready:
            connection = self._ready.popleft()
            connection.ready = False
            if connection.can_send():
                self._give_data(queue, connection, room)
        else:
            return False
        return True

    def _give_reset(self, queue: Virtqueue) -> None:
        key = next(iter(self._resets))
        del self._resets[key]
        cid, host_port, guest_port, kind = key
        header = _HEADER.pack(
            cid, self._guest_cid, host_port, guest_port, 0, kind, packet.RST, 0, 0, 0
        )
        chains.put(queue, header)

    def _give_owed(self, queue: Virtqueue, connection: Connection) -> None:
        for operation in _OWED_IN_ORDER:
            if connection.owed & (1 << operation):
                break
        connection.owed &= ~(1 << operation)
        flags = 0
        if operation == packet.SHUTDOWN:
            flags = connection.said = connection.ends()
        chains.put(queue, self._header(connection, operation, flags, 0))
        if flags == packet.NO_MORE:
            self._drop(connection)
        elif connection.owed:
            connection.owing = True
            self._owing.append(connection)

    def _give_data(self, queue: Virtqueue, connection: Connection, room: int) -> None:
        limit = connection.credit()
        offered = min(room, connection.appetite)
        offers: list[tuple[int, list[memoryview], int]] = []
        targets: list[memoryview] = []
        space = 0
        while len(offers) < offered and space < limit:
            before = len(targets)
            head, parts = queue.writable(len(offers))
            first = parts[0]
            if len(first) > _HEADER_SIZE and len(parts) == 1:
                body = first[_HEADER_SIZE:]
                size = len(body)
                if space + size > limit:
                    size = limit - space
                    body = body[:size]
                targets.append(body)
            else:
                size = chains.offer(parts, limit - space, targets)
            if len(targets) > _MOST_PARTS:
                del targets[before:]
                break
            offers.append((head, parts, size))
            space += size
        got = self._receive(connection, targets)
        if got <= 0:
            return
        # A read that was filled may go on: offer more next time.
        connection.appetite = min(_MOST_BUFFERS, 2 * offered) if got == space else 1
        for head, parts, size in offers:
            used = min(size, got)
            connection.sent += used
            header = self._header(connection, packet.RW, 0, used)
            if len(parts[0]) >= _HEADER_SIZE:
                parts[0][:_HEADER_SIZE] = header
            else:
                chains.scatter(parts, header)
            queue.finish(head, _HEADER_SIZE + used)
            got -= used
            if not got:
                break
        self._settle(connection)

    def _receive(self, connection: Connection, targets: list[memoryview]) -> int:
        """Bytes read from the host socket into guest memory, 0 when there were none."""
        try:
            if len(targets) == 1:
                got = connection.sock.recv_into(targets[0])
            else:
                got = connection.sock.recvmsg_into(targets)[0]
        except BlockingIOError:
            connection.readable = False
            return 0
        except OSError as error:
            if error.errno == errno.EFAULT:
                raise GuestError("guest memory cannot be written") from error
            self._reset(connection)
            return 0
        if got == 0:
            connection.host_ended = True
            self._settle(connection)
        return got

    def _header(self, connection: Connection, operation: int, flags: int, length: int) -> bytes:
        # Every packet tells the room there is.
        connection.told = connection.forwarded
        connection.owed &= ~(1 << packet.CREDIT_UPDATE)
        return _HEADER.pack(
            packet.HOST_CID,
            self._guest_cid,
            connection.host_port,
            connection.guest_port,
            length,
            packet.STREAM,
            operation,
            flags,
            BUFFER,
            connection.forwarded & packet.COUNTS,
        )


def _following(port: int) -> int:
    return port + 1 if port < _LAST_PORT else _FIRST_PORT
