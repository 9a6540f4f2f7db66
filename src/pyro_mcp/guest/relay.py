"""From vsock to TCP: what the host forwards to a published port.

The only targets are ports of this guest's loopback which a running service has named; a relay
never leads out of the guest, and only the host can connect to one.
"""

from __future__ import annotations

import _socket
import errno

from pyro_mcp.guest import loop as events
from pyro_mcp.guest.channel import SCRATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.loop import Loop, Timer

    Listen = Callable[[int], _socket.socket]

_HOSTS = ("127.0.0.1", "::1")
_CONNECT_SECONDS = 10.0
_ACCEPT_AGAIN_SECONDS = 0.1
_ACCEPTS_AT_ONCE = 64
_MOVES_AT_ONCE = 8


class Relays:
    """The ports that are relayed now. `listen` gives a listening, non-blocking socket for one."""

    def __init__(self, loop: Loop, listen: Listen, log: Callable[[str], None]) -> None:
        self._loop = loop
        self._listen = listen
        self._log = log
        self._ports: dict[int, tuple[_socket.socket, int]] = {}

    def open(self, port: int) -> None:
        """Relay connections to this port, until it was closed as often as it was opened."""
        known = self._ports.get(port)
        if known is not None:
            self._ports[port] = (known[0], known[1] + 1)
            return
        listener = self._listen(port)
        self._ports[port] = (listener, 1)
        self._watch(port, listener)

    def close(self, port: int) -> None:
        """Undo `open`. Connections there are go on to their own end."""
        listener, users = self._ports[port]
        if users > 1:
            self._ports[port] = (listener, users - 1)
            return
        del self._ports[port]
        self._loop.forget(listener.fileno())
        listener.close()

    def _watch(self, port: int, listener: _socket.socket) -> None:
        if listener.fileno() >= 0:
            self._loop.watch(
                listener.fileno(), events.IN, lambda _events: self._accept(port, listener)
            )

    def _accept(self, port: int, listener: _socket.socket) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                descriptor, _ = listener._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                return
            except OSError as error:
                # No descriptor or memory for it: others have to end first.
                self._log(f"a connection to port {port} could not be accepted: {error}")
                self._loop.forget(listener.fileno())
                self._loop.call_in(_ACCEPT_AGAIN_SECONDS, lambda: self._watch(port, listener))
                return
            sock = _socket.socket(fileno=descriptor)
            sock.setblocking(False)
            _Relay(self._loop, sock, port)


class _Relay:
    """One connection: connects to the service, then moves bytes both ways."""

    def __init__(self, loop: Loop, host: _socket.socket, port: int) -> None:
        self._loop = loop
        self._host = host
        self._port = port
        self._addresses = list(_HOSTS)
        self._service: _socket.socket | None = None
        self._directions: tuple[_Direction, ...] = ()
        self._timer: Timer | None = None
        self._connect()

    def _connect(self) -> None:
        while self._addresses:
            address = self._addresses.pop(0)
            family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
            try:
                sock = _socket.socket(family, _socket.SOCK_STREAM)
                self._service = sock
                sock.setblocking(False)
                sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
                code = sock.connect_ex((address, self._port))
                if code == errno.EINPROGRESS:
                    # On the loopback it is settled by the time the first call returns.
                    code = sock.connect_ex((address, self._port))
            except OSError:
                self._drop_service()
                continue
            if code == 0:
                self._connected()
                return
            if code in (errno.EINPROGRESS, errno.EALREADY):
                self._timer = self._loop.call_in(_CONNECT_SECONDS, self._close, self._fail)
                self._loop.watch(sock.fileno(), events.OUT, self._resolved, self._fail)
                return
            self._drop_service()
        # Nobody listens: the host closes its side's connection at once.
        self._close()

    def _resolved(self, _events: int) -> None:
        self._loop.cancel(self._timer)
        sock = self._service
        if sock is None or self._directions:
            return
        if sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR):
            self._drop_service()
            self._connect()
        else:
            self._connected()

    def _connected(self) -> None:
        assert self._service is not None
        self._directions = (
            _Direction(self._host, self._service),
            _Direction(self._service, self._host),
        )
        self._work(0)

    def _work(self, _events: int) -> None:
        if not self._directions:
            return
        try:
            more = [direction.move() for direction in self._directions]
        except OSError:
            # One side has broken off, and so the other is broken off.
            self._close()
            return
        if all(direction.ended for direction in self._directions):
            self._close()
        elif any(more):
            self._loop.call_in(0, lambda: self._work(0), self._fail)
        else:
            self._watch()

    def _watch(self) -> None:
        assert self._service is not None
        inwards, outwards = self._directions
        for sock, reading, writing in (
            (self._host, inwards, outwards),
            (self._service, outwards, inwards),
        ):
            wanted = (events.IN if reading.wants_input else 0) | (
                events.OUT if writing.wants_room else 0
            )
            if wanted:
                self._loop.watch(sock.fileno(), wanted, self._work, self._fail)
            else:
                self._loop.forget(sock.fileno())

    def _fail(self, _error: Exception) -> None:
        self._close()

    def _drop_service(self) -> None:
        sock, self._service = self._service, None
        if sock is not None:
            self._loop.forget(sock.fileno())
            sock.close()

    def _close(self) -> None:
        self._loop.cancel(self._timer)
        self._directions = ()
        self._drop_service()
        if self._host.fileno() >= 0:
            self._loop.forget(self._host.fileno())
            self._host.close()


class _Direction:
    """Bytes from one socket to another.

    Through memory of the agent: splice(2) is no faster from TCP to vsock, and three times slower
    from vsock to TCP. Nothing is read while something waits for room, so a side that does not
    read holds back the other.
    """

    def __init__(self, source: _socket.socket, target: _socket.socket) -> None:
        self._source = source
        self._target = target
        self._held = memoryview(b"")
        self._source_ended = False
        self.ended = False

    @property
    def wants_input(self) -> bool:
        """Whether it waits for the source."""
        return not self._held and not self._source_ended

    @property
    def wants_room(self) -> bool:
        """Whether it waits for the target."""
        return bool(self._held)

    def move(self) -> bool:
        """Move what can be moved now; True when there may be more at once."""
        for _ in range(_MOVES_AT_ONCE):
            if self.ended:
                return False
            if not self._held:
                view = SCRATCH.view
                try:
                    size = self._source.recv_into(view)
                except BlockingIOError:
                    return False
                if not size:
                    self._source_ended = self.ended = True
                    self._target.shutdown(_socket.SHUT_WR)
                    return False
                try:
                    sent = self._target.send(view[:size])
                except BlockingIOError:
                    sent = 0
                SCRATCH.filled(size)
                if sent < size:
                    self._held = memoryview(bytes(view[sent:size]))
                    return False
            else:
                try:
                    self._held = self._held[self._target.send(self._held) :]
                except BlockingIOError:
                    return False
                if self._held:
                    return False
        return True
