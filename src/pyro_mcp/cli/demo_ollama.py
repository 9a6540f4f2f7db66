"""`pyro demo ollama`: a local language model runs a command in a guest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from pyro_mcp.cli import output
from pyro_mcp.errors import ModelError, PyroError

if TYPE_CHECKING:
    from pyro_mcp.sdk.pyro import Pyro

_ENVIRONMENT = "debian:12"
_COMMAND = "git --version"
_BASE_URL = "http://localhost:11434/v1"
_MODEL = "llama3.2:3b"

_MODEL_SECONDS = 300
"""A model that is loaded from disk and runs without a graphics card takes its time."""
_ANSWER_BYTES = 4 * 1024 * 1024
_OUTPUT_SHOWN = 4000

_TOOL = {
    "type": "function",
    "function": {
        "name": "vm_run",
        "description": "Run one shell command in a throwaway Linux computer.",
        "parameters": {
            "type": "object",
            "properties": {
                "environment": {"type": "string", "description": f"Use {_ENVIRONMENT}."},
                "command": {"type": "string", "description": "The shell command to run."},
            },
            "required": ["environment", "command"],
        },
    },
}
_TASK = (
    f"Find out which version of git the environment {_ENVIRONMENT} has: call vm_run with the "
    f"command {_COMMAND!r}, then answer in one sentence."
)


@click.command("ollama")
@click.option("--base-url", default=_BASE_URL, show_default=True, help="Endpoint of the model.")
@click.option("--model", default=_MODEL, show_default=True, help="Name of the model.")
@click.option("-v", "--verbose", is_flag=True, help="Print what goes to and fro.")
def command(base_url: str, model: str, verbose: bool) -> int:
    """Let a local model run a command in a guest.

    The endpoint speaks the chat completions protocol, as Ollama's does. Where the model calls no
    tool, the command is run without it.
    """
    from pyro_mcp.sdk.pyro import Pyro

    try:
        with Pyro() as pyro:
            return _converse(pyro, _Model(base_url, model, verbose=verbose))
    except PyroError as error:
        # The one command whose errors are part of its log.
        output.line(f"[error] {error}")
        return 1


def _converse(pyro: Pyro, model: _Model) -> int:
    messages: list[dict[str, Any]] = [{"role": "user", "content": _TASK}]
    output.line(f"[model] {model.name} is asked: {_TASK}")
    answer = model.chat(messages)
    call = _tool_call(answer)
    fallback = call is None
    if call is None:
        output.line("[model] called no tool that can be used; the command is run without it")
        environment, words, call_id = _ENVIRONMENT, _COMMAND, ""
    else:
        environment, words, call_id = call
    output.line(f"[tool] vm_run environment={environment} command={words}")
    result = pyro.run_in_vm(environment=environment, command=words)
    output.line(f"[tool] {(result['stdout'] or result['stderr']).strip()[:_OUTPUT_SHOWN]}")
    if not fallback:
        shown = {key: result[key] for key in ("exit_code", "stdout", "stderr")}
        said = {"role": "tool", "tool_call_id": call_id, "content": json.dumps(shown)}
        final = model.chat([*messages, answer, said])
        output.line(f"[model] {str(final.get('content') or '').strip()}")
    output.line(
        f"[summary] exit_code={result['exit_code']} fallback_used={str(fallback).lower()} "
        f"execution_mode={result['execution_mode']}"
    )
    return 0 if result["exit_code"] == 0 else 1


class _Model:
    """A chat completions endpoint."""

    def __init__(self, base_url: str, name: str, *, verbose: bool) -> None:
        self.name = name
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._verbose = verbose

    def chat(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """The model's next message.

        Raises:
            ModelError: The endpoint cannot be reached, or its answer not be understood.
        """
        # Costs 60 ms, and only this needs it.
        from http.client import HTTPException
        from urllib.error import HTTPError
        from urllib.request import Request, urlopen

        question = {"model": self.name, "messages": messages, "tools": [_TOOL], "stream": False}
        self._show("->", question)
        start = f"Start it ('ollama serve', 'ollama pull {self.name}'), or give --base-url."
        if not self._url.startswith(("http://", "https://")):
            raise ModelError(self._url, "that is no http or https URL", hint="Give --base-url one.")
        try:
            request = Request(
                self._url,
                data=json.dumps(question).encode(),
                headers={"Content-Type": "application/json"},
            )
            with urlopen(request, timeout=_MODEL_SECONDS) as response:
                body = response.read(_ANSWER_BYTES)
            answer = json.loads(body)["choices"][0]["message"]
        except HTTPError as error:
            with error:
                said = error.read(1000).decode(errors="replace").strip()
            why = f"it answered {error.code} {said}".strip()
            raise ModelError(self._url, why, hint=start) from error
        except (OSError, HTTPException) as error:
            raise ModelError(self._url, str(error) or type(error).__name__, hint=start) from error
        except (ValueError, LookupError, TypeError) as error:
            raise ModelError(
                self._url,
                "its answer is no chat completion",
                hint="Give --base-url an endpoint with /chat/completions.",
            ) from error
        if not isinstance(answer, dict):
            raise ModelError(self._url, "its answer has no message", hint="Try another --model.")
        self._show("<-", answer)
        return answer

    def _show(self, direction: str, value: dict[str, Any]) -> None:
        if self._verbose:
            output.line(f"[http] {direction} {json.dumps(value)}")


def _tool_call(message: dict[str, Any]) -> tuple[str, str, str] | None:
    """Environment, command and call id; None if the model did not make a call of that form."""
    try:
        call = message["tool_calls"][0]
        function = call["function"]
        arguments = function["arguments"]
        if isinstance(arguments, str):
            arguments = json.loads(arguments)
        environment, words = arguments["environment"], arguments["command"]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    if function.get("name") != "vm_run" or not (
        isinstance(environment, str) and isinstance(words, str) and words.strip()
    ):
        return None
    return environment, words, str(call.get("id", ""))
