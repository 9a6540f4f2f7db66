"""The real client against a server that speaks the protocol, and a guest that does the work."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from pyro_mcp import Pyro
from pyro_mcp.errors import InvalidInputError
from pyro_mcp.integrations.openai import (
    ResponsesTools,
    RunResult,
    Session,
    ToolAnswered,
    run,
    run_async,
    stream,
    stream_async,
)
from tests.integrations.conftest import Shared
from tests.support import until
from tests.support.fake_responses import (
    Failure,
    FakeResponses,
    Item,
    Request,
    Script,
    Unfinished,
    call,
    edit,
    fake_responses,
    say,
    shell,
)


def converse(
    fake: FakeResponses, tools: Session | ResponsesTools, *, retries: int = 0, **more: Any
) -> RunResult:
    with OpenAI(base_url=fake.url, api_key="x", max_retries=retries) as client:
        return run(client, tools, model="m", **{"input": "go", **more})


async def converse_async(fake: FakeResponses, tools: Session, **more: Any) -> RunResult:
    async with AsyncOpenAI(base_url=fake.url, api_key="x", max_retries=0) as client:
        return await run_async(client, tools, model="m", input="go", **more)


def events_of(fake: FakeResponses, tools: Session, **more: Any) -> list[Any]:
    with OpenAI(base_url=fake.url, api_key="x", max_retries=0) as client:
        return list(stream(client, tools, model="m", input="go", **more))


async def events_of_async(fake: FakeResponses, tools: Session) -> list[Any]:
    async with AsyncOpenAI(base_url=fake.url, api_key="x", max_retries=0) as client:
        return [event async for event in stream_async(client, tools, model="m", input="go")]


@pytest.fixture
def session(shared: Shared) -> Session:
    """A session in the shared workspace."""
    return Session(shared.pyro, workspace=shared.workspace_id)


def execute(command: str, call_id: str = "call_1", **more: object) -> Item:
    return call("workspace_exec", {"command": command, "timeout_seconds": None, **more}, call_id)


def test_a_model_works_until_it_answers(session: Session) -> None:
    with (
        session,
        fake_responses([[execute("echo one > f")], [execute("cat f")], [say("one")]]) as fake,
    ):
        result = converse(fake, session, instructions="be brief")

        assert (result.output_text, result.stopped, result.steps) == ("one", "done", 3)
        assert fake.answer()["stdout"] == "one\n"
        assert fake.requests[0]["instructions"] == "be brief"
        assert fake.requests[0]["input"] == [{"role": "user", "content": "go"}]
        assert [item["type"] for item in result.items[1:]] == [
            "function_call", "function_call_output", "function_call", "function_call_output",
            "message",
        ]  # fmt: skip
        names = {tool["name"] for tool in fake.requests[0]["tools"]}
        assert "workspace_exec" in names
        assert "workspace_create" not in names


def test_several_calls_of_one_response_are_answered_in_their_order(session: Session) -> None:
    said = [
        execute("echo 1 >> f", "a"),
        execute("echo 2 >> f; cat f", "b"),
        call("workspace_file_read", {"path": "f", "max_bytes": None, "offset": None}, "c"),
        call("workspace_file_list", {"path": None, "recursive": None, "offset": None}, "d"),
    ]
    with session, fake_responses([said, [say("ok")]]) as fake:
        converse(fake, session)

        results = fake.answers()
        assert [item["call_id"] for item in results] == ["a", "b", "c", "d"]
        outputs = [json.loads(item["output"]) for item in results]
        assert outputs[1]["stdout"] == "1\n2\n"
        assert outputs[2]["content"] == "1\n2\n"
        assert [entry["path"] for entry in outputs[3]["entries"]] == ["/workspace/f"]


def test_one_shot_computers_run_side_by_side(images: object) -> None:
    """Each waits for the other's line: only together can they end."""
    said = [call("vm_run", _vm_run(f"echo {name}"), name) for name in ("a", "b")]
    with Session(profile="vm-run") as session, fake_responses([said, [say("ok")]]) as fake:
        result = converse(fake, session)

        outputs = {item["call_id"]: json.loads(item["output"]) for item in fake.answers()}
        assert result.stopped == "done"
        assert {name: one["stdout"] for name, one in outputs.items()} == {"a": "a\n", "b": "b\n"}


