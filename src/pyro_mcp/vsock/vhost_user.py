"""The vhost-user protocol, back end side: the front end's messages become live virtqueues.

The front end here is User-mode Linux, which asks for every message to be acknowledged and sets up:
memory table, then per queue NUM, BASE, ADDR, CALL, KICK, ENABLE. It disables its queues when its
driver goes, and goes through all of that again for the next.

The front end is the jailed kernel process, that is, the guest. Every size, count and descriptor is
checked, and nothing is done to a descriptor that could block:

- `kick` has to be an eventfd, and is never read: it is watched edge-triggered, and each write to
  an eventfd is an edge.
- `call` has to be a Unix stream socket, which is what UML's "pipe" is, and is written with
  MSG_DONTWAIT. A pipe or an eventfd could be made to block by whoever else holds it.
"""

from __future__ import annotations

import _socket
import os
import select
import stat
import struct

from pyro_mcp.vsock import messages
from pyro_mcp.vsock.memory import MOST_REGIONS, GuestError, GuestMemory, Region
from pyro_mcp.vsock.virtqueue import Virtqueue

TYPE_CHECKING = False  # typing costs more than the rest of this module
if TYPE_CHECKING:
    from collections.abc import Callable

QUEUES = 3
"""rx, tx, event: Virtio 1.2, 5.10.2."""
RX = 0
TX = 1

_LARGEST_CONFIG = 256
_MESSAGES_AT_ONCE = 64
_NO_DESCRIPTOR = 1 << 8
_CALL = struct.pack("<Q", 1)


class _Ring:
    """What the front end told about one queue so far."""

    __slots__ = ("addresses", "base", "call", "enabled", "kick", "queue", "size")

    def __init__(self) -> None:
        self.size = 0
        self.base = 0
        self.addresses: tuple[int, int, int] | None = None
        self.kick = -1
        self.call: _socket.socket | None = None
        self.enabled = False
        self.queue: Virtqueue | None = None


