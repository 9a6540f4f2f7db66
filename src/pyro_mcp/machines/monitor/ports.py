"""Published ports: what listens on this host's loopback for services of the guest.

A connection to one goes to the guest's relay over vsock, and is from then on a stream like any
other: credit in both directions, each end closed on its own. No byte of it passes through here.

A port listens exactly as long as its service runs: one request to the agent is open meanwhile,
whose answer, or whose end in any other way, closes it. Nothing that a guest does opens one.
"""

from __future__ import annotations

import contextlib
import socket

from pyro_mcp import protocol
from pyro_mcp.machines.monitor.polling import EVENT_READ

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from pyro_mcp.machines.monitor.polling import Selector
    from pyro_mcp.vsock.device import VsockDevice

HOST = "127.0.0.1"
MOST_FORWARDED = 512
"""Connections at once; further ones are closed as they come."""

_BACKLOG = 511
_ACCEPTS_AT_ONCE = 32
_DESCRIPTORS = 4 * MOST_FORWARDED


class Ports:
    """All published ports of one machine."""

    def __init__(self, selector: Selector, device: VsockDevice) -> None:
        self._selector = selector
        self._device = device
        self._publications: set[_Publication] = set()
        self._forwarded: set[socket.socket] = set()
        self._used = False

    def publish(self, words: list[bytes]) -> bytes:
        """Carry out the words behind PUBLISH; all ports or none. Returns the line to answer."""
        try:
            name, run = words[0].decode("ascii"), words[1].decode("ascii")
            pairs = [(int(host), int(guest)) for host, _, guest in map(_split, words[2:])]
        except (ValueError, IndexError):
            return b""
        if not pairs or not all(0 <= host < 2**16 and 0 < guest < 2**16 for host, guest in pairs):
            return b""
        publication = _Publication(self, name, run)
        for host, guest in pairs:
            try:
                publication.listen(host, guest)
            except OSError as error:
                publication.close()
                return b"NO %d %d\n" % (host, error.errno or 0)
        _allow_descriptors()
        self._publications.add(publication)
        publication.watch()
        return b"OK %b\n" % b" ".join(b"%d" % port for port in publication.host_ports)

    def in_use(self) -> bool:
        """Whether anything went through a port now or since the last call."""
        used, self._used = self._used, False
        self._forget_closed()
        return used or bool(self._forwarded)

    def forward(self, client: socket.socket, guest_port: int) -> None:
        """Connect a client to the guest's port; takes the socket."""
        self._used = True
        if len(self._forwarded) >= MOST_FORWARDED:
            self._forget_closed()
        if len(self._forwarded) >= MOST_FORWARDED:
            client.close()
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._forwarded.add(client)
        self._device.connect(protocol.RELAY_PORTS + guest_port, client, on_open=_nothing)

    def withdraw(self) -> None:
        """Close every port, and the connections that came through one."""
        self.close()
        for client in self._forwarded:
            if client.fileno() >= 0:
                # The device sees its end, and closes it.
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening everywhere; may be called twice."""
        for publication in tuple(self._publications):
            publication.close()

    def forget(self, publication: _Publication) -> None:
        """It has closed."""
        self._publications.discard(publication)

    def connect_agent(self) -> socket.socket:
        """A stream to the agent."""
        ours, guests = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        self._device.connect(protocol.AGENT_PORT, guests, on_open=_nothing)
        return ours

    def selector(self) -> Selector:
        """The monitor's."""
        return self._selector

    def _forget_closed(self) -> None:
        # The device closes a stream's socket when the stream is over.
        self._forwarded = {client for client in self._forwarded if client.fileno() >= 0}


class _Publication:
    """The ports of one start of a service."""

    def __init__(self, ports: Ports, name: str, run: str) -> None:
        self.host_ports: list[int] = []
        self._ports = ports
        self._request: dict[str, object] = {"op": "service_watch", "name": name, "run": run}
        self._listeners: list[socket.socket] = []
        self._agent: socket.socket | None = None
        self._decoder = protocol.Decoder(protocol.FROM_GUEST)

    def listen(self, host_port: int, guest_port: int) -> None:
        """Listen on the loopback, at a port of the system's choice for 0."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listeners.append(listener)
        listener.setblocking(False)
        # A former owner's connections may still be in their last state.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, host_port))
        listener.listen(_BACKLOG)
        self.host_ports.append(listener.getsockname()[1])
        self._ports.selector().register(
            listener, EVENT_READ, lambda _mask: self._accept(listener, guest_port)
        )

    def watch(self) -> None:
        """Have the agent say when the service has ended."""
        self._agent = agent = self._ports.connect_agent()
        agent.send(protocol.preamble() + protocol.json_frame(protocol.REQUEST, self._request))
        self._ports.selector().register(agent, EVENT_READ, self._agent_speaks)

    def close(self) -> None:
        """Listen no more; connections there are go on to their own end. May be called twice."""
        self._ports.forget(self)
        selector = self._ports.selector()
        agent, self._agent = self._agent, None
        if agent is not None:
            selector.unregister(agent)
            agent.close()
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            if selector.watches(listener):
                selector.unregister(listener)
            listener.close()

    def _agent_speaks(self, _mask: int) -> None:
        if self._agent is None:
            return
        try:
            data = self._agent.recv(4096)
            over = not data or bool(self._decoder.feed(data))
        except BlockingIOError:
            return
        except (OSError, protocol.ProtocolError):
            over = True
        if over:
            self.close()

    def _accept(self, listener: socket.socket, guest_port: int) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                client, _ = listener.accept()
            except OSError:  # no more, it went away again, or we are out of descriptors
                return
            self._ports.forward(client, guest_port)


def _split(word: bytes) -> tuple[bytes, bytes, bytes]:
    return word.partition(b":")


def _allow_descriptors() -> None:
    # One for each connection; the usual limit is for programs that use select(2).
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _nothing(_opened: bool) -> None:
    return
