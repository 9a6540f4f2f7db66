"""Two network namespaces for one guest, made out of nothing: no privilege, no program, no device.

    the guest's kernel            nobody's                the gateway's namespace
    vec0 ── packet socket ── wire0 ═══════════════ link0   addresses, packet filter, listeners
                                                   gate0 ═ entrance0

The guest's kernel gets one socket, bound to `wire0`: whatever it does with it, frames come out at
`link0` and nowhere else, for its namespace holds nothing but that cable's end. `entrance0` is where
the gateway puts the connections that it lets in (see `firewall`).

No process stays in the namespaces: the sockets hold them, and with the last one they are gone.

A guest that gets its network later has its socket from the start, in a namespace that is empty
until then (see `machines.monitor.wire`).
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import NamedTuple

from pyro_mcp import protocol
from pyro_mcp.host import namespaces
from pyro_mcp.host.namespaces import CLONE_NEWNET, CLONE_NEWUSER
from pyro_mcp.network import firewall, netlink
from pyro_mcp.network.netlink import CREATE, EXCLUSIVE, NESTED, Netlink, attribute, number, text

LINK = protocol.LINK
WIRE, GATE, ENTRANCE = "wire0", "gate0", "entrance0"
GATEWAY_MAC = bytes.fromhex("020000000001")
_GATE_MAC = bytes.fromhex("020000000003")

_NEW_LINK, _SET_LINK, _NEW_ADDRESS, _NEW_ROUTE, _NEW_NEIGHBOUR, _NEW_RULE = 16, 19, 20, 24, 28, 32
_UP, _NO_ARP = 0x1, 0x80
_NO_DETECTION = 0x02  # IFA_F_NODAD
_PERMANENT = 0x80
_TABLE = 100
_LOCAL_ROUTE, _UNICAST = 2, 1
_HOST_SCOPE = 254
_BOOT_PROTOCOL = 3
_ETHTOOL = 0x8946
_ETHTOOL_OFF = (0x17, 0x1F, 0x24)  # checksums, TCP segments, other segments
_ALL_PROTOCOLS = 0x0003
_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75
# From linux/sockios.h and linux/nsfs.h.
_NAMESPACE_OF_SOCKET, _OWNER_OF_NAMESPACE = 0x894C, 0xB701
_ORIGINAL_DESTINATION = 80  # SO_ORIGINAL_DST, and IP6T_SO_ORIGINAL_DST
_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_ATTACH_FILTER = 26
_BACKLOG = 1024
_BUFFER = 4 << 20
_BUFFERS = (("tcp_rmem", "4096 131072 4194304"), ("tcp_wmem", "4096 65536 2097152"))
"""Least, first and most bytes of a socket, for IPv6 too."""


class Wires(NamedTuple):
    """The sockets that hold the namespaces."""

    guest: socket.socket
    """For the guest's kernel: frames in, frames out."""
    link: socket.socket
    """What the guest sends outside of connections, and what begins one; frames to it go in here."""
    gate: socket.socket
    """Frames put in here are connections that are let in."""
    listener: socket.socket
    """Accepts them, whatever their destination: `destination` of what it accepts says it."""
    listener6: socket.socket | None
    """The same for IPv6; None where the host's kernel has none."""
    steering: str
    """How connections come to the listeners, one of `firewall.STEERINGS`."""

    def close(self) -> None:
        """Give all of them back, and with them the namespaces."""
        for one in (self.guest, self.link, self.gate, self.listener, self.listener6):
            if one is not None:
                one.close()