class VhostUser:
    """One front end's connection. Any of its methods may raise `GuestError`.

    `epoll` watches the kicks; `changed` is called after a queue came alive or ceased to be, and
    `kicked` with the mask of a kick's event.
    """

    def __init__(
        self,
        connection: _socket.socket,
        epoll: select.epoll,
        handlers: dict[int, Callable[[int], None]],
        *,
        guest_cid: int,
        changed: Callable[[], None],
        kicked: Callable[[int], None],
    ) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._epoll = epoll
        self._handlers = handlers
        self._changed = changed
        self._kicked = kicked
        self._config = messages.U64.pack(guest_cid).ljust(_LARGEST_CONFIG, b"\0")
        self._rings = [_Ring() for _ in range(QUEUES)]
        self._memory: GuestMemory | None = None
        self._acknowledge = False
        self._request: tuple[int, int, int] | None = None
        self._buffer = b""
        self._descriptors: list[int] = []
        self._closed = False

    def queue(self, index: int) -> Virtqueue | None:
        """The queue of that index while it is live."""
        return self._rings[index].queue

    def interrupt(self, index: int) -> None:
        """Tell the driver that the queue has something used."""
        call = self._rings[index].call
        if call is not None:
            try:
                call.send(_CALL, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
            except OSError:
                # Full: it has unread ones. Closed: it does not want any.
                return

    def read(self) -> bool:
        """Obey some of what has come; returns False when the front end has gone."""
        for _ in range(_MESSAGES_AT_ONCE):
            if self._closed:
                break
            request = self._request
            wanted = messages.HEADER.size if request is None else request[2]
            missing = wanted - len(self._buffer)
            if missing:
                data = self._receive(missing)
                if data is None:
                    return True
                if not data:
                    return False
                self._buffer += data
                if len(data) < missing:
                    continue
            payload, self._buffer = self._buffer, b""
            if request is None:
                self._request = request = self._header(payload)
                if request[2]:
                    continue
                payload = b""
            self._request = None
            try:
                self._obey(request[0], bool(request[1] & messages.NEED_REPLY), payload)
            finally:
                self._drop_descriptors()
        return True

    def close(self) -> None:
        """Give everything back; idempotent."""
        self._closed = True
        self._drop_descriptors()
        for ring in self._rings:
            self._set_kick(ring, -1)
            self._set_call(ring, None)
            ring.queue = None
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        self._connection.close()

    def _receive(self, size: int) -> bytes | None:
        space = _socket.CMSG_SPACE(MOST_REGIONS * 4)
        try:
            data, ancillary, flags, _ = self._connection.recvmsg(
                size, space, _socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        except OSError:
            return b""
        for level, kind, content in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                self._descriptors += struct.unpack_from(f"{len(content) // 4}i", content)
        if flags & _socket.MSG_CTRUNC or len(self._descriptors) > MOST_REGIONS:
            self._drop_descriptors()
            raise GuestError("message with too many descriptors")
        return data

    def _header(self, header: bytes) -> tuple[int, int, int]:
        request, flags, size = messages.HEADER.unpack(header)
        if flags & ~messages.NEED_REPLY != messages.VERSION:
            raise GuestError(f"message {request} with flags {flags:#x}")
        if size > messages.LARGEST_PAYLOAD:
            raise GuestError(f"message {request} of {size} bytes")
        return request, flags, size

    def _obey(self, request: int, wants_reply: bool, payload: bytes) -> None:
        answer = _ANSWERS.get(request)
        if answer is not None:
            self._reply(request, answer(self, payload))
            return
        order = _ORDERS.get(request)
        if order is None:
            raise GuestError(f"message {request}, which was not offered")
        order(self, payload)
        if wants_reply and self._acknowledge and not self._closed:
            self._reply(request, messages.U64.pack(0))

    def _reply(self, request: int, payload: bytes) -> None:
        message = (
            messages.HEADER.pack(request, messages.VERSION | messages.IS_REPLY, len(payload))
            + payload
        )
        try:
            sent = self._connection.send(message, _socket.MSG_NOSIGNAL)
        except OSError as error:
            raise GuestError(f"reply to message {request} cannot be sent: {error}") from error
        if sent != len(message):
            raise GuestError("the front end does not read replies")

    def _get_features(self, payload: bytes) -> bytes:
        _expect(payload, 0)
        return messages.U64.pack(messages.FEATURES)

    def _get_protocol_features(self, payload: bytes) -> bytes:
        _expect(payload, 0)
        return messages.U64.pack(messages.PROTOCOL_FEATURES)

    def _get_vring_base(self, payload: bytes) -> bytes:
        index, _ = _unpack(messages.STATE, payload)
        ring = self._ring(index)
        ring.enabled = False
        self._set_kick(ring, -1)
        self._update(ring)
        return messages.STATE.pack(index, ring.base)

    def _get_config(self, payload: bytes) -> bytes:
        # Virtio 1.2, 5.10.4: the configuration is the guest's cid.
        if len(payload) < messages.CONFIG.size:
            raise GuestError(f"message of {len(payload)} bytes")
        offset, size, flags = messages.CONFIG.unpack_from(payload)
        if offset + size > _LARGEST_CONFIG:
            raise GuestError(f"configuration of {size} bytes at {offset}")
        return messages.CONFIG.pack(offset, size, flags) + self._config[offset : offset + size]

    def _set_features(self, payload: bytes) -> None:
        (features,) = _unpack(messages.U64, payload)
        if features & ~messages.FEATURES or not features & messages.FEATURE_VERSION_1:
            raise GuestError(f"features {features:#x}")

    def _set_protocol_features(self, payload: bytes) -> None:
        (features,) = _unpack(messages.U64, payload)
        if features & ~messages.PROTOCOL_FEATURES:
            raise GuestError(f"protocol features {features:#x}")
        self._acknowledge = bool(features & messages.PROTOCOL_REPLY_ACK)

    def _set_owner(self, payload: bytes) -> None:
        _expect(payload, 0)

    def _set_mem_table(self, payload: bytes) -> None:
        if len(payload) < messages.TABLE.size:
            raise GuestError(f"message of {len(payload)} bytes")
        count, _ = messages.TABLE.unpack_from(payload)
        if count > MOST_REGIONS:
            raise GuestError(f"memory table with {count} regions")
        # UML always sends its two rows, and says with `count` how many of them are meant.
        if len(payload) < messages.TABLE.size + count * messages.REGION.size:
            raise GuestError(f"message of {len(payload)} bytes")
        regions = []
        for row in range(count):
            guest, size, user, offset = messages.REGION.unpack_from(
                payload, messages.TABLE.size + row * messages.REGION.size
            )
            regions.append(Region(guest, size, user, offset))
        memory = GuestMemory.share(regions, self._descriptors)
        for ring in self._rings:
            # Its addresses were of the old table.
            ring.addresses = None
            self._update(ring)
        if self._memory is not None:
            self._memory.close()
        self._memory = memory

    def _set_vring_num(self, payload: bytes) -> None:
        index, size = _unpack(messages.STATE, payload)
        self._idle_ring(index).size = size

    def _set_vring_base(self, payload: bytes) -> None:
        index, base = _unpack(messages.STATE, payload)
        if base > 0xFFFF:
            raise GuestError(f"queue base {base}")
        self._idle_ring(index).base = base

    def _set_vring_addr(self, payload: bytes) -> None:
        index, flags, descriptors, used, available, _ = _unpack(messages.ADDRESSES, payload)
        if flags:
            raise GuestError(f"queue flags {flags:#x}")
        self._idle_ring(index).addresses = (descriptors, available, used)

    def _set_vring_kick(self, payload: bytes) -> None:
        ring, descriptor = self._ring_and_descriptor(payload)
        if descriptor is None:
            raise GuestError("queue without a kick descriptor")
        if not _is_eventfd(descriptor):
            raise GuestError("kick descriptor is not an eventfd")
        self._set_kick(ring, descriptor)
        self._descriptors.clear()
        self._update(ring)

    def _set_vring_call(self, payload: bytes) -> None:
        ring, descriptor = self._ring_and_descriptor(payload)
        if descriptor is None:
            self._set_call(ring, None)
            return
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise GuestError("call descriptor is not a socket")
        try:
            call = _socket.socket(fileno=descriptor)
        except OSError as error:
            raise GuestError(f"call descriptor cannot be used: {error}") from error
        self._descriptors.clear()
        self._set_call(ring, call)
        if call.family != _socket.AF_UNIX or call.type != _socket.SOCK_STREAM:
            raise GuestError("call descriptor is not a Unix stream socket")

    def _set_vring_err(self, payload: bytes) -> None:
        self._ring_and_descriptor(payload)

    def _set_vring_enable(self, payload: bytes) -> None:
        index, enabled = _unpack(messages.STATE, payload)
        ring = self._ring(index)
        ring.enabled = bool(enabled)
        self._update(ring)

    def _ring(self, index: int) -> _Ring:
        if index >= QUEUES:
            raise GuestError(f"queue {index}")
        return self._rings[index]

    def _idle_ring(self, index: int) -> _Ring:
        ring = self._ring(index)
        if ring.queue is not None:
            raise GuestError(f"queue {index} set up while it is in use")
        return ring

    def _ring_and_descriptor(self, payload: bytes) -> tuple[_Ring, int | None]:
        (value,) = _unpack(messages.U64, payload)
        ring = self._ring(value & ~_NO_DESCRIPTOR)
        expected = 0 if value & _NO_DESCRIPTOR else 1
        if len(self._descriptors) != expected:
            raise GuestError(f"queue message with {len(self._descriptors)} descriptors")
        return ring, self._descriptors[0] if expected else None

    def _update(self, ring: _Ring) -> None:
        """Make the queue live as soon as everything is known, and stop it when not."""
        live = ring.enabled and ring.kick >= 0 and ring.addresses is not None
        if live == (ring.queue is not None):
            return
        if ring.queue is not None:
            ring.base = ring.queue.position
            ring.queue = None
        elif ring.addresses is not None:
            if self._memory is None:
                raise GuestError("queue before the memory table")
            descriptors, available, used = ring.addresses
            ring.queue = Virtqueue(
                self._memory,
                ring.size,
                descriptors=descriptors,
                available=available,
                used=used,
                base=ring.base,
            )
        self._changed()

    def _set_kick(self, ring: _Ring, descriptor: int) -> None:
        if ring.kick >= 0:
            self._handlers.pop(ring.kick, None)
            self._epoll.unregister(ring.kick)
            os.close(ring.kick)
            ring.kick = -1
        if descriptor >= 0:
            self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLET)
            self._handlers[descriptor] = self._kicked
            ring.kick = descriptor

    def _set_call(self, ring: _Ring, call: _socket.socket | None) -> None:
        if ring.call is not None:
            ring.call.close()
        ring.call = call

    def _drop_descriptors(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()


_ANSWERS: dict[int, Callable[[VhostUser, bytes], bytes]] = {
    messages.GET_FEATURES: VhostUser._get_features,
    messages.GET_PROTOCOL_FEATURES: VhostUser._get_protocol_features,
    messages.GET_VRING_BASE: VhostUser._get_vring_base,
    messages.GET_CONFIG: VhostUser._get_config,
}

_ORDERS: dict[int, Callable[[VhostUser, bytes], None]] = {
    messages.SET_FEATURES: VhostUser._set_features,
    messages.SET_PROTOCOL_FEATURES: VhostUser._set_protocol_features,
    messages.SET_OWNER: VhostUser._set_owner,
    messages.SET_MEM_TABLE: VhostUser._set_mem_table,
    messages.SET_VRING_NUM: VhostUser._set_vring_num,
    messages.SET_VRING_BASE: VhostUser._set_vring_base,
    messages.SET_VRING_ADDR: VhostUser._set_vring_addr,
    messages.SET_VRING_KICK: VhostUser._set_vring_kick,
    messages.SET_VRING_CALL: VhostUser._set_vring_call,
    messages.SET_VRING_ERR: VhostUser._set_vring_err,
    messages.SET_VRING_ENABLE: VhostUser._set_vring_enable,
}


def _unpack(form: struct.Struct, payload: bytes) -> tuple[int, ...]:
    _expect(payload, form.size)
    return form.unpack(payload)


def _expect(payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise GuestError(f"message of {len(payload)} bytes where {size} are right")


def _is_eventfd(descriptor: int) -> bool:
    # readlink rather than fstat: anonymous inodes look alike to the latter.
    return os.readlink(f"/proc/self/fd/{descriptor}") == "anon_inode:[eventfd]"  # noqa: PTH115
