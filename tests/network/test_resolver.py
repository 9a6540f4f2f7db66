"""What the guest's resolver makes of answers, which anybody who owns a name can write."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import dns.message
import dns.rrset
import pytest

from pyro_mcp.network.hosts import Hosts
from pyro_mcp.network.judge import Judge
from pyro_mcp.network.loop import Loop
from pyro_mcp.network.policy import EGRESS, parse
from pyro_mcp.network.record import Record
from pyro_mcp.network.resolver import Resolver

WEB = ipaddress.ip_address("203.0.113.10")
QUESTION = dns.message.make_query("a.test", "A").to_wire()
IN, HESIOD = b"\xc0\x0c\0\1\0\1", b"\xc0\x0c\0\1\0\4"
"""How an answer with an address begins: where its name is, its type, its class."""

Resolve = Callable[[Callable[[bytes], bytes]], dns.message.Message]


@pytest.fixture
def judge() -> Iterator[Judge]:
    with closing(Hosts()) as hosts:
        yield Judge(parse(EGRESS), hosts)


@pytest.fixture
def resolve(judge: Judge, tmp_path: Path) -> Iterator[Resolve]:
    """Asks for a.test; the answer of the host's resolver goes through a function first."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream,
        closing(Record(str(tmp_path / "network.jsonl"))) as record,
    ):
        upstream.bind(("127.0.0.1", 0))
        upstream.settimeout(20)

        def resolve(changed: Callable[[bytes], bytes]) -> dns.message.Message:
            loop, answers = Loop(), list[bytes]()

            def reply(wire: bytes) -> None:
                answers.append(wire)
                loop.stop()

            with closing(Resolver(loop, [upstream.getsockname()], judge, record)) as resolver:
                resolver.answer(QUESTION, reply)
                wire, asker = upstream.recvfrom(512)
                answer = dns.message.make_response(dns.message.from_wire(wire))
                answer.answer.append(dns.rrset.from_text("a.test.", 60, "IN", "A", str(WEB)))
                upstream.sendto(changed(answer.to_wire()), asker)
                loop.run()
            return dns.message.from_wire(answers[0])

        yield resolve


def test_an_address_is_told_and_given(resolve: Resolve, judge: Judge) -> None:
    answer = resolve(lambda wire: wire)

    assert str(WEB) in answer.answer[0].to_text()
    assert judge.names(WEB) == ["a.test"]


def test_an_address_of_another_class_is_none(resolve: Resolve, judge: Judge) -> None:
    answer = resolve(lambda wire: wire.replace(IN, HESIOD))

    assert not answer.answer
    assert judge.names(WEB) == []
