"""Requests to the API that end with the conversation's time at the latest.

The client's own time limit is for each attempt and each piece of an answer, and it repeats what
failed: all of that together may take many times as long. So attempts are counted here, each with
the time that is left.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pyro_mcp.errors import ModelError
from pyro_mcp.integrations.extras import needed

with needed("openai"):
    import httpx2
    import openai

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from openai.types.responses import Response, ResponseStreamEvent

    from pyro_mcp.integrations.openai.progress import Progress

_ENDS = ("response.completed", "response.incomplete", "response.failed")
_LONGEST_PAUSE_SECONDS = 8.0


class OutOfTimeError(Exception):
    """The conversation's time ended during a request."""


def ask(client: openai.OpenAI, progress: Progress, request: dict[str, Any]) -> Any:
    """A response, or what streams one; as often as the client is set to retry.

    Raises:
        OutOfTimeError: There was no time left.
        openai.APIError: The API failed, or refused the request.
    """
    once = client.with_options(max_retries=0)
    for attempt in itertools.count():
        try:
            return once.responses.create(
                **request, input=_input(progress), timeout=_timeout(client, progress)
            )
        except openai.APIError as error:
            if isinstance(error, openai.APITimeoutError) and progress.seconds_left == 0:
                raise OutOfTimeError from error
            if attempt >= client.max_retries or not _passes(error):
                raise
            pause = _pause(error, attempt)
            if pause >= progress.seconds_left:
                raise OutOfTimeError from error
        time.sleep(pause)
    raise AssertionError("the attempts are counted above")


def ask_streaming(
    client: openai.OpenAI, progress: Progress, request: dict[str, Any]
) -> Generator[ResponseStreamEvent, None, Response]:
    """Gives the events of a response as they come, and returns the response.

    Raises:
        OutOfTimeError: There was no time left.
        openai.APIError: The API failed, or refused the request.
        ModelError: The answer broke off.
    """
    response: Response | None = None
    with ask(client, progress, {**request, "stream": True}) as events:
        try:
            for event in events:
                yield event
                if event.type in _ENDS:
                    response = event.response
                if progress.seconds_left == 0 and response is None:
                    raise OutOfTimeError
        except (openai.APITimeoutError, httpx2.TimeoutException) as error:
            if progress.seconds_left == 0:
                raise OutOfTimeError from error
            raise
    return _whole(response, client)


async def ask_async(client: openai.AsyncOpenAI, progress: Progress, request: dict[str, Any]) -> Any:
    """As `ask`; here the time is kept by the event loop, and the client retries by itself."""
    try:
        async with asyncio.timeout(progress.seconds_left):
            return await client.responses.create(**request, input=_input(progress))
    except TimeoutError as error:
        raise OutOfTimeError from error


async def ask_streaming_async(
    client: openai.AsyncOpenAI, progress: Progress, request: dict[str, Any]
) -> AsyncIterator[ResponseStreamEvent]:
    """As `ask_streaming`; the response is given to `progress`."""
    response: Response | None = None
    async with await ask_async(client, progress, {**request, "stream": True}) as events:
        coming = aiter(events)
        with suppress(StopAsyncIteration):
            while True:
                try:
                    event = await asyncio.wait_for(anext(coming), progress.seconds_left)
                except TimeoutError as error:
                    raise OutOfTimeError from error
                yield event
                if event.type in _ENDS:
                    response = event.response
    progress.take(_whole(response, client))


def _input(progress: Progress) -> Any:
    # The client's types know every kind of item, and none as the plain dict that all are.
    return progress.items


def _timeout(client: openai.OpenAI, progress: Progress) -> float:
    own = getattr(client.timeout, "read", client.timeout)
    left = max(progress.seconds_left, 0.001)
    return min(left, own) if isinstance(own, int | float) else left


def _passes(error: openai.APIError) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code in (408, 409, 429) or error.status_code >= 500
    return isinstance(error, openai.APIConnectionError)


def _pause(error: openai.APIError, attempt: int) -> float:
    if isinstance(error, openai.APIStatusError):
        with suppress(KeyError, ValueError):  # not said, or as a date
            return max(0.0, float(error.response.headers["retry-after"]))
    return float(min(0.5 * 2**attempt, _LONGEST_PAUSE_SECONDS))


def _whole(response: Response | None, client: openai.OpenAI | openai.AsyncOpenAI) -> Response:
    if response is None:
        raise ModelError(
            str(client.base_url), "its answer broke off before its end", hint="Ask again."
        )
    return response
