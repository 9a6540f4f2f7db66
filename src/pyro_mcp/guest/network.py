"""The guest's one interface, where the host gave it one; all about it is fixed (see `protocol`).

Where it is for later it lies in a network namespace that nothing is in, so that no command sees it,
and leads nowhere on the host either: that one decides, this is only good manners.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import fcntl
import os
from _struct import pack

from pyro_mcp import protocol
from pyro_mcp.guest import mounts, system

_DRIVERS_NAME, _NAME = b"vec0", b"eth0"
# From netdevice(7), and linux/ipv6_route.h.
_ADD_ROUTE = 0x890B
_SET_FLAGS, _SET_ADDRESS, _SET_NETMASK = 0x8914, 0x8916, 0x891C
_SET_MTU, _SET_NAME, _GET_INDEX = 0x8922, 0x8923, 0x8933
_UP_RUNNING, _UP = 0x41, 0x01
_ROUTE_UP_GATEWAY = 0x3
_NAME_BYTES = 16
_CONF6 = "/proc/sys/net/ipv6/conf/eth0"
_RESOLV_CONF = f"# the resolver of this guest's host\nnameserver {protocol.GATEWAY_IP}\n"
_LONGEST_RESOLV_CONF = 65536
# From rtnetlink(7): move an interface, found by its name, to a namespace given by a descriptor.
_NEW_LINK, _REQUEST_ACK, _NAME_IS, _NAMESPACE_IS = 16, 0x5, 3, 28
_OWN_NAMESPACE = "/proc/thread-self/ns/net"

_away: list[_socket.socket] = []
"""A socket of the namespace in which the interface is hidden, which lasts with it."""
_up: list[bool] = []


def bring_up() -> None:
    """Give the interface its name and addresses, and programs the resolver. Raises `OSError`."""
    ip4 = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    _ioctl(ip4, _SET_NAME, _DRIVERS_NAME, _NAME.ljust(_NAME_BYTES, b"\0"))
    _ioctl(ip4, _SET_MTU, _NAME, protocol.MTU.to_bytes(4, "little"))
    _ioctl(ip4, _SET_ADDRESS, _NAME, _address(protocol.GUEST_IP))
    mask = (0xFFFFFFFF << 32 - protocol.LINK_PREFIX & 0xFFFFFFFF).to_bytes(4, "big")
    _ioctl(ip4, _SET_NETMASK, _NAME, _address(_socket.inet_ntoa(mask)))
    for name, value in (("accept_dad", "0"), ("accept_ra", "0"), ("router_solicitations", "0")):
        _write(f"{_CONF6}/{name}", value)
    _ioctl(ip4, _SET_FLAGS, _NAME, _UP_RUNNING.to_bytes(2, "little"))
    anywhere = _address("0.0.0.0")
    route = bytes(8) + anywhere + _address(protocol.GATEWAY_IP) + anywhere
    fcntl.ioctl(ip4.fileno(), _ADD_ROUTE, (route + b"\x03\0").ljust(120, b"\0"))
    index = _ioctl(ip4, _GET_INDEX, _NAME, b"")[_NAME_BYTES : _NAME_BYTES + 4]
    ip4.close()
    try:  # noqa: SIM105 - contextlib costs start-up time
        _bring_up_ip6(index)
    except OSError:  # a kernel without it
        pass
    _lay_over_resolv_conf(_RESOLV_CONF)
    _up.append(True)


def hide() -> None:
    """Put the interface where no command is, with all prepared for `show`. Raises `OSError`."""
    made: list[tuple[_socket.socket, int] | OSError] = []
    done = _thread.allocate_lock()
    done.acquire()

    def make() -> None:
        # A namespace belongs to the thread that made it.
        try:
            system.unshare(system.CLONE_NEWNET)
            made.append((_netlink(), os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)))
        except OSError as error:
            made.append(error)
        finally:
            done.release()

    _thread.start_new_thread(make, ())
    done.acquire()
    (outcome,) = made
    if isinstance(outcome, OSError):
        raise outcome
    hidden, namespace = outcome
    here = _netlink()
    try:
        _move(here, namespace)
    finally:
        os.close(namespace)
        here.close()
    _away.append(hidden)
    place = f"{mounts.ROOT}/etc/resolv.conf"
    if not os.path.islink(place):  # noqa: PTH114 - pathlib costs start-up time
        # Now, since what runs already sees no mount that is made later; its content may change.
        _lay_over_resolv_conf(_content(place))


def show() -> None:
    """Bring out what `hide` put away, and bring it up; once. Raises `OSError`."""
    if not _away:
        if _up:
            return
        raise OSError(errno.ENODEV, "the machine has no interface")
    namespace = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _move(_away[0], namespace)
    finally:
        os.close(namespace)
    _away.pop().close()
    bring_up()


def _netlink() -> _socket.socket:
    return _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)


def _move(channel: _socket.socket, namespace: int) -> None:
    name = _DRIVERS_NAME.ljust(8, b"\0")  # attributes are whole words
    body = bytes(16) + pack("=HH", 4 + len(name), _NAME_IS) + name
    body += pack("=HHi", 8, _NAMESPACE_IS, namespace)
    channel.send(pack("=IHHII", 16 + len(body), _NEW_LINK, _REQUEST_ACK, 1, 0) + body)
    code = -int.from_bytes(channel.recv(4096)[16:20], "little", signed=True)
    if code:
        raise OSError(code, os.strerror(code))


def _bring_up_ip6(index: bytes) -> None:
    ip6 = _socket.socket(_socket.AF_INET6, _socket.SOCK_DGRAM)
    own = _socket.inet_pton(_socket.AF_INET6, protocol.GUEST_IP6)
    gateway = _socket.inet_pton(_socket.AF_INET6, protocol.GATEWAY_IP6)
    prefix = protocol.LINK_PREFIX6.to_bytes(4, "little")
    fcntl.ioctl(ip6.fileno(), _SET_ADDRESS, own + prefix + index)
    # struct in6_rtmsg: destination, source, gateway, type, two lengths, metric, a gap, info, flags,
    # index
    route = bytes(32) + gateway + bytes(8) + (1).to_bytes(4, "little") + bytes(4 + 8)
    fcntl.ioctl(ip6.fileno(), _ADD_ROUTE, route + _ROUTE_UP_GATEWAY.to_bytes(4, "little") + index)
    ip6.close()


def _content(place: str) -> str:
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        return os.read(descriptor, _LONGEST_RESOLV_CONF).decode(errors="replace")
    finally:
        os.close(descriptor)


def _lay_over_resolv_conf(content: str) -> None:
    """Lay our file over the environment's: gone with the machine, and no change of its disk."""
    source, target = f"{mounts.SCRATCH}/resolv.conf", f"{mounts.ROOT}/etc/resolv.conf"
    there = os.path.exists(source)  # noqa: PTH110 - pathlib costs start-up time
    _write(source, content)
    if there:
        return  # it lies there since the start
    os.chmod(source, 0o644)  # noqa: PTH101
    if os.path.islink(target):  # noqa: PTH114 - it would lead out of the root
        os.unlink(target)  # noqa: PTH108
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    system.mount(source, target, None, system.MS_BIND)


def _ioctl(sock: _socket.socket, request: int, name: bytes, value: bytes) -> bytes:
    return fcntl.ioctl(
        sock.fileno(), request, name.ljust(_NAME_BYTES, b"\0") + value.ljust(24, b"\0")
    )


def _address(text: str) -> bytes:
    """A `struct sockaddr_in`."""
    return _socket.AF_INET.to_bytes(2, "little") + bytes(2) + _socket.inet_aton(text) + bytes(8)


def _write(path: str, content: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        return  # of /proc/sys: a kernel without IPv6
    os.write(descriptor, content.encode())
    os.close(descriptor)
