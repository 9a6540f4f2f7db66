"""Asking a gateway that breaks off: it is asked again, until it answers or nobody listens."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from pathlib import Path

import pytest

from pyro_mcp.errors import GuestUnreachableError
from pyro_mcp.network import client
from pyro_mcp.network.control import SOCKET_NAME
from pyro_mcp.network.policy import OFF, Policy

ANSWER = b'{"mark": 7}\n'


@contextmanager
def gateway(home: Path, turns: Iterable[Callable[[socket.socket], object]]) -> Iterator[None]:
    """A socket there that does one of these to each connection, then is closed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(home / SOCKET_NAME))
        listener.listen(8)

        def serve() -> None:
            with listener, suppress(OSError):
                for turn in turns:
                    taken, _ = listener.accept()
                    with taken:
                        turn(taken)

        serving = threading.Thread(target=serve)
        serving.start()
        yield
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        serving.join()


def breaks_off_unread(taken: socket.socket) -> None:
    taken.recv(1)


def breaks_off(taken: socket.socket) -> None:
    taken.recv(1000)


def answers(taken: socket.socket) -> None:
    taken.recv(1000)
    taken.sendall(ANSWER)


def test_who_is_broken_off_asks_again(tmp_path: Path) -> None:
    with gateway(tmp_path, [breaks_off_unread, breaks_off, answers]):
        assert client.mark(tmp_path) == 7


@pytest.mark.parametrize("last", [breaks_off_unread, breaks_off])
def test_a_gateway_that_ends_while_it_is_asked_is_none(
    tmp_path: Path, last: Callable[[socket.socket], None]
) -> None:
    with gateway(tmp_path, [last]):
        assert client.change_policy(tmp_path, Policy(OFF)) is False


def test_one_that_goes_on_breaking_off_is_said_to_give_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_SECONDS", 0.1)
    with (
        gateway(tmp_path, repeat(breaks_off)),
        pytest.raises(GuestUnreachableError, match="gateway does not answer"),
    ):
        client.change_policy(tmp_path, Policy(OFF))