def make(
    wire: socket.socket | None = None, steerings: tuple[str, ...] = firewall.STEERINGS
) -> Wires:
    """Make both namespaces, from a process that stays where it is.

    `wire` is the guest's socket, if it has one: an unbound packet socket in a namespace that holds
    nothing. Of `steerings` the first that this host's kernel can is taken.

    Raises:
        OSError: The host does not allow it; `filename` says what was being done.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    # Before the fork: afterwards our uid is not known any more.
    uid, gid = os.geteuid(), os.getegid()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            ours.close()
            _build(theirs, uid, gid, wire, steerings)
            status = 0
        except OSError as error:
            said = f"{error.errno or 0}\n{error.filename or ''}\n{error.strerror}"
            theirs.sendall(b"!" + said.encode(errors="replace"))
        finally:
            os._exit(status)
    theirs.close()
    try:
        with ours:
            answer, descriptors, _, _ = socket.recv_fds(ours, 4096, 8)
    finally:
        os.waitpid(pid, 0)
    if not answer.startswith(b"+"):
        code, what, why = [*answer[1:].decode(errors="replace").split("\n", 2), "", "", ""][:3]
        raise OSError(int(code or 0), why or "its helper ended", what or "network namespaces")
    guest, link, gate, listener, *more = [socket.socket(fileno=number) for number in descriptors]
    steering = answer[1:].decode()
    return Wires(guest, link, gate, listener, more[0] if more else None, steering)


def destination(accepted: socket.socket, steering: str) -> tuple[str, int]:
    """Address and port that the guest meant.

    Raises:
        OSError: Nobody knows any more.
    """
    if steering == firewall.TPROXY:
        address, port, *_ = accepted.getsockname()
        return str(address), int(port)
    if accepted.family == socket.AF_INET:
        sent = accepted.getsockopt(socket.IPPROTO_IP, _ORIGINAL_DESTINATION, 16)
        packed = sent[4:8]
    else:
        sent = accepted.getsockopt(socket.IPPROTO_IPV6, _ORIGINAL_DESTINATION, 28)
        packed = sent[8:24]
    return socket.inet_ntop(accepted.family, packed), int.from_bytes(sent[2:4], "big")


def _build(
    out: socket.socket,
    uid: int,
    gid: int,
    wire: socket.socket | None,
    steerings: tuple[str, ...],
) -> None:
    if wire is None:
        _unshare(CLONE_NEWUSER | CLONE_NEWNET, what="a user namespace")
        namespaces.become_root_inside(uid, gid)
        guest = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    else:
        _enter(wire)
        guest = wire
    outside = Netlink(netlink.ROUTE)
    wire_namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    _unshare(CLONE_NEWNET, what="a network namespace")
    inside = Netlink(netlink.ROUTE)
    link = _pair(inside, LINK, GATEWAY_MAC, WIRE, protocol.GUEST_MAC, wire_namespace)
    entrance = _pair(inside, ENTRANCE, GATEWAY_MAC, GATE, _GATE_MAC, None)
    _without_offload(LINK)
    _up(outside, _index_of(outside, WIRE))
    loopback = _index_of(inside, "lo")
    for index in (loopback, entrance, _index_of(inside, GATE)):
        _up(inside, index)
    # Who is where does not change, and nothing that the guest says may fill the kernel's tables of
    # neighbours, which are the whole host's: its questions are answered by the gateway.
    _up(inside, link, _NO_ARP)
    _address(inside, link, socket.AF_INET, protocol.GATEWAY_IP, protocol.LINK_PREFIX)
    _neighbour(inside, link, socket.AF_INET, protocol.GUEST_IP)
    _deliver_all(inside, loopback, socket.AF_INET)
    listener = _listener(socket.AF_INET, 0)
    port = listener.getsockname()[1]
    listener6 = None
    try:
        listener6 = _listener(socket.AF_INET6, port)
        _address(inside, link, socket.AF_INET6, protocol.GATEWAY_IP6, protocol.LINK_PREFIX6)
        _neighbour(inside, link, socket.AF_INET6, protocol.GUEST_IP6)
        _deliver_all(inside, loopback, socket.AF_INET6)
    except OSError:
        listener6 = None
    _accept_from_anywhere()
    _buffer_little()
    steering = _steer(steerings, port, ip6=listener6 is not None)
    guest.bind((WIRE, _ALL_PROTOCOLS))
    sockets = [guest, _packets(LINK, _WORTH_SEEING), _packets(GATE, _NOTHING), listener]
    if listener6 is not None:
        sockets.append(listener6)
    socket.send_fds(out, [b"+" + steering.encode()], [one.fileno() for one in sockets])


def _steer(steerings: tuple[str, ...], port: int, *, ip6: bool) -> str:
    for steering in steerings[:-1]:
        try:
            firewall.install(steering, link=LINK, entrance=ENTRANCE, port=port, ip6=ip6)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
                raise
        else:
            return steering
    firewall.install(steerings[-1], link=LINK, entrance=ENTRANCE, port=port, ip6=ip6)
    return steerings[-1]


def _unshare(flags: int, *, what: str) -> None:
    try:
        namespaces.unshare(flags)
    except OSError as error:
        raise OSError(error.errno, error.strerror, what) from None


def _enter(wire: socket.socket) -> None:
    """Go into the namespaces of a socket: the users', then the network's."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    network = fcntl.ioctl(wire, _NAMESPACE_OF_SOCKET)
    owner = fcntl.ioctl(network, _OWNER_OF_NAMESPACE)
    for descriptor, kind in ((owner, CLONE_NEWUSER), (network, CLONE_NEWNET)):
        if libc.setns(descriptor, kind) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), "the guest's namespaces")
        os.close(descriptor)


