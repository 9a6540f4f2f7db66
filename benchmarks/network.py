"""Bytes and connections between a guest and a server of this host, through the gateway."""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.ground import SDK_LABEL, Ground
from benchmarks.rounds import NotMeasuredError, Subject, alternate, run
from benchmarks.table import Table

_ENVIRONMENT = "debian:12"
_MIB = 512
_CONNECTIONS = 100

# Runs in the guest and on the host: up, down or connect, then address and port.
_PROGRAM = f"""
import socket, sys, time
what, address = sys.argv[1], (sys.argv[2], int(sys.argv[3]))
block, size = bytearray(1 << 20), {_MIB} << 20
if what == "connect":
    took = []
    for _ in range({_CONNECTIONS}):
        started = time.perf_counter()
        socket.create_connection(address).close()
        took.append(time.perf_counter() - started)
    print(sorted(took)[len(took) // 2] * 1000)
else:
    with socket.create_connection(address) as sock:
        sock.sendall(what[:1].encode())
        started = time.perf_counter()
        if what == "up":
            for _ in range({_MIB}):
                sock.sendall(block)
            sock.shutdown(socket.SHUT_WR)
            sock.recv(1)
        else:
            while sock.recv_into(block):
                pass
        print(size / (time.perf_counter() - started) / 1e6)
"""


def measure(ground: Ground) -> list[Table]:
    """MB (10^6) a second and milliseconds, the same transfer from the host beside it."""
    with (
        _server() as (address, port),
        ground.machine(_ENVIRONMENT, mem_mib=512, reaches=(address,)) as machine,
    ):

        def subjects(what: str, goal: str) -> list[Subject]:
            words = [what, address, str(port)]

            def in_guest() -> float:
                outcome = machine.execute(
                    f"python3 - {' '.join(words)}", timeout_seconds=120, stdin=_PROGRAM.encode()
                )
                if outcome.exit_code != 0:
                    raise NotMeasuredError(outcome.stderr.text())
                return float(outcome.stdout.text())

            def on_host() -> float:
                return float(run([sys.executable, "-c", _PROGRAM, *words]))

            return [Subject(SDK_LABEL, in_guest, goal=goal), Subject("on the host", on_host)]

        rounds = ground.rounds(7, 3)
        results = [
            (title, unit, digits, alternate(subjects(what, goal), rounds=rounds))
            for what, title, unit, digits, goal in (
                ("up", f"Network up: {_MIB} MiB (higher is better)", "MB/s", 0, "≥ 125 MB/s"),
                ("down", f"Network down: {_MIB} MiB (higher is better)", "MB/s", 0, "≥ 125 MB/s"),
                ("connect", f"Connect: median of {_CONNECTIONS}", "ms", 2, "≤ 3 ms"),
            )
        ]
    return [
        Table(title=title, unit=unit, rows=rows, references=["on the host"], digits=digits)
        for title, unit, digits, rows in results
    ]


@contextmanager
def _server() -> Iterator[tuple[str, int]]:
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 1024

    class Transfer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            block = bytearray(1 << 20)
            way = self.request.recv(1)
            if way == b"u":
                while self.request.recv_into(block):
                    pass
            elif way == b"d":
                for _ in range(_MIB):
                    self.request.sendall(block)

    with Server((_own_address(), 0), Transfer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address, port = server.server_address[:2]
        yield str(address), int(port)
        server.shutdown()


def _own_address() -> str:
    """An address of this host that is not its loopback, which no policy opens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("203.0.113.1", 9))  # sends nothing
        except OSError as error:
            raise NotMeasuredError("this host has no address but loopback") from error
        return str(sock.getsockname()[0])