def _vm_run(command: str) -> dict[str, Any]:
    return {
        "environment": "debian:12", "command": command, "vcpu_count": None, "mem_mib": 256,
        "timeout_seconds": None, "ttl_seconds": None, "network": None, "allow_host_compat": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (call("workspace_exec", '{"command": "tr'), "invalid_input", "one JSON object"),
        (call("workspace_exec", '["ls"]'), "invalid_input", "one JSON object"),
        (call("workspace_exec", {}), "invalid_input", "command is missing"),
        (execute("ls", cmd="x"), "invalid_input", "cmd is not taken"),
        (execute("ls", workspace_id="0"), "invalid_input", "one workspace"),
        (call("workspace_create", {"environment": "x"}), "unknown_tool", "No tool is named"),
        (call("rm", {}), "unknown_tool", "No tool is named 'rm'"),
        (call("workspace_file_read", {"path": "none"}), "workspace_file", "none"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_told_to_the_model(
    session: Session, said: Item, code: str, words: str
) -> None:
    with session, fake_responses([[said], [say("sorry")]]) as fake:
        result = converse(fake, session)

        assert result.stopped == "done"
        error = fake.answer()["error"]
        assert error["code"] == code
        assert words in error["message"] + error["hint"]


def test_long_output_is_bounded_and_says_so(session: Session) -> None:
    with session, fake_responses([[execute("yes | head -c 1000000")], [say("ok")]]) as fake:
        converse(fake, session)

        assert len(fake.answers()[0]["output"]) < 50_000
        assert fake.answer()["stdout_truncated"] is True
        assert "left out" in fake.answer()["stdout"]


def test_the_step_limit_ends_it_and_the_conversation_can_go_on(session: Session) -> None:
    with session, fake_responses([[execute("echo 1")], [say("one")]]) as fake:
        first = converse(fake, session, max_steps=1)
        again = converse(fake, session, input=first.items)

        assert (first.stopped, first.steps) == ("step_limit", 1)
        assert (again.stopped, again.output_text) == ("done", "one")
        assert fake.answer()["stdout"] == "1\n"


def test_the_time_limit_kills_the_command_that_runs(session: Session, shared: Shared) -> None:
    with session, fake_responses([[execute("flock held sleep 987", timeout_seconds=900)]]) as fake:
        result = converse(fake, session, time_limit_seconds=2)

    assert result.stopped == "time_limit"
    assert json.loads(result.items[-1]["output"])["error"]["code"] == "cancelled"
    # The guest learns of it from the closed connection.
    until(lambda: not shared.locked("held"))


def test_the_time_limit_ends_a_request_that_is_not_answered(session: Session) -> None:
    ended = threading.Event()

    def never(_request: Request) -> list[Item]:
        ended.wait(60)
        return [say("too late")]

    with session, fake_responses([never] * 9) as fake:
        sync = converse(fake, session, retries=2, time_limit_seconds=1)
        (streamed,) = events_of(fake, session, time_limit_seconds=1)
        awaited = asyncio.run(converse_async(fake, session, time_limit_seconds=1))
        ended.set()

    assert isinstance(streamed, RunResult)
    for result in (sync, streamed, awaited):
        assert (result.stopped, result.steps, result.output_text) == ("time_limit", 0, "")


@pytest.mark.parametrize(
    "limits", [{"max_steps": 0}, {"time_limit_seconds": 0}, {"time_limit_seconds": float("nan")}]
)
def test_limits_that_cannot_be_are_refused_before_anything_is_asked(
    limits: dict[str, Any], session: Session
) -> None:
    with fake_responses([]) as fake:
        with pytest.raises(InvalidInputError):
            converse(fake, session, **limits)

        assert fake.requests == []


def test_an_error_of_the_api_reaches_the_caller(session: Session) -> None:
    with session, fake_responses([Failure(400, "no such model"), Failure(429, "slow")]) as fake:
        with pytest.raises(openai.BadRequestError, match="no such model"):
            converse(fake, session, retries=3)
        with pytest.raises(openai.RateLimitError, match="slow"):
            converse(fake, session, retries=0)


def test_what_may_pass_is_tried_again(session: Session) -> None:
    script: Script = [Failure(429, "slow down"), Failure(500, "oops"), [say("there")]]
    with session, fake_responses(script) as fake:
        result = converse(fake, session, retries=2)

        assert (result.output_text, result.steps, len(fake.requests)) == ("there", 1, 3)


def test_an_answer_that_the_api_broke_off_is_no_success(session: Session, shared: Shared) -> None:
    said = Unfinished("max_output_tokens", [say("half"), execute("touch f")])
    with session, fake_responses([said]) as fake:
        result = converse(fake, session)

    assert (result.stopped, result.output_text) == ("incomplete", "half")
    assert [item.get("type") for item in result.items[1:]] == ["message"]
    assert shared.sh("ls") == ""


def test_streaming_gives_words_and_calls_as_they_come(session: Session) -> None:
    with session, fake_responses([[execute("echo 1")], [say("it is one")]]) as fake:
        events = events_of(fake, session)

        kinds = [event.type if hasattr(event, "type") else type(event) for event in events]
        words = [getattr(event, "delta", "") for event in events]
        assert kinds[0] == "response.created"
        assert kinds.index(ToolAnswered) < kinds.index("response.output_text.delta")
        assert [word for word in words if word in ("it", "is", "one")] == ["it", "is", "one"]
        assert isinstance(events[-1], RunResult)
        assert (events[-1].output_text, events[-1].stopped) == ("it is one", "done")
        assert fake.requests[0]["stream"] is True


async def test_the_async_loop_does_the_same(session: Session) -> None:
    said = [execute("echo 1", "a"), execute("echo 2", "b")]
    with fake_responses([said, [say("ok")]] * 2) as fake:
        async with session:
            result = await converse_async(fake, session)
            events = await events_of_async(fake, session)

        assert result.output_text == "ok"
        assert [json.loads(item["output"])["stdout"] for item in fake.answers(1)] == ["1\n", "2\n"]
        answered = [event for event in events if isinstance(event, ToolAnswered)]
        assert [event.call["call_id"] for event in answered] == ["a", "b"]
        assert isinstance(events[-1], RunResult)


async def test_cancelling_the_async_loop_kills_the_command(
    session: Session, shared: Shared
) -> None:
    with fake_responses([[execute("flock held sleep 987", timeout_seconds=900)]]) as fake:
        async with session:
            loop = asyncio.create_task(converse_async(fake, session))
            await asyncio.to_thread(until, lambda: shared.locked("held"))
            loop.cancel()
            with pytest.raises(asyncio.CancelledError):
                await loop

    # The guest learns of it from the closed connection.
    until(lambda: not shared.locked("held"))


def test_the_api_s_own_tools_work_in_the_workspace(session: Session, shared: Shared) -> None:
    shared.sh("printf 'a\\nb\\n' > old; touch gone")
    limits: dict[str, Any] = {"timeout_ms": 900, "max_output_length": 99}
    said = [
        shell(["echo out; echo err >&2; exit 3", "exec sleep 985"], "s", **limits),
        edit("create_file", "new/file", "+one\n+two", "c"),
        edit("update_file", "old", "@@\n a\n-b\n+B", "u"),
        edit("delete_file", "/workspace/gone", None, "d"),
        edit("update_file", "old", "-nothing\n+x", "f"),
        edit("create_file", "old", "+x", "e"),
        edit("update_file", "none", "+x", "n"),
        edit("delete_file", "../etc/passwd", None, "o"),
    ]  # fmt: skip
    with session, fake_responses([said, [say("ok")]]) as fake:
        tools = ResponsesTools(session, shell=True, apply_patch=True)
        converse(fake, tools)

        assert {"type": "apply_patch"} in fake.requests[0]["tools"]
        ran, *edited = fake.answers()
    assert ran["max_output_length"] == 99
    assert ran["output"][0] == {
        "stdout": "out\n", "stderr": "err\n", "outcome": {"type": "exit", "exit_code": 3}
    }  # fmt: skip
    assert ran["output"][1]["outcome"] == {"type": "timeout"}
    assert [one["status"] for one in edited] == ["completed"] * 3 + ["failed"] * 4
    assert "hunk 1 are not in the file" in edited[3]["output"]
    assert "exists already" in edited[4]["output"]
    assert "none" in edited[5]["output"]
    assert shared.sh("cat new/file old; ls") == "one\ntwo\na\nB\nnew\nold\n"


def test_the_api_s_own_tools_need_a_workspace() -> None:
    with pytest.raises(InvalidInputError, match="one workspace"):
        ResponsesTools(Session(), shell=True)


def test_a_loop_of_ones_own_dispatches_what_it_gets(session: Session) -> None:
    with session, fake_responses([[say("first"), execute("echo 1")], [say("ok")]]) as fake:
        tools = ResponsesTools(session)
        definitions: list[Any] = tools.definitions
        with OpenAI(base_url=fake.url, api_key="x", max_retries=0) as client:
            response = client.responses.create(model="m", input="go", tools=definitions)
        results = [tools.dispatch(item) for item in response.output]

    assert results[0] is None
    assert results[1] is not None
    assert json.loads(results[1]["output"])["stdout"] == "1\n"


@pytest.mark.parametrize("keep", [False, True])
def test_what_the_model_made_is_removed_or_kept_as_asked(keep: bool, images: object) -> None:
    made = call("workspace_create", {"environment": "debian:12", "mem_mib": 256})
    with Pyro() as pyro, fake_responses([[made], [say("ok")]]) as fake:
        with Session(pyro, keep_workspaces=keep) as session:
            converse(fake, session)
            workspace_id = fake.answer()["workspace_id"]
            assert pyro.status_workspace(workspace_id)["state"] == "started"

        left = [one["workspace_id"] for one in pyro.list_workspaces()["workspaces"]]
        assert left == ([workspace_id] if keep else [])
        for one in left:
            pyro.delete_workspace(one)
