"""Connections of the host, and what it can ask for."""

from __future__ import annotations

import _socket
import _thread
import os

from pyro_mcp import protocol
from pyro_mcp.guest import loop as events
from pyro_mcp.guest.channel import Channel
from pyro_mcp.guest.plain_json import encode
from pyro_mcp.guest.processes import Execution, send_error
from pyro_mcp.guest.requests import RefusedError, bad_request, decode, parse_exec, stopping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.loop import Loop
    from pyro_mcp.guest.processes import Places, Task
    from pyro_mcp.guest.services import Services
    from pyro_mcp.guest.shells import Shells

_MOST_CONNECTIONS = 256
"""Further ones wait in the listening socket's queue."""
_ACCEPT_AGAIN_SECONDS = 0.1
_WORK_STACK = 1024 * 1024


class Server:
    """Answers the host on a listening, non-blocking stream socket.

    `terminals` is a descriptor of the devpts that shells have their terminals in. `on_halt` is
    called with the channel that asked, when no command runs any more; `on_disconnect` when a
    connection has ended.
    """

    def __init__(
        self,
        loop: Loop,
        listener: _socket.socket,
        places: Places,
        *,
        count_oom_kills: Callable[[], int],
        null: int,
        terminals: int,
        on_halt: Callable[[Channel], None],
        on_idle: Callable[[], None],
        on_disconnect: Callable[[], None],
        listen_relay: Callable[[int], _socket.socket],
        log: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._places = places
        self._count_oom_kills = count_oom_kills
        self._null = null
        self._terminals = terminals
        self._on_halt = on_halt
        self._on_idle = on_idle
        self._on_disconnect = on_disconnect
        self._listen_relay = listen_relay
        self._log = log
        self._services: Services | None = None
        self._halting: Channel | None = None
        self._halted = False
        self._connections: set[_Connection] = set()
        self._executions: set[Execution] = set()
        self._shells: Shells | None = None
        self._listen()

    def _listen(self) -> None:
        self._loop.watch(self._listener.fileno(), events.IN, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return
        except OSError as error:
            # No descriptor or memory for it: others have to end first.
            self._log(f"a connection could not be accepted: {error}")
            self._loop.forget(self._listener.fileno())
            self._loop.call_in(_ACCEPT_AGAIN_SECONDS, self._listen)
            return
        sock = _socket.socket(fileno=descriptor)
        sock.setblocking(False)
        connection = _Connection(self, sock)
        self._connections.add(connection)
        connection.start()
        if len(self._connections) >= _MOST_CONNECTIONS:
            self._loop.forget(self._listener.fileno())

    def execute(self, channel: Channel, request: dict[str, object]) -> Execution:
        """Begin an exec. Raises `RefusedError`."""
        if self._halting is not None:
            raise stopping()
        try:
            execution = Execution(
                self._loop,
                channel,
                self._places,
                parse_exec(request),
                count_oom_kills=self._count_oom_kills,
                null=self._null,
                on_end=self._execution_ended,
            )
        except OSError as error:
            why = f"the guest has no room for it: {error.strerror}"
            raise RefusedError(protocol.ERROR_CANNOT_START, why) from error
        self._executions.add(execution)
        return execution

    def work_on_shells(self, channel: Channel, request: dict[str, object]) -> Task:
        """Begin what is asked about shells. Raises `RefusedError`."""
        if self._halting is not None:
            raise stopping()
        if self._shells is None:
            # Imported by the first that needs it.
            from pyro_mcp.guest.shells import Shells

            self._shells = Shells(
                self._loop,
                self._places,
                self._terminals,
                on_end=self._perhaps_halt,
                log=self._log,
            )
        return self._shells.begin(channel, request)

    def ping(self, channel: Channel) -> None:
        """Say that the agent answers."""
        reply(channel, {"protocol": protocol.VERSION, "commands": len(self._executions)})

    def inherit(self, channel: Channel, request: dict[str, object]) -> None:
        """Take over the host's way to the network."""
        from pyro_mcp.guest import inherited  # few guests do

        try:
            inherited.take(request)
        except OSError as error:
            raise RefusedError(protocol.ERROR_CANNOT_START, f"{error.strerror}") from error
        reply(channel, {})

    def show_network(self, channel: Channel) -> None:
        """Bring out the interface that nobody saw."""
        from pyro_mcp.guest import network  # few guests have one

        try:
            network.show()
        except OSError as error:
            raise RefusedError(protocol.ERROR_FAILED, f"no network: {error.strerror}") from error
        reply(channel, {})

    def sync(self, channel: Channel) -> None:
        """Flush every file system, beside everything else."""

        def flush() -> None:
            os.sync()
            self._loop.call_from_thread(lambda: reply(channel, {}))

        _thread.start_new_thread(flush, ())

    def work_on_files(
        self, channel: Channel, request: dict[str, object], ended: Callable[[], None]
    ) -> None:
        """Serve a request about files in a thread of its own, which then owns the connection."""

        def serve(
            sock: _socket.socket,
            decoder: protocol.Decoder,
            frames: list[tuple[int, bytes]],
            unsent: bytes,
        ) -> None:
            def work() -> None:
                try:
                    # Imported by the first that needs it, beside the loop.
                    from pyro_mcp.guest import filework

                    filework.serve(sock, decoder, frames, unsent, request, log=self._log)
                except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
                    self._log(f"a request about files failed: {type(error).__name__}: {error}")
                finally:
                    sock.close()
                    self._loop.call_from_thread(ended)

            stack = _thread.stack_size(_WORK_STACK)
            try:
                _thread.start_new_thread(work, ())
            except RuntimeError:
                sock.close()
                ended()
            finally:
                _thread.stack_size(stack)

        channel.hand_over(serve)

    def serve(self, channel: Channel, request: dict[str, object]) -> None:
        """Answer a request about services. Raises `RefusedError`."""
        if self._services is None:
            # Imported by the first that needs it.
            from pyro_mcp.guest.relay import Relays
            from pyro_mcp.guest.services import Services

            self._services = Services(
                self._loop,
                self._places,
                null=self._null,
                relays=Relays(self._loop, self._listen_relay, self._log),
                log=self._log,
            )
        self._services.answer(channel, request)

    def halt(self, channel: Channel) -> None:
        """End every command and service, then the machine."""
        self._halting = channel
        if self._services is not None:
            self._services.halt(self._perhaps_halt)
        for execution in tuple(self._executions):
            execution.abort()
        if self._shells is not None:
            self._shells.kill()
        self._perhaps_halt()

    def close(self) -> None:
        """Give back what is kept of services; when nothing runs any more."""
        if self._services is not None:
            self._services.close()

    def disconnected(self, connection: _Connection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        self._listen()
        self._on_disconnect()

    @property
    def quiet(self) -> bool:
        """Whether nothing runs and nobody is connected."""
        return not self._connections and self._nothing_runs()

    def log(self, line: str) -> None:
        """Write a line to the machine's console."""
        self._log(line)

    def loop(self) -> Loop:
        """The loop that serves."""
        return self._loop

    def _execution_ended(self, execution: Execution) -> None:
        self._executions.discard(execution)
        self._on_idle()
        self._perhaps_halt()

    def _perhaps_halt(self) -> None:
        if self._halting is not None and not self._halted and self._nothing_runs():
            self._halted = True
            self._on_halt(self._halting)

    def _nothing_runs(self) -> bool:
        no_service = self._services is None or self._services.quiet
        no_shell = self._shells is None or self._shells.all_ended
        return not self._executions and no_service and no_shell


class _Connection:
    """One connection: a request, and what it may have begun."""

    def __init__(self, server: Server, sock: _socket.socket) -> None:
        self._server = server
        self._asked = False
        self._task: Task | None = None
        self._channel = Channel(server.loop(), sock, self._frame, self._gone, self._closed)

    def start(self) -> None:
        """Begin to listen."""
        self._channel.start()

    def _frame(self, kind: int, payload: bytes) -> None:
        try:
            if self._asked:
                self._further(kind, payload)
            elif kind == protocol.REQUEST:
                self._asked = True
                self._request(decode(payload))
            else:
                raise bad_request(f"it begins with a frame of kind {kind}")
        except RefusedError as error:
            self._refuse(error)

    def _further(self, kind: int, payload: bytes) -> None:
        if self._task is None:
            raise bad_request(f"a frame of kind {kind} is not due")
        self._task.frame(kind, payload)

    def _request(self, request: dict[str, object]) -> None:
        operation = request.get("op")
        if operation == "exec":
            self._task = self._server.execute(self._channel, request)
        elif operation == "ping":
            self._server.ping(self._channel)
        elif operation == "sync":
            self._server.sync(self._channel)
        elif operation == "inherit":
            self._server.inherit(self._channel, request)
        elif operation == "network":
            self._server.show_network(self._channel)
        elif operation == "halt":
            self._server.halt(self._channel)
        elif isinstance(operation, str) and operation in protocol.SHELL_OPERATIONS:
            self._task = self._server.work_on_shells(self._channel, request)
        elif isinstance(operation, str) and operation in protocol.SERVICE_OPERATIONS:
            self._server.serve(self._channel, request)
        elif isinstance(operation, str) and operation in protocol.FILE_OPERATIONS:
            self._server.work_on_files(self._channel, request, self._closed)
        else:
            raise bad_request(f"its op is {operation!r}")

    def _refuse(self, error: RefusedError) -> None:
        send_error(self._channel, error)
        if self._task is not None:
            self._task.abort()

    def _gone(self, error: Exception | None) -> None:
        if isinstance(error, protocol.VersionMismatchError):
            # The other side has our preamble, and says so to its user.
            self._channel.close_when_sent()
        elif isinstance(error, protocol.ProtocolError):
            send_error(self._channel, bad_request(str(error)))
        elif error is not None and not isinstance(error, OSError):
            self._server.log(f"a connection failed: {type(error).__name__}: {error}")
        if self._task is not None:
            self._task.abort()

    def _closed(self) -> None:
        self._server.disconnected(self)


def reply(channel: Channel, value: dict[str, str | int | bool | None]) -> None:
    """Answer with one REPLY frame and close."""
    channel.send_frame(protocol.REPLY, encode(value))
    channel.close_when_sent()
