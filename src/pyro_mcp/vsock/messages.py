"""Numbers and layouts of the vhost-user protocol: QEMU, docs/interop/vhost-user.rst.

A message is a header of three u32 (request, flags, size) and `size` bytes; descriptors come beside
the header's first byte. Flags: bits 0-1 the version; bit 2 a reply; bit 3 the sender wants a reply
even to a request that has none of its own (REPLY_ACK), a u64 that is 0 for success.
"""

from __future__ import annotations

import struct

GET_FEATURES = 1
SET_FEATURES = 2
SET_OWNER = 3
SET_MEM_TABLE = 5
SET_VRING_NUM = 8
SET_VRING_ADDR = 9
SET_VRING_BASE = 10
GET_VRING_BASE = 11
SET_VRING_KICK = 12
SET_VRING_CALL = 13
SET_VRING_ERR = 14
GET_PROTOCOL_FEATURES = 15
SET_PROTOCOL_FEATURES = 16
SET_VRING_ENABLE = 18
GET_CONFIG = 24

FEATURE_PROTOCOL = 1 << 30
FEATURE_VERSION_1 = 1 << 32
FEATURES = FEATURE_PROTOCOL | FEATURE_VERSION_1
PROTOCOL_REPLY_ACK = 1 << 3
PROTOCOL_CONFIG = 1 << 9
PROTOCOL_FEATURES = PROTOCOL_REPLY_ACK | PROTOCOL_CONFIG

VERSION = 1
IS_REPLY = 4
NEED_REPLY = 8

HEADER = struct.Struct("<III")
U64 = struct.Struct("<Q")
STATE = struct.Struct("<II")
ADDRESSES = struct.Struct("<IIQQQQ")
TABLE = struct.Struct("<II")
REGION = struct.Struct("<QQQQ")
CONFIG = struct.Struct("<III")

LARGEST_PAYLOAD = 512
"""What any message offered here needs is less; announced sizes above it are refused unread."""
