"""TCP of the guest: each connection is judged, then made from the host, then let in.

The guest's SYN gets no answer before the host's own connection stands: so the guest sees what the
host would see, a refusal as a refusal and a silent address as silence. A connection that the
policy refuses is reset at once.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from pyro_mcp import protocol
from pyro_mcp.network import namespace, packets
from pyro_mcp.network.loop import READ, WRITE, Loop
from pyro_mcp.network.namespace import GATEWAY_MAC, Wires
from pyro_mcp.network.record import TOO_MANY, Attempt
from pyro_mcp.network.relay import Relay, bound

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.network.judge import Judge
    from pyro_mcp.network.packets import Packet
    from pyro_mcp.network.record import Record

    OnQuestions = Callable[[socket.socket], None]

_Key = tuple[bytes, int, bytes, int]
_MOST_BEGINNING = 512
_MOST_CARRIED = 2048
_ACCEPT_SECONDS = 20.0
_ACCEPT_AT_ONCE = 64
_DNS_PORT = 53
_UNREACHABLE = frozenset((errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM))
_RESOLVERS = frozenset(
    socket.inet_pton(family, address)
    for family, address in (
        (socket.AF_INET, protocol.GATEWAY_IP),
        (socket.AF_INET6, protocol.GATEWAY_IP6),
    )
)


_QUESTIONS = Attempt("dns", None, None, None, "allowed", "")


class _Beginning(NamedTuple):
    """A connection that the guest has asked for and does not have yet."""

    frame: bytes
    packet: Packet
    attempt: Attempt
    host: socket.socket | None
    """Ours to the destination; None for questions to the resolver."""
    since: float


class Connections:
    """All connections of one guest."""

    def __init__(
        self, loop: Loop, wires: Wires, judge: Judge, record: Record, on_questions: OnQuestions
    ) -> None:
        """`on_questions` gets the accepted connections to the resolver."""
        self._loop = loop
        self._wires = wires
        self._judge = judge
        self._record = record
        self._on_questions = on_questions
        self._connecting: dict[_Key, _Beginning] = {}
        self._let_in: dict[_Key, _Beginning] = {}
        self._carried: dict[Relay, tuple[Attempt, float, _Key]] = {}
        for listener in (wires.listener, wires.listener6):
            if listener is not None:
                self._listen(listener)
        loop.each_tick(self._tick)
        judge.on_change(self._judge_again)

    def _listen(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        self._loop.watch(listener, READ, lambda _events: self._accept(listener))

    def begin(self, packet: Packet, frame: bytes) -> None:
        """The guest's SYN; it comes again while there is no answer."""
        key = _key(packet)
        if key in self._connecting:
            # Now the last one: who asks again still waits.
            self._connecting[key] = self._connecting.pop(key)
            return
        if key in self._let_in:
            self._let_in_again(key)
            return
        if packet.destination in _RESOLVERS and packet.destination_port == _DNS_PORT:
            if len(self._let_in) >= _MOST_BEGINNING:
                return  # the guest asks again
            self._let_in[key] = _Beginning(frame, packet, _QUESTIONS, None, time.monotonic())
            self._let_in_again(key)
            return
        verdict, attempt = self._judge.packet(packet)
        if verdict.allowed and self._connecting and self._beginning() >= _MOST_BEGINNING:
            self._give_up(next(iter(self._connecting)))
        if verdict.allowed and not self._has_room():
            rule = f"{TOO_MANY} {_MOST_CARRIED} connections at a time"
            attempt = attempt._replace(verdict="denied", rule=rule, remedy="")
        if attempt.verdict == "denied":
            self._record.refused(attempt)
            self._answer(packets.refusal(packet, GATEWAY_MAC))
            return
        self._connect(key, _Beginning(frame, packet, attempt, None, time.monotonic()))

    def close(self) -> None:
        """End them all, and record them."""
        for beginning in (*self._connecting.values(), *self._let_in.values()):
            self._drop(beginning)
        self._connecting.clear()
        self._let_in.clear()
        for relay in tuple(self._carried):
            relay.reset()

    def _beginning(self) -> int:
        return len(self._connecting) + len(self._let_in)

    def _has_room(self) -> bool:
        return self._beginning() < _MOST_BEGINNING and len(self._carried) < _MOST_CARRIED

    def _live(self) -> int:
        return self._beginning() + len(self._carried)

    def _give_up(self, key: _Key) -> None:
        """Wait no longer for one that has no answer; a guest that does asks again."""
        beginning = self._connecting.pop(key)
        self._drop(beginning)
        rule = "no answer so far, and too many others are waited for"
        self._record.refused(beginning.attempt._replace(verdict="failed", rule=rule, remedy=""))

    def _drop(self, beginning: _Beginning) -> None:
        if beginning.host is not None:
            self._loop.forget(beginning.host)
            beginning.host.close()

    def _connect(self, key: _Key, beginning: _Beginning) -> None:
        packet = beginning.packet
        family = socket.AF_INET if packet.version == 4 else socket.AF_INET6
        target = (socket.inet_ntop(family, packet.destination), packet.destination_port)
        host = None
        try:
            host = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            bound(host, self._live())
            error = host.connect_ex(target)
        except OSError as failure:
            error = failure.errno or errno.EHOSTUNREACH
        if host is None or error not in (0, errno.EINPROGRESS):
            if host is not None:
                host.close()
            self._failed(beginning, error)
            return
        self._connecting[key] = beginning._replace(host=host)
        self._loop.watch(host, WRITE, lambda _events: self._connected(key))

    def _connected(self, key: _Key) -> None:
        beginning = self._connecting.pop(key)
        host = beginning.host
        if host is None:
            return
        self._loop.forget(host)
        error = host.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            host.close()
            self._failed(beginning, error)
            return
        self._let_in[key] = beginning._replace(since=time.monotonic())
        self._let_in_again(key)

    def _failed(self, beginning: _Beginning, error: int) -> None:
        self._record.refused(
            beginning.attempt._replace(verdict="failed", rule=os.strerror(error).lower(), remedy="")
        )
        if error in _UNREACHABLE:
            self._answer(packets.unreachable(beginning.packet, GATEWAY_MAC))
        elif error != errno.ETIMEDOUT:
            self._answer(packets.refusal(beginning.packet, GATEWAY_MAC))

    def _let_in_again(self, key: _Key) -> None:
        try:
            self._wires.gate.send(self._let_in[key].frame)
        except OSError:
            return  # the guest asks again

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                guest, peer = listener.accept()
            except OSError:
                return
            try:
                meant, port = namespace.destination(guest, self._wires.steering)
            except OSError:
                guest.close()
                continue
            family = listener.family
            key = (
                socket.inet_pton(family, peer[0]),
                peer[1],
                socket.inet_pton(family, meant),
                port,
            )
            beginning = self._let_in.pop(key, None)
            if beginning is None:
                guest.close()  # nobody let it in
            elif beginning.host is None:
                self._on_questions(guest)
            else:
                self._carry(key, beginning, guest, beginning.host)

    def _carry(
        self, key: _Key, beginning: _Beginning, guest: socket.socket, host: socket.socket
    ) -> None:
        bound(guest, self._live())
        relay = Relay(self._loop, guest, host, self._ended)
        began = self._record.began(beginning.attempt)
        self._carried[relay] = (beginning.attempt, began, key)
        relay.start()

    def _ended(self, relay: Relay) -> None:
        attempt, began, _ = self._carried.pop(relay)
        self._record.ended(attempt, began, relay.bytes_out, relay.bytes_in)

    def _judge_again(self) -> None:
        for relay, (_, _, key) in tuple(self._carried.items()):
            if self._is_refused_now(key):
                relay.reset()
        for waiting in (self._connecting, self._let_in):
            for key, beginning in tuple(waiting.items()):
                if beginning.host is not None and self._is_refused_now(key):
                    self._drop(waiting.pop(key))
                    self._answer(packets.refusal(beginning.packet, GATEWAY_MAC))

    def _is_refused_now(self, key: _Key) -> bool:
        verdict, attempt = self._judge.destination("tcp", ipaddress.ip_address(key[2]), key[3])
        if not verdict.allowed:
            self._record.refused(attempt)
        return not verdict.allowed

    def _answer(self, frame: bytes | None) -> None:
        if frame is not None:
            try:
                self._wires.link.send(frame)
            except OSError:
                return  # its queue is full; the guest asks again

    def _tick(self, now: float) -> bool:
        for key, beginning in tuple(self._let_in.items()):
            if now - beginning.since > _ACCEPT_SECONDS:
                self._drop(self._let_in.pop(key))
        return bool(self._let_in)


def _key(packet: Packet) -> _Key:
    return packet.source, packet.source_port, packet.destination, packet.destination_port
