"""A loop of one's own, with nothing but the standard library, for any chat completions server.

MODEL_URL=http://localhost:11434/v1 MODEL=llama3.2:3b python examples/custom_loop.py
"""

import json
import os
import urllib.request
from typing import Any

from pyro_mcp.integrations.session import Session, text_of

URL = os.environ.get("MODEL_URL", "http://localhost:11434/v1") + "/chat/completions"
MODEL = os.environ.get("MODEL", "llama3.2:3b")


def ask(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
    body = json.dumps({"model": MODEL, "messages": messages, "tools": tools}).encode()
    request = urllib.request.Request(URL, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as response:
        message: dict[str, Any] = json.load(response)["choices"][0]["message"]
    return message


# What a loop needs of pyro: session.tools to announce, session.call_json for what comes back.
with Session(profile="workspace-core", workspace={"environment": "debian:12"}) as session:
    tools = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.input_schema,
            },
        }
        for tool in session.tools
    ]
    messages = [{"role": "user", "content": "How many lines has /etc/passwd?"}]
    for _ in range(10):
        message = ask(messages, tools)
        messages.append(message)
        if not message.get("tool_calls"):
            print(message["content"])
            break
        for call in message["tool_calls"]:
            function = call["function"]
            answer = session.call_json(function["name"], function["arguments"])
            print(f"[{function['name']}] {'failed' if answer.is_error else 'ok'}")
            content = text_of(answer)  # errors too: they say what to do
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})
