"""A model that knows one thing: to call `vm_run`, and to repeat what it answered.

Like a model that has read its instructions it waits for servers that are still starting, where
the host has a tool for that.

It speaks the three protocols that the hosts use: OpenAI Responses, Anthropic Messages and chat
completions, each as a stream of server-sent events.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMAND = "echo $((6 * 7)) in $(uname -r)"
ARGUMENTS = {"environment": "debian:12", "command": COMMAND}
_WAIT = "WaitForMcpServers"
_PATIENCE = 10
SAID = "The tool answered: "

Events = Iterator[tuple[str, dict[str, Any]]]


@dataclass
class StubModel:
    """What was asked of it."""

    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    """What hosts sent back of our tool."""


@contextmanager
def stub_model() -> Iterator[StubModel]:
    """It, listening, until the end of the block."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.model
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.model = StubModel(f"http://127.0.0.1:{self.server_port}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._object({"models": [], "data": []})

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self.path.partition("?")[0]
        answer = _ANSWERS.get(path)
        if answer is None:
            self._object({"input_tokens": 1})
            return
        asked = json.loads(body)
        self.server.model.asked.append(asked)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for name, data in answer(asked, self.server.model):
            text = data.get("raw") or json.dumps(data)
            self.wfile.write(f"event: {name}\ndata: {text}\n\n".encode())

    def log_message(self, *_: object) -> None:
        return

    def _object(self, value: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())


def _responses(asked: dict[str, Any], model: StubModel) -> Events:
    """Codex: our tools are one namespace, and the answer to a call is an item of the input."""
    results = [one for one in asked["input"] if one.get("type") == "function_call_output"]
    namespaces = [one for one in asked.get("tools", ()) if one.get("name") == "mcp__pyro"]
    if results:
        output = results[-1]["output"]
        text = output if isinstance(output, str) else json.dumps(output)
        model.results.append(text)
        item = _message(SAID + text)
    elif namespaces and "vm_run" in [tool["name"] for tool in namespaces[0]["tools"]]:
        item = {
            "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "vm_run",
            "namespace": "mcp__pyro", "arguments": json.dumps(ARGUMENTS), "status": "completed",
        }  # fmt: skip
    else:
        item = _message("There is no tool named vm_run.")
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "stub"}
    usage = {
        "input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip
    events: tuple[tuple[str, dict[str, Any]], ...] = (
        ("response.created", {"response": {**response, "status": "in_progress", "output": []}}),
        ("response.output_item.added", {"output_index": 0, "item": item}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {
            "response": {**response, "status": "completed", "output": [item], "usage": usage}
        }),
    )  # fmt: skip
    for number, (name, data) in enumerate(events):
        yield name, {"type": name, "sequence_number": number, **data}


def _message(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": content}  # fmt: skip


def _messages(asked: dict[str, Any], model: StubModel) -> Events:
    """Claude Code."""
    results = [
        block
        for message in asked["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
        if block.get("type") == "tool_result" and block["tool_use_id"] == "toolu_1"
    ]
    names = [tool.get("name") for tool in asked.get("tools", ())]
    delta: dict[str, Any]
    if not results and "mcp__pyro__vm_run" in names:
        block = {"type": "tool_use", "id": "toolu_1", "name": "mcp__pyro__vm_run", "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(ARGUMENTS)}
        why = "tool_use"
    elif not results and _WAIT in names and len(model.asked) < _PATIENCE:
        block = {"type": "tool_use", "id": f"wait_{len(model.asked)}", "name": _WAIT, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": "{}"}
        why = "tool_use"
    else:
        text = "There is no tool named vm_run."
        if results:
            text = json.dumps(results[-1]["content"])
            model.results.append(text)
        block = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": SAID + text}
        why = "end_turn"
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "stub", "content": [],
        "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip
    events: tuple[tuple[str, dict[str, Any]], ...] = (
        ("message_start", {"message": message}),
        ("content_block_start", {"index": 0, "content_block": block}),
        ("content_block_delta", {"index": 0, "delta": delta}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {
            "delta": {"stop_reason": why, "stop_sequence": None}, "usage": {"output_tokens": 1}
        }),
        ("message_stop", {}),
    )  # fmt: skip
    for name, data in events:
        yield name, {"type": name, **data}


def _completions(asked: dict[str, Any], model: StubModel) -> Events:
    """OpenCode; its first question, for a title, comes without tools."""
    results = [one for one in asked["messages"] if one["role"] == "tool"]
    names = [tool["function"]["name"] for tool in asked.get("tools", ())]
    delta: dict[str, Any] = {"role": "assistant", "content": "A title"}
    why = "stop"
    if results:
        text = json.dumps(results[-1]["content"])
        model.results.append(text)
        delta["content"] = SAID + text
    elif "pyro_vm_run" in names:
        function = {"name": "pyro_vm_run", "arguments": json.dumps(ARGUMENTS)}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        delta = {"role": "assistant", "tool_calls": [call]}
        why = "tool_calls"
    chunk = {"id": "c_1", "object": "chat.completion.chunk", "created": 1, "model": "stub"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    for one, reason in ((delta, None), ({}, why)):
        choice = {"index": 0, "delta": one, "finish_reason": reason}
        yield "message", {**chunk, "choices": [choice], "usage": usage if reason else None}
    yield "message", {"raw": "[DONE]"}


_ANSWERS: dict[str, Callable[[dict[str, Any], StubModel], Events]] = {
    "/v1/responses": _responses,
    "/v1/messages": _messages,
    "/v1/chat/completions": _completions,
}
