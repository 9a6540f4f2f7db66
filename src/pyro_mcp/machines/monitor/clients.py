"""The machine's unix socket: Firecracker's handshake, and verbs of our own.

A client sends one line and gets one line:

    CONNECT <port>    OK <port>    and from then on bytes to and from that vsock port
    STOP              OK stop      then the machine ends
    PUBLISH <name> <run> <host port>:<guest port> ...
                      OK <host port> ...             they listen as long as that service runs
                      NO <host port> <errno>         none does: this one cannot be had
    UNPUBLISH         OK unpublish                   all of them are closed, with what uses them
    UPLINK <json>     OK uplink                      the guest's interface leads to a gateway now
                      NO <reason>                    nothing has changed
                      GONE                           its kernel has no socket that could be used

A host port 0 is chosen by the system. CONNECT waits until the guest agent listens. A refused
CONNECT closes the connection, as Firecracker does (docs/vsock.md there).
"""

from __future__ import annotations

import _socket

from pyro_mcp.machines.monitor.polling import EVENT_READ

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.machines.monitor.polling import Selector
    from pyro_mcp.vsock.device import VsockDevice

    Publish = Callable[[list[bytes]], bytes]

_LONGEST_LINE = 64
_LONGEST = {b"PUBLISH": 1024, b"UPLINK": 256 * 1024}
_READ_AT_ONCE = 1024
_MOST_WAITING = 256


class Clients:
    """Accepts clients, and hands each to the vsock device once it has said where to."""

    def __init__(
        self,
        selector: Selector,
        listener: _socket.socket,
        device: VsockDevice,
        *,
        on_stop: Callable[[], None],
        publish: Publish,
        unpublish: Callable[[], None],
        uplink: Callable[[bytes], bytes],
    ) -> None:
        self._selector = selector
        self._listener = listener
        self._device = device
        self._on_stop = on_stop
        self._publish = publish
        self._unpublish = unpublish
        self._uplink = uplink
        self._greeting: dict[_socket.socket, bytearray] = {}
        self._waiting: list[tuple[int, _socket.socket]] = []
        self._ready = False
        listener.setblocking(False)
        selector.register(listener, EVENT_READ, self._accept)

    def guest_is_ready(self) -> None:
        """The agent listens: connect everyone who waited."""
        self._ready = True
        waiting, self._waiting = self._waiting, []
        for port, client in waiting:
            self._connect(port, client)

    def close(self) -> None:
        """Close the socket and everyone not yet handed on."""
        self._selector.unregister(self._listener)
        self._listener.close()
        for client in self._greeting:
            self._selector.unregister(client)
            client.close()
        for _, client in self._waiting:
            client.close()
        self._greeting.clear()
        self._waiting.clear()

    def _accept(self, _mask: int) -> None:
        try:
            descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]
        except OSError:  # it went away again, or we are out of descriptors: it sees a closed socket
            return
        client = _socket.socket(fileno=descriptor)
        if len(self._greeting) + len(self._waiting) >= _MOST_WAITING:
            client.close()
            return
        client.setblocking(False)
        self._greeting[client] = bytearray()
        self._selector.register(client, EVENT_READ, lambda _mask: self._greet(client))

    def _greet(self, client: _socket.socket) -> None:
        line = self._greeting[client]
        try:
            # One byte past the line belongs to the guest: never take more than the line.
            data = client.recv(_READ_AT_ONCE, _socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        end = data.find(b"\n")
        taken = client.recv(end + 1 if end >= 0 else len(data)) if data else b""
        line += taken
        longest = _LONGEST.get(bytes(line[:8]).partition(b" ")[0], _LONGEST_LINE)
        if not data or len(line) > longest:
            self._drop(client)
        elif end >= 0:
            self._selector.unregister(client)
            del self._greeting[client]
            self._obey(bytes(line), client)

    def _obey(self, line: bytes, client: _socket.socket) -> None:
        verb, _, rest = line.strip().partition(b" ")
        if verb == b"CONNECT" and rest.isdigit() and int(rest) < 2**32:
            if self._ready:
                self._connect(int(rest), client)
            else:
                self._waiting.append((int(rest), client))
        elif verb == b"STOP":
            client.send(b"OK stop\n")
            client.close()
            self._on_stop()
        elif verb == b"PUBLISH" and self._ready:
            client.send(self._publish(rest.split()))
            client.close()
        elif verb == b"UNPUBLISH":
            self._unpublish()
            client.send(b"OK unpublish\n")
            client.close()
        elif verb == b"UPLINK" and self._ready:
            client.send(self._uplink(rest))
            client.close()
        else:
            client.close()

    def _connect(self, port: int, client: _socket.socket) -> None:
        def opened(ok: bool) -> None:
            # The buffer of a fresh socket always has room for one line.
            if ok:
                client.send(b"OK %d\n" % port)

        self._device.connect(port, client, on_open=opened)

    def _drop(self, client: _socket.socket) -> None:
        self._selector.unregister(client)
        del self._greeting[client]
        client.close()
