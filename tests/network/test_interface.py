"""What a guest's interface outlasts: its root taking it down, and a guest without memory."""

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


# Several transfers in both directions, beside what takes all memory until it is killed for it.
_BUSY_AND_GREEDY = f"""
import os, socket, threading

def receive(sock):
    while sock.recv(1 << 16):
        pass

def transfer():
    sock = socket.create_connection(("{WEB}", 7))
    threading.Thread(target=receive, args=(sock,), daemon=True).start()
    while True:
        sock.sendall(bytes(1 << 16))

if os.fork() == 0:
    for _ in range(4):
        threading.Thread(target=transfer).start()
else:
    taken = []
    while True:
        taken.append(os.urandom(1 << 20))
"""


def test_a_network_outlasts_a_guest_that_had_no_memory_for_its_packets(
    make_own_guest: MakeGuest,
) -> None:
    guest = make_own_guest(network_policy="egress", mem_mib=256)

    for _ in range(2):
        greedy = guest.run("python3 -", stdin=_BUSY_AND_GREEDY.encode())

        assert greedy["oom_killed"], greedy
        assert guest.tries(("web", "a.test"), ("tcp", PRIVATE)) == [WEB, REFUSED]


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
