"""What the agent does once it has said that it is ready: finish the furniture, then serve."""

from __future__ import annotations

import _socket
import fcntl
import os

from pyro_mcp import protocol
from pyro_mcp.guest import limits, mounts, system
from pyro_mcp.guest.loop import Loop
from pyro_mcp.guest.namespace import Ground, Sandbox
from pyro_mcp.guest.rest import Rest
from pyro_mcp.guest.server import Server
from pyro_mcp.guest.standby import Standby

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyro_mcp.guest.channel import Channel

HOST_NAME = "pyro"
_LAST_WORD_SECONDS = 1.0
_RELAY_BACKLOG = 1024

# From netdevice(7).
_SIOCSIFFLAGS = 0x8914
_IFF_UP_RUNNING = 0x41


def serve(
    listener: _socket.socket,
    *,
    log: Callable[[str], None],
    inspect: bool,
    network: bool,
    later: bool,
) -> None:
    """Finish what the host need not wait for, then answer it, for ever.

    `inspect`: nothing is changed, and no command can run; `network`: there is an interface;
    `later`: there is one that is for later.
    """
    if not inspect:
        mounts.furnish()
    if network or later:
        _prepare_network(log, later=later)
    system.limit_open_files(*limits.OPEN_FILES)
    ground = Ground(mounts.ROOT, mounts.SCRATCH, limits.group_commands(mounts.CONTROL_GROUPS))
    terminals = -1
    if not inspect:
        terminals = os.open(mounts.TERMINALS, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        _recover()
    loop = Loop()
    standby = Standby(loop, lambda on_ready: Sandbox(loop, ground, on_ready))
    if inspect:
        standby.close()
    standby.refill()
    _socket.sethostname(HOST_NAME)
    _bring_up_loopback()

    def give_back() -> None:
        # Imported by machines that live long enough.
        from pyro_mcp.guest import memory

        memory.give_back(log)

    rest = Rest(loop, quiet=lambda: server.quiet, on_rest=give_back)

    def halt(channel: Channel) -> None:
        standby.close()
        _halt(channel)

    server = Server(
        loop,
        listener,
        standby,
        count_oom_kills=limits.OomCounter().read,
        null=ground.null,
        terminals=terminals,
        on_halt=halt,
        on_idle=standby.refill,
        on_disconnect=rest.begin_again,
        listen_relay=_listen_relay,
        log=log,
    )
    limits.keep_agent_in_memory()
    rest.begin_again()
    loop.run()


def _recover() -> None:
    if any(name.startswith(".pyro-staging-") for name in os.listdir(mounts.CHANGED_FILES)):  # noqa: PTH208
        from pyro_mcp.guest import fileswitch, filework

        tree = filework.open_tree()
        root = tree.directory(b"")
        fileswitch.recover(root)
        os.close(root)
        tree.close()


def _halt(channel: Channel) -> None:
    mounts.unmount_disks()
    channel.say_last(protocol.REPLY, b"{}", _LAST_WORD_SECONDS)
    system.power_off()


def _listen_relay(port: int) -> _socket.socket:
    listener = _socket.socket(_socket.AF_VSOCK, _socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.bind((_socket.VMADDR_CID_ANY, protocol.RELAY_PORTS + port))
        listener.listen(_RELAY_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _prepare_network(log: Callable[[str], None], *, later: bool) -> None:
    from pyro_mcp.guest import network  # many guests have none

    try:
        (network.hide if later else network.bring_up)()
    except OSError as error:
        log(f"no network: {error}")


def _bring_up_loopback() -> None:
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    request = b"lo".ljust(16, b"\0") + _IFF_UP_RUNNING.to_bytes(2, "little") + bytes(22)
    fcntl.ioctl(sock.fileno(), _SIOCSIFFLAGS, request)
    sock.close()