def _pair(
    channel: Netlink, name: str, mac: bytes, peer: str, peer_mac: bytes, namespace: int | None
) -> int:
    """Make two interfaces that are one cable; the peer goes to another namespace if given."""
    mtu = number(4, protocol.MTU)
    end = _interface(0) + text(3, peer) + mtu + attribute(1, peer_mac)
    if namespace is not None:
        end += number(28, namespace)
    kind = text(1, "veth") + attribute(2 | NESTED, attribute(1 | NESTED, end))
    body = _interface(0) + text(3, name) + mtu + attribute(1, mac) + attribute(18 | NESTED, kind)
    channel.change(_NEW_LINK, body, CREATE | EXCLUSIVE, what="a pair of interfaces (veth)")
    return _index_of(channel, name)


def _interface(index: int, flags: int = 0) -> bytes:
    return struct.pack("=BBHiII", 0, 0, 0, index, flags, flags)


def _index_of(channel: Netlink, name: str) -> int:
    _, answer = channel.ask(18, _interface(0) + text(3, name))
    return int(struct.unpack_from("=i", answer, 4)[0])


def _up(channel: Netlink, index: int, flags: int = 0) -> None:
    body = _interface(index, _UP | flags)
    channel.change(_NEW_LINK, body, what="bringing an interface up")


def _address(channel: Netlink, index: int, family: int, address: str, prefix: int) -> None:
    packed = socket.inet_pton(family, address)
    body = struct.pack("=BBBBI", family, prefix, _NO_DETECTION, 0, index)
    body += attribute(1, packed) + attribute(2, packed)
    channel.change(_NEW_ADDRESS, body, CREATE | EXCLUSIVE, what="an address")


def _neighbour(channel: Netlink, index: int, family: int, address: str) -> None:
    """Nail down who the guest is: nothing that it says about addresses changes that."""
    body = struct.pack("=BBHiHBB", family, 0, 0, index, _PERMANENT, 0, 0)
    body += attribute(1, socket.inet_pton(family, address)) + attribute(2, protocol.GUEST_MAC)
    channel.change(_NEW_NEIGHBOUR, body, CREATE, what="a neighbour")


def _deliver_all(channel: Netlink, loopback: int, family: int) -> None:
    """Whatever comes in is for this host, whatever its destination."""
    route = struct.pack(
        "=BBBBBBBBI", family, 0, 0, 0, _TABLE, _BOOT_PROTOCOL, _HOST_SCOPE, _LOCAL_ROUTE, 0
    )
    channel.change(_NEW_ROUTE, route + number(4, loopback), CREATE, what="a route")
    for name in (LINK, ENTRANCE):
        rule = struct.pack("=BBBBBBBBI", family, 0, 0, 0, _TABLE, 0, 0, _UNICAST, 0)
        rule += text(3, name) + number(6, _TABLE)
        channel.change(_NEW_RULE, rule, CREATE | EXCLUSIVE, what="a routing rule")


