"""The gateway: a process of its own, beside the jail, through which all of a guest's network goes.

The monitor forks it before it starts the jail, and gets one socket for the guest's kernel from it.
It is nobody's to reach: it listens for the guest inside the guest's namespace, and on a unix socket
in the machine's directory. It ends with the monitor, whatever ends that.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
import traceback
from typing import TYPE_CHECKING, Any

from pyro_mcp import protocol
from pyro_mcp.network import control, namespace, packets, policy
from pyro_mcp.network.connections import Connections
from pyro_mcp.network.datagrams import Datagrams
from pyro_mcp.network.hosts import Hosts
from pyro_mcp.network.judge import Judge
from pyro_mcp.network.loop import READ, Loop
from pyro_mcp.network.record import FILE_NAME, Record

if TYPE_CHECKING:
    from typing import NoReturn

    from pyro_mcp.network.resolver import Resolver

_FRAMES_AT_ONCE = 64
_LARGEST_FRAME = 65535 + 14
_DNS_PORT = 53
_SET_DEATH_SIGNAL = 1
_GUEST = {
    4: socket.inet_pton(socket.AF_INET, protocol.GUEST_IP),
    6: socket.inet_pton(socket.AF_INET6, protocol.GUEST_IP6),
}
_RESOLVER = {
    4: socket.inet_pton(socket.AF_INET, protocol.GATEWAY_IP),
    6: socket.inet_pton(socket.AF_INET6, protocol.GATEWAY_IP6),
}


def run(
    launch: dict[str, Any], monitor: socket.socket, uid: int | None, wire: socket.socket | None
) -> NoReturn:
    """Be the gateway, in a process that was forked for it; the working directory is the machine's.

    `launch` is what `networking.launch` made; `monitor` gets `+` with a descriptor, or `!` and why
    there is none, and its end is ours; `uid` is what root becomes once all is made; `wire` is the
    socket that the guest's kernel has already, if it runs.
    """
    status = 1
    try:
        _close_others(monitor.fileno(), *([] if wire is None else [wire.fileno()]))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            wires = namespace.make(wire, tuple(launch["steerings"]))
            gateway = Gateway(launch, wires, monitor)
        except OSError as error:
            what = f"{error.filename}: " if error.filename else ""
            monitor.sendall(f"!{what}{error.strerror}".encode(errors="replace"))
            os._exit(1)
        # The guest boots from here on; nothing of it is read before our rights are gone.
        socket.send_fds(monitor, [b"+"], [wires.guest.fileno()])
        wires.guest.close()
        if wire is not None:
            wire.close()
        gateway.load_resolver()
        _give_up_rights(uid)
        gateway.serve()
        status = 0
    except BaseException as error:  # noqa: BLE001 - a forked child must not return
        traceback.print_exception(error, file=sys.stderr)
        sys.stderr.flush()
    finally:
        os._exit(status)


class Gateway:
    """Puts the parts together."""

    def __init__(
        self, launch: dict[str, Any], wires: namespace.Wires, monitor: socket.socket
    ) -> None:
        self._loop = Loop()
        self._wires = wires
        self._monitor = monitor
        self._packages = launch["packages"]
        self._upstream = [(str(host), int(port)) for host, port in launch["resolvers"]]
        self._record = Record(FILE_NAME)
        self._loop.each_tick(self._record.tick)
        self._judge = Judge(policy.parse(**launch["policy"]), Hosts())
        self._resolver: Resolver | None = None
        self._connections = Connections(
            self._loop, wires, self._judge, self._record, self._questions
        )
        self._datagrams = Datagrams(self._loop, wires.link, self._judge, self._record)
        self._control = control.Control(self._loop, control.listen(), self._judge, self._record)

    def load_resolver(self) -> None:
        """Import and make what takes longest; afterwards no module can be found any more."""
        sys.path.append(self._packages)
        from pyro_mcp.network.resolver import Resolver

        self._resolver = Resolver(self._loop, self._upstream, self._judge, self._record)

    def serve(self) -> None:
        """Carry packets until the monitor is gone."""
        self._wires.link.setblocking(False)
        self._loop.watch(self._wires.link, READ, self._packets)
        self._loop.watch(self._monitor, READ, lambda _events: self._loop.stop())
        self._loop.run()
        self._connections.close()
        self._datagrams.close()
        self._record.close()

    def _packets(self, _events: int) -> None:
        for _ in range(_FRAMES_AT_ONCE):
            try:
                frame = self._wires.link.recv(_LARGEST_FRAME)
            except OSError:
                return
            answer = packets.neighbour(frame, namespace.GATEWAY_MAC)
            if answer is not None:
                if answer:
                    self._tell(answer)
                continue
            packet = packets.parse(frame)
            # Another source address would get no answer, and is nobody's business.
            if packet is None or packet.source != _GUEST[packet.version]:
                continue
            if packet.protocol == packets.TCP:
                self._connections.begin(packet, frame)
            elif packet.protocol != packets.UDP:
                self._datagrams.refuse(packet)
            elif (
                packet.destination == _RESOLVER[packet.version]
                and packet.destination_port == _DNS_PORT
            ):
                self._question(packet)
            else:
                self._datagrams.carry(packet)

    def _question(self, packet: packets.Packet) -> None:
        def reply(wire: bytes) -> None:
            frame = packets.datagram(packet, wire, namespace.GATEWAY_MAC)
            if frame is not None:
                self._tell(frame)

        if self._resolver is not None:
            self._resolver.answer(packet.payload, reply)

    def _tell(self, frame: bytes) -> None:
        with contextlib.suppress(OSError):  # its queue is full: the guest asks again
            self._wires.link.send(frame)

    def _questions(self, guest: socket.socket) -> None:
        if self._resolver is not None:
            self._resolver.serve(guest)


def _close_others(*kept: int) -> None:
    """The monitor's descriptors are not ours: its lock, its pipes."""
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1):
        os.dup2(null, number)
    before = 2
    for number in (*sorted(kept), os.sysconf("SC_OPEN_MAX")):
        os.closerange(before + 1, number)
        before = number


def _give_up_rights(uid: int | None) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    import ctypes

    libc = ctypes.CDLL(None)
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    # Beside the monitor's socket: it would not be read by a gateway that hangs.
    libc.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
