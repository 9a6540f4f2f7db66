"""A guest's root takes its interface down and up again."""

from __future__ import annotations

from pyro_mcp import protocol
from tests.network.conftest import MakeGuest
from tests.network.test_reach import NO_NAME, REFUSED
from tests.support.internet import METADATA, OTHER_WEB, PRIVATE, WEB

_ASK = "import fcntl, socket, struct; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
# netdevice(7): SIOCSIFFLAGS; 0x1 is IFF_UP.
_DOWN = _ASK + 'fcntl.ioctl(s, 0x8914, struct.pack("16sh22x", b"eth0", 0))'
_UP = _ASK + 'fcntl.ioctl(s, 0x8914, struct.pack("16sh22x", b"eth0", 1))'
# Linux forgets the routes of an interface that is down. SIOCADDRT, a struct rtentry.
_ROUTE = _ASK + (
    'a = lambda ip: struct.pack("=H2x4s8x", 2, socket.inet_aton(ip)); '
    f'r = bytes(8) + a("0.0.0.0") + a("{protocol.GATEWAY_IP}") + a("0.0.0.0"); '
    'fcntl.ioctl(s, 0x890B, (r + b"\\x03\\0").ljust(120, b"\\0"))'
)


def test_an_interface_that_was_down_works_again_and_under_the_same_policy(
    make_own_guest: MakeGuest,
) -> None:
    guest = make_own_guest(network_policy="egress", network_allow=["a.test"], mem_mib=256)

    def python(program: str) -> None:
        done = guest.run(f"python3 -c '{program}'")
        assert done["exit_code"] == 0, done["stderr"]

    for _ in range(2):
        python(_DOWN)
        assert guest.tries(("tcp", WEB)) == ["error: ENETUNREACH"]
        python(_UP)
        python(_ROUTE)

        assert guest.tries(
            ("web", "a.test"), ("tcp", OTHER_WEB), ("names", "b.test"),
            ("tcp", METADATA), ("tcp", PRIVATE),
        ) == [WEB, REFUSED, NO_NAME, REFUSED, REFUSED]  # fmt: skip
