"""What an agent has of pyro while it works: the tools of a profile, and perhaps a workspace."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyro_mcp.errors import InvalidInputError, PyroError, UnknownToolError, UnknownWorkspaceError
from pyro_mcp.integrations.order import Order
from pyro_mcp.sdk.cancel import Cancel
from pyro_mcp.sdk.pyro import Pyro
from pyro_mcp.tools.names import CORE
from pyro_mcp.tools.strict import relaxed
from pyro_mcp.tools.table import tools_of
from pyro_mcp.tools.tool import Context
from pyro_mcp.tools.toolset import Answer, Toolset, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from concurrent.futures import Future
    from typing import Self, TypeVar

    from pyro_mcp.tools.tool import Tool

    T = TypeVar("T")

_ENDING_SECONDS = 10.0
"""How long a cancelled task waits for its call: longer than it takes to end a guest's command."""
_MAKES = frozenset({"workspace_create", "workspace_fork"})
_ID = "workspace_id"
_VM_RUN = "vm_run"
_OWN = "the session's own workspace"


class Session:
    """The tools of one agent, and the workspaces that were made with them.

    A workspace that is made for the session, or by its tools, is deleted when the session ends,
    unless `keep_workspaces`; one that was there before never is. May be used from several threads
    and tasks at once, with `with` and `async with`.

    Args:
        pyro: Used, and left open; one of its own when left out.
        profile: `vm-run` for single commands, `workspace-core`, or `workspace-full`; None for no
            tools but those that a framework brings along.
        mode: A use case, with fewer tools, instead of the profile: see `pyro mcp serve --help`.
        workspace: The id of a workspace, or the arguments of `Pyro.create_workspace` for a new
            one, such as `{"environment": "debian:12"}`, made by `with` or else by its first use.
            All tools are confined to it, and none asks for its id. When left out, the agent makes
            its own.
        keep_workspaces: Delete nothing at the end.
        without: Names of tools to leave out. `workspace_sync_push` and `workspace_export` reach
            files of this host, with the rights of this process.

    Raises:
        ValueError: No profile, mode or tool has that name.
    """

    def __init__(
        self,
        pyro: Pyro | None = None,
        *,
        profile: str | None = CORE,
        mode: str | None = None,
        workspace: str | Mapping[str, Any] | None = None,
        keep_workspaces: bool = False,
        without: Collection[str] = (),
    ) -> None:
        self._by_name = {
            tool.name: tool for tool in _announced(profile, mode, pinned=workspace is not None)
        }
        for name in without:
            del self._by_name[self.find(name).name]
        self.tools = tuple(self._by_name.values())
        self._profile, self._mode = profile, mode
        self._pinned = workspace is not None
        self._to_make = None if workspace is None or isinstance(workspace, str) else workspace
        self._workspace_id = workspace if isinstance(workspace, str) else None
        self._keep = keep_workspaces
        self._made: set[str] = set()
        self._running: dict[object, Cancel] = {}
        self._order = Order()
        self._lock = threading.Lock()
        self._owns_pyro = pyro is None
        self.pyro = Pyro() if pyro is None else pyro
        self._toolset: Toolset | None = None

    @property
    def workspace_id(self) -> str:
        """The one workspace of this session; made now if it has to be.

        Raises:
            ValueError: The session was given none, or it cannot be made so.
            RuntimeError: The host, the environment or the guest failed.
        """
        self.require_workspace("workspace_id")
        with self._lock:
            if self._workspace_id is None:
                made = self.pyro.create_workspace(**(self._to_make or {}))
                self._workspace_id = str(made[_ID])
                self._made.add(self._workspace_id)
            return self._workspace_id

    def require_workspace(self, what: str) -> None:
        """Raise `InvalidInputError` unless this session has one workspace, which `what` needs."""
        if not self._pinned:
            raise InvalidInputError(
                what, "needs a session that has one workspace",
                hint='Session(workspace={"environment": "debian:12"}) makes one.',
            )  # fmt: skip

    def find(self, name: str) -> Tool:
        """The tool of that name.

        Raises:
            UnknownToolError: This session has none.
        """
        if name not in self._by_name:
            raise UnknownToolError(name, [*self._by_name])
        return self._by_name[name]

    def tool(self, name: str) -> Tool | None:
        """The tool of that name, if this session has it."""
        return self._by_name.get(name)

    def call(
        self, name: str, arguments: Mapping[str, Any], *, cancel: Cancel | None = None
    ) -> Answer:
        """Carry out one call of a tool; whatever goes wrong is an answer too.

        `cancel` ends it from another thread, and kills what it runs in a guest.
        """
        try:
            self.find(name)
            toolset = self._ready()
            if self._pinned and _ID in arguments:
                raise InvalidInputError(
                    _ID, "is not taken by this tool",
                    hint="This session has one workspace, and every call is for that one.",
                )  # fmt: skip
        except PyroError as error:
            return failure(error)
        answer = toolset.call(name, arguments, Context(cancel=cancel))
        self._remember(name, arguments, answer)
        return answer

    def call_json(self, name: str, arguments: str, *, cancel: Cancel | None = None) -> Answer:
        """The same with arguments as a model wrote them, by a strict schema or not.

        They should be JSON; what is none is answered with an error.
        """
        parsed = as_object(arguments or "{}")
        if parsed is None:
            wrong = "are not one JSON object"
            return failure(InvalidInputError("arguments", wrong, hint="Send them as JSON."))
        tool = self.tool(name)
        return self.call(name, parsed if tool is None else relaxed(tool, parsed), cancel=cancel)

    def in_turn(
        self, work: Callable[[], T], *, call: str | None = None, arguments: Mapping[str, Any] = {}
    ) -> Future[T]:
        """Do work in a thread, and not before what it may not overtake.

        Of work for one workspace, none overtakes what changes it and was submitted earlier.

        Args:
            work: What to do.
            call: The tool that it calls; when left out, it changes the session's own workspace.
            arguments: What that tool is given.
        """
        tool = None if call is None else self.tool(call)
        about = [arguments[key] for key in (_ID, "vm_id") if key in arguments]
        lane = _OWN if self._pinned and call != _VM_RUN else str(about[0]) if about else None
        return self._order.submit(lane, work, changes=tool is None or not tool.hints.read_only)

    async def call_async(self, name: str, arguments: Mapping[str, Any]) -> Answer:
        """As `call`, in its turn; ends with its task, what it runs in a guest included."""
        cancel = Cancel()

        def work() -> Answer:
            return self.call(name, arguments, cancel=cancel)

        return await self.end_with(cancel, self.in_turn(work, call=name, arguments=arguments))

    async def call_json_async(self, name: str, arguments: str) -> Answer:
        """As `call_json`, in its turn; ends with its task, what it runs in a guest included."""
        cancel = Cancel()

        def work() -> Answer:
            return self.call_json(name, arguments, cancel=cancel)

        given = as_object(arguments) or {}
        return await self.end_with(cancel, self.in_turn(work, call=name, arguments=given))

    async def end_with(self, cancel: Cancel, doing: Future[T]) -> T:
        """Wait for work; when the task that waits is cancelled, so is the work."""
        waiting = asyncio.wrap_future(doing)
        self._running[waiting] = cancel
        waiting.add_done_callback(self._running.pop)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            cancel.trigger()
            # What cannot be ended at once, such as the building of an environment, goes on alone.
            await asyncio.wait([waiting], timeout=_ENDING_SECONDS)
            raise

    def close(self) -> None:
        """End the session, and what its tasks still run in a guest; may be called twice."""
        for cancel in tuple(self._running.values()):
            cancel.trigger()
        self._order.close()
        with contextlib.ExitStack() as ending:
            if self._owns_pyro:
                ending.callback(self.pyro.close)
            with self._lock:
                made, self._made = self._made, set()
                if self._to_make is not None:  # a session that is begun again makes another one
                    self._workspace_id = self._toolset = None
            if not self._keep:
                for workspace_id in made:
                    ending.callback(self._delete, workspace_id)

    def __enter__(self) -> Self:
        if self._to_make is not None:
            _ = self.workspace_id
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        try:
            return await self.end_with(Cancel(), self.in_turn(self.__enter__))
        except BaseException:
            await asyncio.to_thread(self.close)  # what was made meanwhile
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.to_thread(self.close)

    def _ready(self) -> Toolset:
        workspace_id = self.workspace_id if self._pinned else None
        with self._lock:
            if self._toolset is None:
                self._toolset = Toolset(
                    self.pyro, self._profile or CORE, mode=self._mode, workspace_id=workspace_id
                )
            return self._toolset

    def _remember(self, name: str, arguments: Mapping[str, Any], answer: Answer) -> None:
        if answer.is_error:
            return
        if name in _MAKES:
            self._made.add(str(answer.structured[_ID]))
        elif name == "workspace_delete":
            self._made.discard(str(arguments.get(_ID)))

    def _delete(self, workspace_id: str) -> None:
        with contextlib.suppress(UnknownWorkspaceError):  # somebody was faster
            self.pyro.delete_workspace(workspace_id)


def _announced(profile: str | None, mode: str | None, *, pinned: bool) -> tuple[Tool, ...]:
    if profile is None and mode is None:
        return ()
    tools = tools_of(profile or CORE, mode=mode, workspace_id="" if pinned else None)
    if not pinned:
        return tools
    return tuple(
        replace(tool, parameters=tuple(one for one in tool.parameters if one.name != _ID))
        for tool in tools
    )


def compact(value: object) -> str:
    """JSON for a model: without the spaces that a person would like."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def text_of(answer: Answer) -> str:
    """An answer as text for a model: compact JSON, or sentences when it is an error."""
    return answer.text if answer.is_error else compact(answer.structured)


def as_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is; None when it is none."""
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
