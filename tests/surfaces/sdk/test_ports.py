"""Published ports: whole streams, both ways, as long as the service runs and no longer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
import zlib
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp import Pyro
from pyro_mcp.errors.services import NetworkPolicyError
from tests.support import until
from tests.support.processes import monitor_of_workspace

SERVER = r"""
use strict; use IO::Socket::INET;
my ($mode, $port, $count) = @ARGV;
$SIG{CHLD} = 'IGNORE';
my $listener = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 512, ReuseAddr => 1) or die "$!";
while (1) {
    my $client = $listener->accept or next;
    if (fork) { close $client; next }
    binmode $client;
    if ($mode eq 'echo') {
        while (sysread $client, my $data, 65536) { print $client $data; $client->flush }
    } elsif ($mode eq 'after') {
        my $all = ''; while (sysread $client, my $data, 65536) { $all .= $data }
        print $client length($all) . ":$all";
    } elsif ($mode eq 'first') {
        print $client "hello\n"; $client->flush; shutdown $client, 1;
        my $size = 0; while (my $got = sysread $client, my $data, 65536) { $size += $got }
        exit unless $size;  # the probe of its readiness
        open my $file, '>', '/workspace/got'; print $file $size; close $file;
    } elsif ($mode eq 'source') {
        my $block = join '', map { pack 'N', $_ } 1 .. 65536;
        print $client $block for 1 .. $count;
    } elsif ($mode eq 'http') {
        sysread $client, my $data, 65536;
        print $client "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    }
    exit;
}
"""


@pytest.fixture
def published(kept: Pyro) -> str:
    """A workspace whose policy publishes ports, with a server for each kind of stream."""
    made = kept.create_workspace(
        environment="debian:12", mem_mib=512, network_policy="published-ports"
    )
    workspace_id = str(made["workspace_id"])
    kept.write_workspace_file(workspace_id, "server.pl", text=SERVER)
    return workspace_id


def serve(
    pyro: Pyro, workspace_id: str, mode: str, *words: object, host_port: int | None = None
) -> dict[str, Any]:
    """Start that server; what is said of it."""
    given = " ".join(map(str, words))
    return pyro.start_service(
        workspace_id,
        mode,
        command=f"exec perl server.pl {mode} 8000 {given}",
        readiness={"type": "tcp", "address": "localhost:8000"},
        published_ports=[{"guest_port": 8000, "host_port": host_port}],
    )


def port_of(service: dict[str, Any]) -> int:
    """The one port of this host that leads to it."""
    assert service["state"] == "running", service
    (port,) = service["published_ports"]
    assert (port["host"], port["guest_port"], port["protocol"]) == ("127.0.0.1", 8000, "tcp")
    return int(port["host_port"])


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=120)


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 20), b""))


def read_exactly(client: socket.socket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size and (data := client.recv(size - len(got))):
        got += data
    return bytes(got)


def listens(port: int) -> bool:
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_page_comes_through_without_any_network(kept: Pyro, published: str) -> None:
    port = port_of(serve(kept, published, "http"))

    for _ in range(3):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert answer.read() == b"hello"

    assert kept.status_workspace(published)["network_enabled"] is False
    addresses = kept.exec_workspace(published, command="cat /proc/net/dev | grep -c ':'")
    assert addresses["stdout"].strip() == "1"


def test_reading_its_log_closes_nothing(kept: Pyro, published: str) -> None:
    port = port_of(serve(kept, published, "echo"))
    with connect(port) as client:
        client.sendall(b"before")
        assert read_exactly(client, 6) == b"before"

        kept.logs_service(published, "echo")
        kept.status_service(published, "echo")

        client.sendall(b"after")
        assert read_exactly(client, 5) == b"after"
    assert listens(port)


def test_each_side_may_end_its_half_first(kept: Pyro, published: str) -> None:
    with connect(port_of(serve(kept, published, "after"))) as client:
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"8:question"
    kept.stop_service(published, "after")

    with connect(port_of(serve(kept, published, "first"))) as client:
        assert read_all(client) == b"hello\n"
        client.sendall(b"x" * 300_000)
    got = until(lambda: kept.exec_workspace(published, command="cat got 2>/dev/null")["stdout"])
    assert got == "300000"


def test_two_hundred_connections_at_once_get_each_its_own(kept: Pyro, published: str) -> None:
    port = port_of(serve(kept, published, "echo"))
    clients = [connect(port) for _ in range(200)]
    for number, client in enumerate(clients):
        client.sendall(b"%06d" % number * 1000)

    for number, client in enumerate(clients):
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"%06d" % number * 1000
        client.close()


def test_half_a_gigabyte_through_one_connection_arrives_whole(kept: Pyro, published: str) -> None:
    blocks = 2000
    block = b"".join(number.to_bytes(4, "big") for number in range(1, 65537))
    expected = got = size = 0
    for _ in range(blocks):
        expected = zlib.crc32(block, expected)

    with connect(port_of(serve(kept, published, "source", blocks))) as client:
        while data := client.recv(1 << 20):
            got = zlib.crc32(data, got)
            size += len(data)

    assert (size, got) == (blocks * len(block), expected)


def test_a_client_that_does_not_read_holds_up_itself_alone(kept: Pyro, published: str) -> None:
    port = port_of(serve(kept, published, "echo"))
    block = os.urandom(1 << 20)
    with connect(port) as lazy, connect(port) as other:
        sender = threading.Thread(target=lambda: lazy.sendall(block * 64))
        sender.start()
        for _ in range(50):
            other.sendall(b"ping")
            assert read_exactly(other, 4) == b"ping"
        assert sender.is_alive(), "nothing held the sender back"

        for _ in range(64):
            assert read_exactly(lazy, len(block)) == block
        sender.join()


def test_a_service_that_does_not_listen_ends_the_connection(kept: Pyro, published: str) -> None:
    service = kept.start_service(
        published,
        "idle",
        command="sleep 600",
        published_ports=[{"guest_port": 8000, "host_port": None}],
    )
    with connect(port_of(service)) as client:
        assert client.recv(1) == b""


def test_the_port_ends_with_its_service_however_that_ends(kept: Pyro, published: str) -> None:
    stopped = port_of(serve(kept, published, "echo"))
    kept.stop_service(published, "echo")
    until(lambda: not listens(stopped))
    assert kept.status_service(published, "echo")["published_ports"] == []

    ended = port_of(serve(kept, published, "echo"))
    kept.stop_workspace(published)
    until(lambda: not listens(ended))


def test_a_service_that_ends_by_itself_takes_its_port_along(kept: Pyro, published: str) -> None:
    service = kept.start_service(
        published,
        "short",
        command="until test -e go; do sleep 0.01; done",
        published_ports=[{"guest_port": 8000, "host_port": None}],
    )
    port = port_of(service)
    assert listens(port)

    kept.exec_workspace(published, command="touch go")

    until(lambda: not listens(port))
    assert kept.status_service(published, "short")["state"] == "exited"


def test_killing_the_monitor_closes_the_port(kept: Pyro, published: str) -> None:
    port = port_of(serve(kept, published, "echo"))

    os.kill(monitor_of_workspace(published), signal.SIGKILL)

    until(lambda: not listens(port))
    until(lambda: kept.status_workspace(published)["state"] == "stopped")


def test_a_port_outlives_the_process_that_asked_for_it(kept: Pyro, published: str) -> None:
    program = (
        "from pyro_mcp import Pyro\n"
        f"s = Pyro().start_service({published!r}, 'echo',"
        " command='exec perl server.pl echo 8000',"
        " published_ports=[{'guest_port': 8000, 'host_port': None}])\n"
        "print(s['published_ports'][0]['host_port'])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert listens(int(ran.stdout))


def test_a_taken_port_stops_the_service_and_is_named(kept: Pyro, published: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        service = kept.start_service(
            published,
            "s",
            command="sleep 600",
            published_ports=[
                {"guest_port": 8001, "host_port": None},
                {"guest_port": 8000, "host_port": port},
            ],
        )

    assert (service["state"], service["stop_reason"]) == ("failed", "published_port_failed")
    assert (service["pid"], service["published_ports"]) == (None, [])
    assert str(port) in service["problem"]
    again = kept.restart_service(published, "s")
    assert again["published_ports"][1]["host_port"] == port


def test_a_restart_keeps_the_port_that_was_chosen(kept: Pyro, published: str) -> None:
    before = port_of(serve(kept, published, "http"))

    assert port_of(kept.restart_service(published, "http")) == before
    with urllib.request.urlopen(f"http://127.0.0.1:{before}/") as answer:
        assert answer.read() == b"hello"


def test_a_policy_without_ports_refuses_them_and_says_which_has(
    kept: Pyro, workspace_id: str
) -> None:
    with pytest.raises(NetworkPolicyError, match="published-ports"):
        kept.start_service(
            workspace_id,
            "s",
            command="true",
            published_ports=[{"guest_port": 8000, "host_port": None}],
        )
    assert kept.list_services(workspace_id)["count"] == 0


def test_another_policy_opens_and_closes_ports_at_once(kept: Pyro, published: str) -> None:
    port = port_of(serve(kept, published, "echo"))
    with connect(port) as client:
        client.sendall(b"before")
        assert read_exactly(client, 6) == b"before"

        kept.update_workspace(published, network_policy="off")

        assert client.recv(1) == b""
    assert not listens(port)
    service = kept.status_service(published, "echo")
    assert (service["state"], service["published_ports"]) == ("running", [])
    with pytest.raises(NetworkPolicyError, match="workspace update"):
        kept.restart_service(published, "echo")
    kept.update_workspace(published, network_policy="published-ports")
    assert listens(port_of(kept.restart_service(published, "echo")))


def test_only_the_loopback_of_this_host_listens(kept: Pyro, published: str) -> None:
    port = port_of(serve(kept, published, "echo"))

    # A set: the kernel gives the table in parts, and may give one again that has moved meanwhile.
    listening = {
        line.split()[1]
        for name in ("tcp", "tcp6")
        for line in Path("/proc/net", name).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    }

    assert listening == {f"0100007F:{port:04X}"}
