"""The shells of this machine, and what the host can ask about them."""

from __future__ import annotations

from pyro_mcp import protocol
from pyro_mcp.guest import loop as events
from pyro_mcp.guest.keyboard import NotTakenError, Writer
from pyro_mcp.guest.plain_json import encode
from pyro_mcp.guest.processes import send_error
from pyro_mcp.guest.requests import RefusedError, bad_request
from pyro_mcp.guest.shell import Shell
from pyro_mcp.guest.shell_requests import (
    OpenRequest,
    ReadRequest,
    number,
    parse_shell_id,
    parse_signal_name,
    parse_size,
)
from pyro_mcp.guest.streams import frames_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.channel import Channel
    from pyro_mcp.guest.loop import Loop, Timer
    from pyro_mcp.guest.processes import Places, Task
    from pyro_mcp.guest.shell import Fields

    Request = dict[str, object]

_LARGEST_CURSOR = 2**62
_CONTINUATION = bytes(range(0x80, 0xC0))
_VIEW_BYTES = 256 * 1024
"""How much an attached host is sent before others have their turn."""


class Shells:
    """All shells that are not closed. `on_end` is called when one has no process left."""

    def __init__(
        self,
        loop: Loop,
        places: Places,
        directory: int,
        *,
        on_end: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        """`directory` is a descriptor of the devpts to open terminals in."""
        self._loop = loop
        self._places = places
        self._directory = directory
        self._on_end = on_end
        self._log = log
        self._shells: dict[str, Shell] = {}
        self._alive: set[Shell] = set()

    @property
    def all_ended(self) -> bool:
        """Whether no shell has a process left, closed ones included."""
        return not self._alive

    def kill(self) -> None:
        """End them all, at once: the machine is being stopped."""
        for shell in tuple(self._alive):
            shell.kill()

    def begin(self, channel: Channel, request: Request) -> Task:
        """Carry out a request. Raises `RefusedError`."""
        operation = str(request.get("op")).removeprefix("shell_")
        begin: Callable[[Channel, Request], Task] = getattr(self, f"_{operation}")
        return begin(channel, request)

    def _find(self, request: Request) -> Shell:
        shell_id = parse_shell_id(request)
        shell = self._shells.get(shell_id)
        if shell is None:
            raise RefusedError(protocol.ERROR_NO_SUCH_SHELL, f"no shell has the id {shell_id}")
        return shell

    def _open(self, channel: Channel, request: Request) -> Task:
        wanted = OpenRequest(request)
        if wanted.shell_id in self._shells:
            raise bad_request("shell_id is taken")
        if len(self._shells) >= protocol.MOST_SHELLS:
            raise RefusedError(
                protocol.ERROR_TOO_MANY_SHELLS, f"there are {len(self._shells)} shells already"
            )

        def opened(refusal: RefusedError | None) -> None:
            if refusal is None:
                _reply(channel, shell.record())
            else:
                self._shells.pop(shell.id, None)
                send_error(channel, refusal)

        try:
            shell = Shell(
                self._loop,
                self._places,
                wanted,
                self._directory,
                on_opened=opened,
                log=self._log,
            )
        except OSError as error:
            why = f"the guest has no terminal for it: {error.strerror}"
            raise RefusedError(protocol.ERROR_CANNOT_START, why) from None
        self._shells[shell.id] = shell
        self._alive.add(shell)

        def changed() -> None:
            if shell.ended and shell in self._alive:
                self._alive.discard(shell)
                self._on_end()

        shell.on_change.add(changed)
        # A host that goes away has opened it all the same: it is listed.
        return Waiting()

    def _list(self, channel: Channel, _request: Request) -> Task:
        for shell in tuple(self._shells.values()):
            line = encode(shell.record()) + b"\n"
            channel.send(frames_of(protocol.STDOUT, memoryview(line)))
        return _reply(channel, {"count": len(self._shells)})

    def _read(self, channel: Channel, request: Request) -> Task:
        return Reading(self._loop, channel, self._find(request), ReadRequest(request))

    def _write(self, channel: Channel, request: Request) -> Task:
        return Writing(channel, self._find(request))

    def _attach(self, channel: Channel, request: Request) -> Task:
        shell = self._find(request)
        cursor = number(request, "cursor", 0, _LARGEST_CURSOR)
        return Attachment(self._loop, channel, shell, cursor)

    def _resize(self, channel: Channel, request: Request) -> Task:
        shell = self._find(request)
        shell.resize(*parse_size(request))
        return _reply(channel, shell.record())

    def _signal(self, channel: Channel, request: Request) -> Task:
        shell = self._find(request)
        shell.signal(parse_signal_name(request))
        return _reply(channel, shell.record())

    def _close(self, channel: Channel, request: Request) -> Task:
        shell = self._find(request)
        # From here on nobody finds it, and it ends whatever becomes of the host.
        del self._shells[shell.id]

        def tell() -> None:
            if shell.ended:
                shell.on_change.discard(tell)
                _reply(channel, shell.record())

        shell.on_change.add(tell)
        shell.hang_up()
        tell()
        return Waiting()


class Waiting:
    """Something goes on by itself, and ends the connection; the host has nothing to add."""

    def frame(self, kind: int, _payload: bytes) -> None:
        """See `Task`."""
        raise bad_request(f"a frame of kind {kind} is not due")

    def abort(self) -> None:
        """See `Task`."""


class Reading(Waiting):
    """One read: at once, or when it has waited long enough."""

    def __init__(self, loop: Loop, channel: Channel, shell: Shell, request: ReadRequest) -> None:
        self._loop = loop
        self._channel = channel
        self._shell = shell
        self._request = request
        self._begun = events.now()
        self._counted = shell.history.within(request.cursor)
        self._chars = 0
        self._timer: Timer | None = None
        self._done = False
        shell.on_change.add(self._look)
        self._look()
        if not self._done:
            self._look_again()

    def abort(self) -> None:
        """The host is gone."""
        self._done = True
        self._loop.cancel(self._timer)
        self._shell.on_change.discard(self._look)

    def _look(self) -> None:
        if not self._done and (
            self._shell.ended or not self._request.wait_idle_ms or self._enough()
        ):
            self._answer(timed_out=False)

    def _enough(self) -> bool:
        history = self._shell.history
        start, self._counted = history.within(self._counted), history.end
        come = history.piece(start, history.end)
        self._chars += len(come.translate(None, _CONTINUATION))
        return self._chars >= self._request.max_chars

    def _look_again(self) -> None:
        if self._done:
            return
        now = events.now()
        idle_at = max(self._shell.last_output, self._begun) + self._request.wait_idle_ms / 1000
        limit_at = self._begun + protocol.SHELL_WAIT_LIMIT_MS / 1000
        if now >= min(idle_at, limit_at):
            self._answer(timed_out=now < idle_at)
        else:
            self._timer = self._loop.call_in(
                min(idle_at, limit_at) - now, self._look_again, self._channel.fail
            )

    def _answer(self, *, timed_out: bool) -> None:
        self.abort()
        history, wanted = self._shell.history, self._request
        start = history.within(wanted.cursor)
        context = history.context_before(start, wanted.context)
        stop = min(start + wanted.max_bytes, history.end)
        data = history.piece(start - context, stop)
        self._channel.send(frames_of(protocol.STDOUT, memoryview(data)))
        more: Fields = {"start": start, "context": context, "wait_timed_out": timed_out}
        _reply(self._channel, {**self._shell.record(), **more})


class Writing(Waiting):
    """One write: done when the terminal has taken all of it."""

    def __init__(self, channel: Channel, shell: Shell) -> None:
        self._channel = channel
        self._shell = shell
        self._writer = Writer(shell.keyboard, channel, self._end)
        if shell.ended:
            raise RefusedError(protocol.ERROR_SHELL_ENDED, f"the shell {shell.id} has ended")

    def frame(self, kind: int, payload: bytes) -> None:
        """See `Task`."""
        if kind != protocol.STDIN:
            raise bad_request(f"a frame of kind {kind} is not due")
        self._writer.feed(payload)

    def abort(self) -> None:
        """The host is gone: what the terminal has not taken is dropped."""
        self._writer.leave()

    def _end(self, error: RefusedError | None) -> None:
        if isinstance(error, NotTakenError):
            answer: Fields = {"code": error.code, "message": str(error), "taken": error.taken}
            self._channel.send_frame(protocol.ERROR, encode(answer))
            self._channel.close_when_sent()
        else:
            _reply(self._channel, {**self._shell.record(), "taken": self._writer.taken})


class Attachment(Waiting):
    """Output as it comes, input as it is typed, until one side goes.

    A host that falls behind by more than the history misses what was dropped, and is told; it
    never holds the shell.
    """

    def __init__(self, loop: Loop, channel: Channel, shell: Shell, cursor: int) -> None:
        self._loop = loop
        self._channel = channel
        self._shell = shell
        self._cursor = min(cursor, shell.history.end)
        self._writer = Writer(shell.keyboard, channel, None)
        self._scheduled = False
        self._done = False
        shell.on_change.add(self._changed)
        self._changed()

    def frame(self, kind: int, payload: bytes) -> None:
        """See `Task`."""
        if kind != protocol.STDIN:
            raise bad_request(f"a frame of kind {kind} is not due")
        if not self._shell.ended:
            self._writer.feed(payload)

    def abort(self) -> None:
        """The host is gone."""
        self._done = True
        self._shell.on_change.discard(self._changed)
        self._writer.leave()

    def _changed(self) -> None:
        if not self._scheduled and not self._done:
            self._send()

    def _send(self) -> None:
        self._scheduled = False
        if self._done:
            return
        history = self._shell.history
        if self._channel.blocked:
            self._scheduled = True
            self._channel.when_drained(self._send)
            return
        start = history.within(self._cursor)
        if start > self._cursor:
            self._channel.send_frame(protocol.STDERR, b"%d" % (start - self._cursor))
        stop = min(start + _VIEW_BYTES, history.end)
        self._cursor = stop
        if stop > start:
            self._channel.send(frames_of(protocol.STDOUT, memoryview(history.piece(start, stop))))
        if stop < history.end:
            self._scheduled = True
            self._loop.call_in(0, self._send, self._channel.fail)
        elif self._shell.ended:
            self.abort()
            _reply(self._channel, self._shell.record())


def _reply(channel: Channel, value: Fields) -> Task:
    channel.send_frame(protocol.REPLY, encode(value))
    channel.close_when_sent()
    return Waiting()
