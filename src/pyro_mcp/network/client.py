"""Asking a machine's gateway, from any process that may open the machine's directory."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

from pyro_mcp.errors import GuestUnreachableError
from pyro_mcp.host import sockets
from pyro_mcp.network.control import SOCKET_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mcp.network.policy import Policy

_SECONDS = 5.0
_AGAIN_SECONDS = 0.02


def mark(home: Path) -> int:
    """A point in time, for `since`."""
    return int(_ask(home, {"op": "mark"})["mark"])


def since(home: Path, point: int) -> list[dict[str, Any]]:
    """What the guest tried after that point; see `record` for the fields."""
    attempts: list[dict[str, Any]] = _ask(home, {"op": "since", "mark": point})["attempts"]
    return attempts


def change_policy(home: Path, policy: Policy) -> bool:
    """Another policy from now on; connections that it does not allow are reset.

    False where there is no gateway, so that nothing passes anyway.
    """
    try:
        _ask(home, {"op": "policy", "policy": policy.to_wire()})
    except GuestUnreachableError as error:
        if nobody_listens(error):
            return False
        raise
    return True


def nobody_listens(error: GuestUnreachableError) -> bool:
    """Whether there is no gateway, or no longer."""
    return isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError)


def _ask(home: Path, question: dict[str, Any]) -> dict[str, Any]:
    """One question, which may be asked more than once.

    Raises:
        GuestUnreachableError: Nobody answers, or not with an answer.
    """
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            answer: dict[str, Any] = json.loads(_exchange(home, json.dumps(question).encode()))
            break
        except (ConnectionResetError, BrokenPipeError) as error:
            # It is ending, and then nobody listens, or it has too many who ask.
            if time.monotonic() > deadline:
                raise GuestUnreachableError(f"its gateway does not answer ({error})") from error
        except (OSError, ValueError) as error:
            raise GuestUnreachableError(f"its gateway does not answer ({error})") from error
        time.sleep(_AGAIN_SECONDS)
    if "error" in answer:
        raise GuestUnreachableError(f"its gateway refused: {answer['error']}")
    return answer


def _exchange(home: Path, question: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_SECONDS)
        sockets.connect(client, home, SOCKET_NAME)
        client.sendall(question + b"\n")
        answer = b"".join(iter(lambda: client.recv(1 << 16), b""))
    if not answer:
        raise ConnectionResetError("it broke off")
    return answer
