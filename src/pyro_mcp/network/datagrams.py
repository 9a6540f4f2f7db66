"""UDP of the guest: each flow is judged and gets a socket of the host."""

from __future__ import annotations

import ipaddress
import socket
import time
from typing import TYPE_CHECKING

from pyro_mcp.network import packets
from pyro_mcp.network.loop import READ, Loop
from pyro_mcp.network.namespace import GATEWAY_MAC

if TYPE_CHECKING:
    from pyro_mcp.network.judge import Judge
    from pyro_mcp.network.packets import Packet
    from pyro_mcp.network.record import Attempt, Record

_MOST_FLOWS = 512
_IDLE_SECONDS = 60.0
_AT_ONCE = 64
_LARGEST = 65535


class _Flow:
    """One pair of addresses and ports."""

    def __init__(self, host: socket.socket, packet: Packet, attempt: Attempt, began: float) -> None:
        self.host = host
        self.packet = packet
        self.attempt = attempt
        self.began = began
        self.used = time.monotonic()
        self.bytes_out = 0
        self.bytes_in = 0


class Datagrams:
    """All UDP flows of one guest; the one that was used least ends when there are too many."""

    def __init__(self, loop: Loop, link: socket.socket, judge: Judge, record: Record) -> None:
        self._loop = loop
        self._link = link
        self._judge = judge
        self._record = record
        self._flows: dict[tuple[bytes, int, bytes, int], _Flow] = {}
        loop.each_tick(self._tick)
        judge.on_change(self._judge_again)

    def carry(self, packet: Packet) -> None:
        """A datagram of the guest."""
        key = (packet.source, packet.source_port, packet.destination, packet.destination_port)
        flow = self._flows.pop(key, None)
        if flow is None:
            flow = self._begin(packet)
            if flow is None:
                return
        self._flows[key] = flow  # now the last one
        flow.used = time.monotonic()
        try:
            flow.bytes_out += flow.host.send(packet.payload)
        except BlockingIOError:
            return  # as any network does
        except OSError:
            self._tell(packets.unreachable(packet, GATEWAY_MAC))

    def refuse(self, packet: Packet) -> None:
        """What is neither TCP nor UDP reaches nobody."""
        if packets.is_error(packet):
            return  # its kernel's word on an answer that came too late: nothing was tried
        _, attempt = self._judge.packet(packet)
        rule = "only TCP and UDP leave a guest"
        self._record.refused(attempt._replace(verdict="denied", rule=rule, remedy=""))
        self._tell(packets.refusal(packet, GATEWAY_MAC))

    def close(self) -> None:
        """End all flows."""
        for key in tuple(self._flows):
            self._end(key)

    def _begin(self, packet: Packet) -> _Flow | None:
        verdict, attempt = self._judge.packet(packet)
        if not verdict.allowed:
            self._record.refused(attempt)
            self._tell(packets.refusal(packet, GATEWAY_MAC))
            return None
        if len(self._flows) >= _MOST_FLOWS:
            self._end(next(iter(self._flows)))
        family = socket.AF_INET if packet.version == 4 else socket.AF_INET6
        host = None
        try:
            host = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            host.connect((socket.inet_ntop(family, packet.destination), packet.destination_port))
        except OSError as error:
            if host is not None:
                host.close()
            why = (error.strerror or "").lower()
            self._record.refused(attempt._replace(verdict="failed", rule=why, remedy=""))
            self._tell(packets.unreachable(packet, GATEWAY_MAC))
            return None
        flow = _Flow(host, packet, attempt, self._record.began(attempt))
        self._loop.watch(host, READ, lambda _events: self._answers(flow))
        return flow

    def _answers(self, flow: _Flow) -> None:
        for _ in range(_AT_ONCE):
            try:
                payload = flow.host.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError:
                self._tell(packets.unreachable(flow.packet, GATEWAY_MAC))
                return
            flow.bytes_in += len(payload)
            flow.used = time.monotonic()
            self._tell(packets.datagram(flow.packet, payload, GATEWAY_MAC))

    def _tell(self, frame: bytes | None) -> None:
        if frame is not None:
            try:
                self._link.send(frame)
            except OSError:
                return  # lost, as datagrams may be

    def _judge_again(self) -> None:
        for key, flow in tuple(self._flows.items()):
            address = ipaddress.ip_address(key[2])
            verdict, denied = self._judge.destination(flow.attempt.protocol, address, key[3])
            if not verdict.allowed:
                self._record.refused(denied)
                self._end(key)

    def _tick(self, now: float) -> bool:
        for key, flow in tuple(self._flows.items()):
            if now - flow.used > _IDLE_SECONDS:
                self._end(key)
        return bool(self._flows)

    def _end(self, key: tuple[bytes, int, bytes, int]) -> None:
        flow = self._flows.pop(key)
        self._loop.forget(flow.host)
        flow.host.close()
        self._record.ended(flow.attempt, flow.began, flow.bytes_out, flow.bytes_in)
