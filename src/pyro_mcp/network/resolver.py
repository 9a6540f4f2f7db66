"""The guest's resolver: asks the host's resolvers for what the policy allows, and for no more.

A question goes out anew, made from a name and a type: what else the guest's message held stays
here. Of the answer the guest gets the records it asked for; each address that it is told is noted
(see `judge`), and addresses that no policy opens are left out.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.reversename

from pyro_mcp.network.loop import READ, WRITE, Loop
from pyro_mcp.network.policy import Verdict, clean_name
from pyro_mcp.network.record import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyro_mcp.network.judge import Judge
    from pyro_mcp.network.record import Record

    Reply = Callable[[bytes], None]

_A, _AAAA, _CNAME = dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME
_ADDRESSES = frozenset((_A, _AAAA))
_ALWAYS = frozenset((_A, _AAAA, _CNAME))
_OPEN_ONLY = frozenset(
    dns.rdatatype.from_text(name)
    for name in ("CAA", "DNAME", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV", "SSHFP", "TLSA", "TXT")
)
"""What a guest without an allow list may ask for as well. HTTPS and SVCB are answered with nothing:
they bring addresses of their own."""
for _kind in _ALWAYS | _OPEN_ONLY | {dns.rdatatype.OPT}:
    # Loaded now: a gateway that root started cannot read our files any more when it needs them.
    dns.rdata.get_rdata_class(dns.rdataclass.IN, _kind)  # type: ignore[no-untyped-call]  # as it is

_MOST_QUESTIONS = 256
_TRY_SECONDS = 2.0
_TRIES = 3
_PLAIN_BYTES, _UDP_BYTES, _TCP_BYTES = 512, 1232, 65535
_TCP_QUESTIONS = 64
_MOST_STREAMS = 64


class _Question(NamedTuple):
    """What the guest wants to know."""

    request: dns.message.Message
    name: str
    kind: dns.rdatatype.RdataType
    largest: int
    reply: Reply


class Resolver:
    """Answers questions of one guest."""

    def __init__(
        self, loop: Loop, upstream: Sequence[tuple[str, int]], judge: Judge, record: Record
    ) -> None:
        self._loop = loop
        self._upstream = tuple(upstream)
        self._judge = judge
        self._record = record
        self._asked: set[_Upstream] = set()
        self._streams: dict[_Stream, None] = {}
        loop.each_tick(self._tick)

    def answer(self, wire: bytes, reply: Reply, *, over_tcp: bool = False) -> None:
        """Answer one message of the guest, now or later; what is no question gets no answer."""
        try:
            request = dns.message.from_wire(wire, ignore_trailing=True)
        except (dns.exception.DNSException, ValueError):
            return
        if request.flags & dns.flags.QR:
            return
        if request.opcode() != dns.opcode.QUERY or len(request.question) != 1:
            self._say(request, reply, dns.rcode.NOTIMP)
            return
        asked = request.question[0]
        name = clean_name(asked.name.to_text(omit_final_dot=True))
        if asked.rdclass != dns.rdataclass.IN or name is None:
            self._say(request, reply, dns.rcode.REFUSED)
            return
        verdict = self._judge.policy.asks(name)
        if verdict.allowed and _names_an_address(name) and not self._may_be_reversed(asked.name):
            verdict = Verdict(False, "names of closed addresses are not asked for")
        if not verdict.allowed:
            self._record.refused(
                Attempt("dns", name, None, None, "denied", verdict.rule, verdict.remedy)
            )
            self._say(request, reply, dns.rcode.NXDOMAIN)
            return
        if asked.rdtype not in (_ALWAYS if self._judge.policy.allow else _ALWAYS | _OPEN_ONLY):
            self._say(request, reply, dns.rcode.NOERROR)
            return
        if not self._upstream or len(self._asked) >= _MOST_QUESTIONS:
            self._say(request, reply, dns.rcode.SERVFAIL)
            return
        largest = _TCP_BYTES if over_tcp else max(_PLAIN_BYTES, request.payload)
        question = _Question(request, name, asked.rdtype, largest, reply)
        self._asked.add(_Upstream(self._loop, self._upstream, question, self._answered))

    def serve(self, guest: socket.socket) -> None:
        """Answer questions on a TCP connection of the guest."""
        if len(self._streams) >= _MOST_STREAMS:
            next(iter(self._streams)).close()  # the oldest: it may be one that never asks
        self._streams[_Stream(self._loop, guest, self, self._streams.pop)] = None

    def close(self) -> None:
        """Give up all questions."""
        for upstream in tuple(self._asked):
            upstream.close()
        self._asked.clear()
        for stream in tuple(self._streams):
            stream.close()

    def _may_be_reversed(self, name: dns.name.Name) -> bool:
        try:
            address = ipaddress.ip_address(dns.reversename.to_address(name))
        except (dns.exception.DNSException, ValueError):
            return False
        return self._judge.closes(address) is None

    def _answered(self, upstream: _Upstream, response: dns.message.Message | None) -> None:
        self._asked.discard(upstream)
        question = upstream.question
        if response is None:
            attempt = Attempt("dns", question.name, None, None, "failed", "no resolver answered")
            self._record.refused(attempt)
            self._say(question.request, question.reply, dns.rcode.SERVFAIL)
            return
        answer = _begun(question.request, response.rcode())
        for rrset in response.answer:
            if rrset.rdtype not in (question.kind, _CNAME) or rrset.rdclass != dns.rdataclass.IN:
                continue  # addresses of other classes are none
            told = rrset.copy()  # type: ignore[no-untyped-call]  # as it is
            if rrset.rdtype in _ADDRESSES:
                for rdata in rrset:
                    address = ipaddress.ip_address(rdata.address)
                    if not self._judge.give(question.name, address, rrset.ttl):
                        told.remove(rdata)
                        self._note_closed(question.name, str(address))
            if told:
                answer.answer.append(told)
        if question.kind not in _ADDRESSES:
            answer.authority = []
        self._send(answer, question)

    def _note_closed(self, name: str, address: str) -> None:
        verdict = self._judge.closes(ipaddress.ip_address(address))
        if verdict is not None:
            self._record.refused(
                Attempt("dns", name, address, None, "denied", verdict.rule, verdict.remedy)
            )

    def _send(self, answer: dns.message.Message, question: _Question) -> None:
        try:
            wire = answer.to_wire(max_size=question.largest)
        except dns.exception.TooBig:
            short = _begun(question.request, answer.rcode())
            short.flags |= dns.flags.TC
            wire = short.to_wire()
        question.reply(wire)

    def _say(self, request: dns.message.Message, reply: Reply, code: dns.rcode.Rcode) -> None:
        reply(_begun(request, code).to_wire())

    def _tick(self, now: float) -> bool:
        for upstream in tuple(self._asked):
            upstream.tick(now)
        return bool(self._asked)


def _begun(request: dns.message.Message, code: dns.rcode.Rcode) -> dns.message.Message:
    answer = dns.message.make_response(request, recursion_available=True)
    answer.set_rcode(code)
    return answer


def _names_an_address(name: str) -> bool:
    return name.endswith((".in-addr.arpa", ".ip6.arpa"))


class _Upstream:
    """One question under way to the host's resolvers: by UDP, and by TCP if that is too short."""

    def __init__(
        self,
        loop: Loop,
        servers: tuple[tuple[str, int], ...],
        question: _Question,
        on_answer: Callable[[_Upstream, dns.message.Message | None], None],
    ) -> None:
        self.question = question
        self._loop = loop
        self._servers = servers
        self._on_answer = on_answer
        self._tried = 0
        self._socket: socket.socket | None = None
        self._until = 0.0
        self._over_tcp = False
        self._unsent = b""
        self._received = b""
        self._query = dns.message.make_query(
            question.name, question.kind, use_edns=0, payload=_UDP_BYTES, id=secrets.randbits(16)
        )
        self._begin()

    def tick(self, now: float) -> None:
        """Ask the next resolver, if this one says nothing."""
        if now >= self._until:
            self._next()

    def close(self) -> None:
        """Give it up."""
        if self._socket is not None:
            self._loop.forget(self._socket)
            self._socket.close()
            self._socket = None

    def _next(self) -> None:
        self.close()
        self._over_tcp = False
        self._tried += 1
        if self._tried >= max(_TRIES, len(self._servers)):
            self._on_answer(self, None)
        else:
            self._begin()

    def _begin(self) -> None:
        server = self._servers[self._tried % len(self._servers)]
        self._until = time.monotonic() + _TRY_SECONDS
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        kind = socket.SOCK_STREAM if self._over_tcp else socket.SOCK_DGRAM
        try:
            self._socket = socket.socket(family, kind | socket.SOCK_NONBLOCK)
            wire = self._query.to_wire()
            if self._over_tcp:
                self._unsent, self._received = len(wire).to_bytes(2, "big") + wire, b""
                self._socket.connect_ex(server)
                self._loop.watch(self._socket, WRITE, self._ready)
            else:
                self._socket.connect(server)
                self._socket.send(wire)
                self._loop.watch(self._socket, READ, self._ready)
        except OSError:
            self._until = 0.0  # the next one, at the next tick

    def _ready(self, events: int) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            if events & WRITE:
                self._unsent = self._unsent[sock.send(self._unsent) :]
                if not self._unsent:
                    self._loop.watch(sock, READ, self._ready)
                return
            data = sock.recv(_TCP_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._next()
            return
        if self._over_tcp:
            self._received += data
            length = int.from_bytes(self._received[:2], "big")
            if not data:
                self._next()
            elif len(self._received) >= 2 + length > 2:
                self._read(self._received[2 : 2 + length])
        else:
            self._read(data)

    def _read(self, wire: bytes) -> None:
        try:
            response = dns.message.from_wire(wire, ignore_trailing=True)
        except (dns.exception.DNSException, ValueError):
            return  # the tick goes on to the next
        if not self._query.is_response(response):
            return
        if response.flags & dns.flags.TC and not self._over_tcp:
            self.close()
            self._over_tcp = True
            self._begin()
        elif response.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            self.close()
            self._on_answer(self, response)
        else:
            self._next()


class _Stream:
    """Questions over TCP: each with its length in front (RFC 1035, 4.2.2)."""

    def __init__(
        self,
        loop: Loop,
        guest: socket.socket,
        resolver: Resolver,
        on_end: Callable[[_Stream], object],
    ) -> None:
        """`on_end` is called once."""
        self._loop = loop
        self._guest = guest
        self._resolver = resolver
        self._on_end = on_end
        self._received = b""
        self._asked = 0
        guest.setblocking(False)
        loop.watch(guest, READ, self._read)

    def _read(self, _events: int) -> None:
        try:
            data = self._guest.recv(_TCP_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._received += data
        if not data or self._asked >= _TCP_QUESTIONS:
            self.close()
            return
        while len(self._received) >= 2:
            end = 2 + int.from_bytes(self._received[:2], "big")
            if len(self._received) < end:
                return
            wire, self._received = self._received[2:end], self._received[end:]
            self._asked += 1
            self._resolver.answer(wire, self._reply, over_tcp=True)

    def _reply(self, wire: bytes) -> None:
        if self._guest.fileno() < 0:
            return
        try:
            data = len(wire).to_bytes(2, "big") + wire
            if self._guest.send(data) != len(data):
                self.close()  # nobody reads it
        except OSError:
            self.close()

    def close(self) -> None:
        """End it; may be called twice."""
        if self._guest.fileno() >= 0:
            self._loop.forget(self._guest)
            self._guest.close()
            self._on_end(self)
