"""How far a conversation has come: what was said, what is left of its limits."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pyro_mcp.errors import InvalidInputError
from pyro_mcp.integrations.openai.tools import as_dict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai.types.responses import Response

    Item = dict[str, Any]

CALLS = frozenset({"function_call", "shell_call", "apply_patch_call"})


@dataclass(frozen=True, kw_only=True)
class ToolAnswered:
    """A tool was called and has answered; one of the events of `stream`."""

    call: dict[str, Any]
    """The item of the model's output."""
    result: dict[str, Any]
    """The item that is sent back."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a conversation ended."""

    output_text: str
    """What the model said last."""
    stopped: Literal["done", "incomplete", "step_limit", "time_limit"]
    """`incomplete`: the API broke its answer off; see `response.incomplete_details`."""
    steps: int
    """Requests that were answered."""
    items: list[dict[str, Any]] = field(repr=False)
    """The whole conversation, every call with its result: the `input` of a run that goes on."""
    response: Response | None = field(repr=False)
    """The last one."""


class Progress:
    """One conversation, while it goes on."""

    def __init__(
        self, given: str | Iterable[object], *, max_steps: int, time_limit_seconds: float
    ) -> None:
        if max_steps < 1:
            raise InvalidInputError("max_steps", f"is {max_steps}", hint="Give 1 or more.")
        if not time_limit_seconds > 0:
            raise InvalidInputError(
                "time_limit_seconds", f"is {time_limit_seconds}", hint="Give more than 0."
            )
        self.items: list[Item] = (
            [{"role": "user", "content": given}]
            if isinstance(given, str)
            else [as_dict(item) for item in given]
        )
        self._max_steps = max_steps
        self._deadline = time.monotonic() + time_limit_seconds
        self._steps = 0
        self._response: Response | None = None
        self.calls: list[Item] = []
        """What the last response asks for."""

    @property
    def seconds_left(self) -> float:
        """Of the time limit, 0 at the least."""
        return max(0.0, self._deadline - time.monotonic())

    def take(self, response: Response) -> list[Item]:
        """Add a response; gives the calls it asks for."""
        self._steps += 1
        self._response = response
        said = [as_dict(item) for item in response.output]
        self.calls = [item for item in said if item.get("type") in CALLS]
        if not _whole(response):
            # A call that is not carried out would make the conversation impossible to go on with.
            said = [item for item in said if item not in self.calls]
            self.calls = []
        self.items += said
        return self.calls

    def answered(self, results: Iterable[Item]) -> None:
        """Add the results of those calls."""
        self.items += results

    def stopped(self) -> RunResult | None:
        """How it ended, or None when there is another step to make."""
        response = self._response
        if response is not None and not _whole(response):
            return self._result("incomplete")
        if response is not None and not self.calls:
            return self._result("done")
        if self.seconds_left == 0:
            return self._result("time_limit")
        return self._result("step_limit") if self._steps >= self._max_steps else None

    def out_of_time(self) -> RunResult:
        """The end, while a request was under way."""
        return self._result("time_limit")

    def _result(
        self, stopped: Literal["done", "incomplete", "step_limit", "time_limit"]
    ) -> RunResult:
        response = self._response
        return RunResult(
            output_text="" if response is None else response.output_text,
            stopped=stopped,
            steps=self._steps,
            items=self.items,
            response=response,
        )


def _whole(response: Response) -> bool:
    return response.status in (None, "completed")
