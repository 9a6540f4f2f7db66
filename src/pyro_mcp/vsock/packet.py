"""The packets of a virtio socket device: Virtio 1.2, 5.10.6.

Each is a header of 44 bytes, little-endian, then `length` bytes of payload:

    u64 src_cid  u64 dst_cid  u32 src_port  u32 dst_port  u32 length
    u16 type  u16 operation  u32 flags  u32 buf_alloc  u32 fwd_cnt

`buf_alloc` and `fwd_cnt` stand in every packet of a stream and tell the other side how much it may
send: what it sent, less `fwd_cnt`, stays below `buf_alloc` (5.10.6.3). Both counts wrap at 32 bits.
"""

from __future__ import annotations

import struct

HEADER = struct.Struct("<QQIIIHHIII")

HOST_CID = 2
STREAM = 1

REQUEST = 1
RESPONSE = 2
RST = 3
SHUTDOWN = 4
RW = 5
CREDIT_UPDATE = 6
CREDIT_REQUEST = 7

NO_RECEIVE = 1
"""Flag of SHUTDOWN: the sender of the packet will not receive any more."""
NO_SEND = 2
"""Flag of SHUTDOWN: the sender of the packet will not send any more."""
NO_MORE = NO_RECEIVE | NO_SEND

COUNTS = 0xFFFFFFFF
