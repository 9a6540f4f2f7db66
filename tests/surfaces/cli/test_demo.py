"""`pyro demo`, and the same driven by a model: here a small server that answers as told."""

import json
import re
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.surfaces.cli.support import on_terminal, read_line, run_pyro, started

pytestmark = pytest.mark.usefixtures("images")


class FakeModel(ThreadingHTTPServer):
    """Speaks chat completions; gives its `answers` in order and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[bytes] = []
        self.status = 200
        self.asked: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def will_say(self, message: dict[str, Any]) -> None:
        self.answers.append(json.dumps({"choices": [{"message": message}]}).encode())

    def will_call(self, name: str, arguments: dict[str, str]) -> None:
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"id": "call-1", "type": "function", "function": function}
        self.will_say({"role": "assistant", "content": "", "tool_calls": [call]})


class _Handler(BaseHTTPRequestHandler):
    server: FakeModel

    def do_POST(self) -> None:
        assert self.path == "/v1/chat/completions"
        length = int(self.headers["Content-Length"])
        self.server.asked.append(json.loads(self.rfile.read(length)))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.answers.pop(0))

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def model() -> Iterator[FakeModel]:
    with FakeModel() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_into_a_pipe_the_answer_to_the_first_step_is_an_object() -> None:
    finished = run_pyro("demo")

    answer = json.loads(finished.stdout)
    assert finished.returncode == 0
    assert answer["stdout"].startswith("git version ")
    assert answer["execution_mode"] == "guest_vsock"


def test_every_step_is_told_and_nothing_is_left() -> None:
    told = run_pyro("demo").stderr.decode()

    for line in (
        "  git version 2.",
        "  AssertionError: double(2) is 5 (exit status 1)",
        "  1 file changed",
        "  +    return n + n",
        "  snapshot fixed",
        "  not even a shell is left in it",
    ):
        assert f"[demo] {line}" in told
    assert told.count("  all well\n") == 2
    assert re.search(r"\[demo\] done: 10 steps in [0-9.]+ s\n$", told)
    assert run_pyro("workspace", "list").stdout == b"No workspaces.\n"


def test_on_a_terminal_it_is_drawn_and_no_object_is_printed() -> None:
    status, screen = on_terminal("demo")

    shown = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", screen)
    assert status == 0
    assert b"\x1b[" in screen
    assert b"10 steps, " in shown
    assert b"[demo]" not in shown
    assert b'"exit_code"' not in shown


def test_on_a_terminal_the_object_comes_when_it_is_asked_for() -> None:
    _, screen = on_terminal("demo", "--json")

    assert b'"exit_code": 0' in screen


def test_interrupted_half_way_it_leaves_nothing() -> None:
    with started("demo") as demo:
        while b"The project has a bug" not in read_line(demo, "stderr"):
            pass
        demo.send_signal(signal.SIGINT)
        demo.communicate()

    assert demo.returncode == 130
    assert run_pyro("workspace", "list").stdout == b"No workspaces.\n"


def test_a_model_runs_a_command_in_a_guest_and_sees_its_output(model: FakeModel) -> None:
    model.will_call("vm_run", {"environment": "debian:12", "command": "echo from the guest"})
    model.will_say({"role": "assistant", "content": "It said so."})

    finished = run_pyro("demo", "ollama", "--base-url", model.url, "--model", "tiny")

    lines = finished.stdout.decode().splitlines()
    assert finished.returncode == 0
    assert lines[-1] == "[summary] exit_code=0 fallback_used=false execution_mode=guest_vsock"
    assert "[model] It said so." in lines
    assert [one["model"] for one in model.asked] == ["tiny", "tiny"]
    told = model.asked[1]["messages"][-1]
    assert told["role"] == "tool"
    assert json.loads(told["content"])["stdout"] == "from the guest\n"


def test_a_model_that_calls_nothing_is_done_without(model: FakeModel) -> None:
    model.will_say({"role": "assistant", "content": "Version 2, I think."})

    finished = run_pyro("demo", "ollama", "--base-url", model.url)

    assert finished.returncode == 0
    assert b"[summary] exit_code=0 fallback_used=true" in finished.stdout


def test_a_call_that_makes_no_sense_is_done_without(model: FakeModel) -> None:
    model.will_call("rm_rf", {"environment": "debian:12"})

    finished = run_pyro("demo", "ollama", "--base-url", model.url)

    assert b"fallback_used=true" in finished.stdout


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"choices": []}', b"<html>"])
def test_an_answer_that_is_none_is_an_error_in_the_log(model: FakeModel, answer: bytes) -> None:
    model.answers.append(answer)

    finished = run_pyro("demo", "ollama", "--base-url", model.url)

    assert finished.returncode == 1
    assert b"[error] The model at " in finished.stdout
    assert finished.stderr == b""


def test_a_refusal_of_the_server_is_quoted(model: FakeModel) -> None:
    model.status = 404
    model.answers.append(b"model 'tiny' not found")

    finished = run_pyro("demo", "ollama", "--base-url", model.url)

    assert finished.returncode == 1
    assert b"it answered 404 model 'tiny' not found" in finished.stdout


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "file:///etc", "nonsense"])
def test_a_server_that_is_not_there_is_an_error_in_the_log(url: str) -> None:
    finished = run_pyro("demo", "ollama", "--base-url", url)

    assert finished.returncode == 1
    assert b"[error] The model at " in finished.stdout
    assert b"--base-url" in finished.stdout