def _accept_from_anywhere() -> None:
    """No filter on sources: what comes back in at the entrance has its route at the link."""
    for name in ("all", "default", LINK, ENTRANCE):
        place = f"/proc/sys/net/ipv4/conf/{name}/rp_filter"
        try:
            with open(place, "r+", encoding="ascii") as file:  # noqa: PTH123
                if file.read().strip() != "0":
                    file.seek(0)
                    file.write("0")
        except OSError as error:
            raise OSError(error.errno, error.strerror, place) from error


def _buffer_little() -> None:
    """Connections of the namespace take of the host's memory what a short way needs."""
    for name, value in _BUFFERS:
        with contextlib.suppress(OSError):  # they are bounded by the host then
            Path(f"/proc/sys/net/ipv4/{name}").write_text(value)


def _without_offload(name: str) -> None:
    """Frames to the guest are whole: its driver takes neither open checksums nor large segments."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        for command in _ETHTOOL_OFF:
            value = array.array("B", struct.pack("=II", command, 0))
            address, _ = value.buffer_info()
            fcntl.ioctl(channel, _ETHTOOL, struct.pack("16sQ16x", name.encode(), address))


def _listener(family: int, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
    else:
        listener.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
    listener.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    listener.listen(_BACKLOG)
    return listener


def _packets(interface: str, program: list[tuple[int, int, int, int]]) -> socket.socket:
    channel = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    channel.setsockopt(_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    code = array.array("B", b"".join(struct.pack("=HBBI", *line) for line in program))
    address, _ = code.buffer_info()
    channel.setsockopt(
        socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HxxxxxxQ", len(program), address)
    )
    channel.bind((interface, _ALL_PROTOCOLS))
    return channel


# Classic BPF (linux/filter.h), of frames from the guest: code, jump if true, if false, constant.
_HALF, _BYTE, _BYTE_AT_X, _HEADER_TO_X = 0x28, 0x30, 0x50, 0xB1
_EQUAL, _ANY_BIT, _NOT_BELOW, _ABOVE, _AND, _RETURN = 0x15, 0x45, 0x35, 0x25, 0x54, 0x06
_WORTH_SEEING = [
    (_HALF, 0, 0, 12),
    (_EQUAL, 3, 0, 0x0800),
    (_EQUAL, 10, 0, 0x86DD),
    (_EQUAL, 20, 0, 0x0806),
    (_RETURN, 0, 0, 0),
    # IPv4: all but TCP; of that, what begins a connection
    (_BYTE, 0, 0, 23),
    (_EQUAL, 0, 17, 6),
    (_HALF, 0, 0, 20),
    (_ANY_BIT, 16, 0, 0x1FFF),
    (_HEADER_TO_X, 0, 0, 14),
    (_BYTE_AT_X, 0, 0, 14 + 13),
    (_AND, 0, 0, 0x17),
    (_EQUAL, 11, 12, 0x02),
    # IPv6: likewise, and of neighbour discovery only questions
    (_BYTE, 0, 0, 20),
    (_EQUAL, 0, 3, 6),
    (_BYTE, 0, 0, 54 + 13),
    (_AND, 0, 0, 0x17),
    (_EQUAL, 6, 7, 0x02),
    (_EQUAL, 0, 5, 58),
    (_BYTE, 0, 0, 54),
    (_EQUAL, 3, 0, 135),
    (_NOT_BELOW, 0, 2, 133),
    (_ABOVE, 1, 0, 137),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, 0x40000),
    (_RETURN, 0, 0, 0),
]
_NOTHING = [(_RETURN, 0, 0, 0)]
