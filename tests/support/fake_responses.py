"""A model's server that says what a test has written for it.

It speaks the Responses protocol, streaming or not, and chat completions.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

Item = dict[str, Any]
Request = dict[str, Any]


class Failure(NamedTuple):
    """An answer that is an error of the API."""

    status: int
    message: str
    code: str = "server_error"


class Unfinished(NamedTuple):
    """An answer that the API broke off, with the reason it gives."""

    reason: str
    items: list[Item]


Turn = list[Item] | Failure | Unfinished
_numbers = itertools.count()

Script = Sequence[Turn | Callable[[Request], Turn]]


def call(name: str, arguments: object, call_id: str = "call_1") -> Item:
    """The model calls a function; a string is sent as it is, anything else as JSON."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {
        "type": "function_call",
        "id": f"fc_{call_id}",
        "call_id": call_id,
        "name": name,
        "arguments": text,
        "status": "completed",
    }


def shell(commands: list[str], call_id: str = "call_1", **action: object) -> Item:
    """The model uses the API's own shell."""
    return {
        "type": "shell_call",
        "id": f"sh_{call_id}",
        "call_id": call_id,
        "action": {"commands": commands, **action},
        "status": "completed",
    }


def edit(kind: str, path: str, diff: str | None = None, call_id: str = "call_1") -> Item:
    """The model uses the API's own apply_patch."""
    operation = {"type": kind, "path": path} | ({} if diff is None else {"diff": diff})
    return {
        "type": "apply_patch_call",
        "id": f"ap_{call_id}",
        "call_id": call_id,
        "operation": operation,
        "status": "completed",
    }


def say(text: str) -> Item:
    """The model answers."""
    return {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


class FakeResponses:
    """Answers each POST with the next turn of its script; keeps what it was asked."""

    def __init__(self, url: str, script: Script) -> None:
        self.url = url
        self.requests: list[Request] = []
        self._script = iter(script)
        self._lock = threading.Lock()

    def turn(self, request: Request) -> Turn:
        """What comes next."""
        with self._lock:
            self.requests.append(request)
            said = next(self._script, Failure(500, "the script of the test is over"))
        return said(request) if callable(said) else said

    def answers(self, request: int = -1) -> list[Item]:
        """The results of tools in a request."""
        items = self.requests[request]["input"]
        return [item for item in items if str(item.get("type")).endswith("_output")]

    def answer(self, request: int = -1) -> Any:
        """The result of the last function call in a request, from its JSON."""
        return json.loads(self.answers(request)[-1]["output"])


@contextmanager
def fake_responses(script: Script) -> Iterator[FakeResponses]:
    """A server on a port of its own, gone after the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            request = json.loads(self.rfile.read(length))
            turn = fake.turn(request)
            if isinstance(turn, Failure):
                error = {"message": turn.message, "type": "error", "code": turn.code}
                self._send(turn.status, "application/json", json.dumps({"error": error}).encode())
            elif self.path.endswith("/chat/completions"):
                self._send(200, "application/json", json.dumps(_completion(turn)).encode())
            elif request.get("stream"):
                events = b"".join(map(_event, _events(turn, request)))
                self._send(200, "text/event-stream", events)
            else:
                body = json.dumps(_response(turn, request)).encode()
                self._send(200, "application/json", body)

        def _send(self, status: int, kind: str, body: bytes) -> None:
            with suppress(ConnectionError):  # a client that has given up
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake = FakeResponses(f"http://127.0.0.1:{server.server_port}/v1", script)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()


def _response(turn: list[Item] | Unfinished, request: Request) -> dict[str, Any]:
    unfinished = isinstance(turn, Unfinished)
    return {
        "id": f"resp_{next(_numbers)}",
        "object": "response",
        "created_at": 1,
        "status": "incomplete" if isinstance(turn, Unfinished) else "completed",
        "incomplete_details": {"reason": turn.reason} if isinstance(turn, Unfinished) else None,
        "model": request["model"],
        "output": turn.items if isinstance(turn, Unfinished) else turn,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 1,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 2,
        },
    } | ({} if unfinished else {"error": None})


def _completion(turn: list[Item] | Unfinished) -> dict[str, Any]:
    items = turn.items if isinstance(turn, Unfinished) else turn
    calls = [
        {
            "id": item["call_id"],
            "type": "function",
            "function": {"name": item["name"], "arguments": item["arguments"]},
        }
        for item in items
        if item["type"] == "function_call"
    ]
    text = "".join(item["content"][0]["text"] for item in items if item["type"] == "message")
    message = {"role": "assistant", "content": text} | ({"tool_calls": calls} if calls else {})
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def _events(turn: list[Item] | Unfinished, request: Request) -> Iterator[dict[str, Any]]:
    whole = _response(turn, request)
    yield {"type": "response.created", "response": whole | {"status": "in_progress", "output": []}}
    for index, item in enumerate(whole["output"]):
        place = {"output_index": index}
        yield {"type": "response.output_item.added", "item": item, **place}
        if item["type"] == "function_call":
            delta = {"item_id": item["id"], "delta": item["arguments"], **place}
            yield {"type": "response.function_call_arguments.delta", **delta}
        if item["type"] == "message":
            text = item["content"][0]["text"]
            where = {"item_id": item["id"], "content_index": 0, "logprobs": [], **place}
            for word in text.split(" "):
                yield {"type": "response.output_text.delta", "delta": word, **where}
        yield {"type": "response.output_item.done", "item": item, **place}
    ending = "response.incomplete" if whole["status"] == "incomplete" else "response.completed"
    yield {"type": ending, "response": whole}


def _event(event: dict[str, Any]) -> bytes:
    data = json.dumps(event | {"sequence_number": next(_numbers)})
    return f"event: {event['type']}\ndata: {data}\n\n".encode()
