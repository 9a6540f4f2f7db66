"""The loop: ask the model, carry out what it calls, send the results, until it is done."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pyro_mcp.integrations.openai.progress import Progress, RunResult, ToolAnswered
from pyro_mcp.integrations.openai.requests import (
    OutOfTimeError,
    ask,
    ask_async,
    ask_streaming,
    ask_streaming_async,
)
from pyro_mcp.integrations.openai.tools import ResponsesTools
from pyro_mcp.integrations.session import Session
from pyro_mcp.sdk.cancel import Cancel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from openai import AsyncOpenAI, OpenAI
    from openai.types.responses import ResponseStreamEvent

    Item = dict[str, Any]
    Event = ResponseStreamEvent | ToolAnswered | RunResult

MAX_STEPS = 50
TIME_LIMIT_SECONDS = 900.0


def run(
    client: OpenAI,
    tools: ResponsesTools | Session,
    *,
    model: str,
    input: str | Iterable[object],
    max_steps: int = MAX_STEPS,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
    **options: Any,
) -> RunResult:
    """Let a model work with a session's tools until it answers without calling one.

    The calls of one response run side by side where they cannot get in each other's way: those
    that only look, those in different workspaces, `vm_run`. Others keep their order.

    Args:
        client: Its settings, such as the number of retries, are followed.
        tools: A session, which is left open; or `ResponsesTools`, to have the API's own too.
        model: The model's name.
        input: What to do; or the items of a conversation that goes on.
        max_steps: At most so many requests.
        time_limit_seconds: For all of it; a command that runs then is killed.
        options: Passed on to `client.responses.create`, for example `instructions`.

    Returns:
        How it ended. What a limit broke off goes on with `input=result.items`.

    Raises:
        openai.OpenAIError: The API failed, or refused the request.
        ValueError: A limit that cannot be used.
    """
    progress = Progress(input, max_steps=max_steps, time_limit_seconds=time_limit_seconds)
    bound = _bound(tools)
    request = _request(bound, model, options)
    while True:
        try:
            calls = progress.take(ask(client, progress, request))
        except OutOfTimeError:
            return progress.out_of_time()
        for _ in _answers(bound, calls, progress):
            pass
        if result := progress.stopped():
            return result


def stream(
    client: OpenAI,
    tools: ResponsesTools | Session,
    *,
    model: str,
    input: str | Iterable[object],
    max_steps: int = MAX_STEPS,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
    **options: Any,
) -> Iterator[Event]:
    """As `run`, and gives everything that happens as it happens.

    Returns:
        The API's own events, a `ToolAnswered` for each call, and at the end the `RunResult`.
    """
    progress = Progress(input, max_steps=max_steps, time_limit_seconds=time_limit_seconds)
    bound = _bound(tools)
    request = _request(bound, model, options)

    def events() -> Iterator[Event]:
        while True:
            try:
                calls = progress.take((yield from ask_streaming(client, progress, request)))
            except OutOfTimeError:
                yield progress.out_of_time()
                return
            yield from _answers(bound, calls, progress)
            if result := progress.stopped():
                yield result
                return

    return events()


async def run_async(
    client: AsyncOpenAI,
    tools: ResponsesTools | Session,
    *,
    model: str,
    input: str | Iterable[object],
    max_steps: int = MAX_STEPS,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
    **options: Any,
) -> RunResult:
    """As `run`. Cancelling it kills what runs in a guest."""
    progress = Progress(input, max_steps=max_steps, time_limit_seconds=time_limit_seconds)
    bound = _bound(tools)
    request = _request(bound, model, options)
    while True:
        try:
            calls = progress.take(await ask_async(client, progress, request))
        except OutOfTimeError:
            return progress.out_of_time()
        async for _ in _answers_async(bound, calls, progress):
            pass
        if result := progress.stopped():
            return result


def stream_async(
    client: AsyncOpenAI,
    tools: ResponsesTools | Session,
    *,
    model: str,
    input: str | Iterable[object],
    max_steps: int = MAX_STEPS,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
    **options: Any,
) -> AsyncIterator[Event]:
    """As `stream`. Cancelling it kills what runs in a guest."""
    progress = Progress(input, max_steps=max_steps, time_limit_seconds=time_limit_seconds)
    bound = _bound(tools)
    request = _request(bound, model, options)

    async def events() -> AsyncIterator[Event]:
        while True:
            try:
                async for event in ask_streaming_async(client, progress, request):
                    yield event
            except OutOfTimeError:
                yield progress.out_of_time()
                return
            async for answered in _answers_async(bound, progress.calls, progress):
                yield answered
            if result := progress.stopped():
                yield result
                return

    return events()


def _bound(tools: ResponsesTools | Session) -> ResponsesTools:
    return ResponsesTools(tools) if isinstance(tools, Session) else tools


def _request(tools: ResponsesTools, model: str, options: dict[str, Any]) -> dict[str, Any]:
    more = options.pop("tools", ())
    return {**options, "model": model, "tools": [*tools.definitions, *more]}


def _answers(
    tools: ResponsesTools, calls: list[Item], progress: Progress
) -> Iterator[ToolAnswered]:
    with _cancelled_after(progress.seconds_left) as cancel:
        doing = [tools.submit(call, cancel=cancel) for call in calls]
        for call, one in zip(calls, doing, strict=True):
            yield _answered(progress, call, one.result())


async def _answers_async(
    tools: ResponsesTools, calls: list[Item], progress: Progress
) -> AsyncIterator[ToolAnswered]:
    cancel = Cancel()
    timer = asyncio.get_running_loop().call_later(progress.seconds_left, cancel.trigger)
    try:
        doing = [tools.submit(call, cancel=cancel) for call in calls]
        for call, one in zip(calls, doing, strict=True):
            yield _answered(progress, call, await tools.session.end_with(cancel, one))
    except BaseException:
        cancel.trigger()
        raise
    finally:
        timer.cancel()


def _answered(progress: Progress, call: Item, result: Item | None) -> ToolAnswered:
    assert result is not None, "what asks for nothing is no call"
    progress.answered([result])
    return ToolAnswered(call=call, result=result)


@contextmanager
def _cancelled_after(seconds: float) -> Iterator[Cancel]:
    cancel = Cancel()
    timer = threading.Timer(seconds, cancel.trigger)
    timer.start()
    try:
        yield cancel
    except BaseException:
        cancel.trigger()  # others may still run
        raise
    finally:
        timer.cancel()
        timer.join()
