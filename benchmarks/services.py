"""Services: how soon one is ready, and what a published port lets through."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.ground import SDK_LABEL, Ground
from benchmarks.peers.base import need
from benchmarks.rounds import NotMeasuredError, Subject, alternate
from benchmarks.table import Row, Table

_ENVIRONMENT = "debian:12-build"
_BYTES = 256 * 1024 * 1024
_REQUESTS = 200
_HOST_LABEL = "the same server on the host"
_RELAY_LABEL = "behind socat on the host"

_SERVER = """
import os, socket, sys, threading, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=512)
open("listening", "w").write(repr(time.time()))

def serve(client):
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    room = bytearray(1 << 18)
    while size := client.recv_into(room, 100):
        word = bytes(room[:size])
        if word.startswith(b"send"):
            left = int(word[4:])
            while left > 0:
                left -= client.send(memoryview(room)[:left])
        elif word.startswith(b"take"):
            left = int(word[4:])
            client.sendall(b"go")
            while left > 0:
                left -= client.recv_into(room)
            client.sendall(b"ok")
        else:
            client.sendall(word)
    client.close()

while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""

_CLIENT = """
import socket, statistics, sys, time
times = []
for _ in range(int(sys.argv[2])):
    begun = time.perf_counter()
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
        client.sendall(b"ping")
        client.recv(100)
    times.append(time.perf_counter() - begun)
print(statistics.median(times) * 1000)
"""


class _Place(NamedTuple):
    """Where the server can be reached, and as what."""

    label: str
    port: int
    note: str = ""


def measure(ground: Ground) -> list[Table]:
    """Readiness, throughput, and what a request costs."""
    ground.images(_ENVIRONMENT)
    with ExitStack() as owned:
        folder = Path(owned.enter_context(TemporaryDirectory(prefix="pyro-bench-")))
        (folder / "server.py").write_text(_SERVER)
        (folder / "client.py").write_text(_CLIENT)
        pyro = ground.pyro
        made = pyro.create_workspace(
            environment=_ENVIRONMENT,
            network_policy="published-ports",
            seed_path=folder,
            ttl_seconds=0,
        )
        workspace_id = made["workspace_id"]
        owned.callback(pyro.delete_workspace, workspace_id)
        ready = _ready(ground, workspace_id)
        service = pyro.start_service(
            workspace_id,
            "server",
            command="exec python3 server.py 8000",
            readiness={"type": "tcp", "address": "localhost:8000"},
            published_ports=[{"guest_port": 8000, "host_port": None}],
        )
        places = [_Place(SDK_LABEL, service["published_ports"][0]["host_port"])]
        places.append(_Place(_HOST_LABEL, owned.enter_context(_on_host(folder))))
        missing: list[Row] = []
        try:
            places.append(_Place(_RELAY_LABEL, owned.enter_context(_relayed(places[1].port))))
        except NotMeasuredError as error:
            missing.append(Row(label=_RELAY_LABEL, note=str(error)))

        def in_guest() -> float:
            ran = pyro.exec_workspace(workspace_id, command=f"python3 client.py 8000 {_REQUESTS}")
            return float(ran["stdout"])

        return [
            ready,
            *_throughput(ground, places, missing),
            *_requests(ground, places, missing, in_guest),
        ]


def _ready(ground: Ground, workspace_id: str) -> Table:
    pyro = ground.pyro
    at = [7000]

    def beyond_its_own_start(delay: float) -> float:
        at[0] += 1
        begun = time.perf_counter()
        service = pyro.start_service(
            workspace_id,
            "timed",
            command=f"date +%s.%N > begun; sleep {delay}; exec python3 server.py {at[0]}",
            readiness={"type": "tcp", "address": f"localhost:{at[0]}"},
        )
        took = time.perf_counter() - begun
        if service["state"] != "running":
            raise NotMeasuredError(f"the service is {service['state']}: {service['problem']}")
        read = pyro.exec_workspace(workspace_id, command="cat begun listening")["stdout"].split()
        pyro.stop_service(workspace_id, "timed")
        return took - (float(read[1]) - float(read[0]))

    subjects = [
        Subject("soon ready", lambda: beyond_its_own_start(0), goal="≤ 0.15 s"),
        Subject("ready after 1.3 s", lambda: beyond_its_own_start(1.3), goal="≤ 0.15 s"),
    ]
    return Table(
        title="service start with --ready-tcp: from the call to ready, beyond the service's own",
        unit="s",
        rows=alternate(subjects, rounds=ground.rounds(7, 3)),
    )


def _throughput(ground: Ground, places: list[_Place], missing: list[Row]) -> Iterator[Table]:
    for title, once in (("out of the guest", _received), ("into the guest", _sent)):
        subjects = [
            Subject(
                place.label,
                lambda port=place.port, once=once: once(port),  # type: ignore[misc]
                goal="≥ 200 MB/s" if place.label == SDK_LABEL else "",
            )
            for place in places
        ]
        yield Table(
            title=f"{_BYTES >> 20} MiB {title}, one connection of a published port",
            unit="MB/s",
            rows=[*alternate(subjects, rounds=ground.rounds(5, 2)), *missing],
            references=[_HOST_LABEL],
            digits=0,
        )


def _requests(
    ground: Ground, places: list[_Place], missing: list[Row], in_guest: Callable[[], float]
) -> Iterator[Table]:
    for title, once in (("kept connection", _kept), ("new connection each", _fresh)):
        subjects = [
            Subject(
                place.label,
                lambda port=place.port, once=once: once(port),  # type: ignore[misc]
                goal="≤ 2 ms added" if place.label == SDK_LABEL else "",
            )
            for place in places
        ]
        if once is _fresh:
            subjects.append(Subject("inside the guest", in_guest))
        yield Table(
            title=f"One small request, {title}: median of {_REQUESTS}",
            unit="ms",
            rows=[*alternate(subjects, rounds=ground.rounds(7, 3)), *missing],
            references=[_HOST_LABEL],
            digits=2,
        )


def _received(port: int) -> float:
    room = bytearray(1 << 20)
    with _connected(port) as client:
        begun = time.perf_counter()
        client.sendall(b"send%d" % _BYTES)
        got = 0
        while got < _BYTES:
            size = client.recv_into(room)
            if not size:
                raise NotMeasuredError(f"{got} bytes arrived of {_BYTES}")
            got += size
        return _BYTES / (time.perf_counter() - begun) / 1e6


def _sent(port: int) -> float:
    block = memoryview(bytes(1 << 20))
    with _connected(port) as client:
        client.sendall(b"take%d" % _BYTES)
        client.recv(2)
        begun = time.perf_counter()
        for _ in range(_BYTES >> 20):
            client.sendall(block)
        if client.recv(2) != b"ok":
            raise NotMeasuredError("the server did not take it all")
        return _BYTES / (time.perf_counter() - begun) / 1e6


def _kept(port: int) -> float:
    times = []
    with _connected(port) as client:
        for _ in range(_REQUESTS):
            begun = time.perf_counter()
            client.sendall(b"ping")
            client.recv(100)
            times.append(time.perf_counter() - begun)
    return median(times) * 1000


def _fresh(port: int) -> float:
    times = []
    for _ in range(_REQUESTS):
        begun = time.perf_counter()
        with _connected(port) as client:
            client.sendall(b"ping")
            client.recv(100)
        times.append(time.perf_counter() - begun)
    return median(times) * 1000


def _connected(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


@contextmanager
def _on_host(folder: Path) -> Iterator[int]:
    port = _free_port()
    with _running([sys.executable, "server.py", str(port)], port, folder):
        yield port


@contextmanager
def _relayed(target: int) -> Iterator[int]:
    port = _free_port()
    listen = f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,nodelay"
    argv = [need("socat", "socat"), "-b262144", listen, f"TCP:127.0.0.1:{target},nodelay"]
    with _running(argv, port, Path.cwd()):
        yield port


@contextmanager
def _running(argv: list[str], port: int, folder: Path) -> Iterator[None]:
    with subprocess.Popen(argv, cwd=folder, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while True:
                try:
                    _connected(port).close()
                    break
                except OSError as error:
                    if time.monotonic() > deadline or process.poll() is not None:
                        raise NotMeasuredError(f"{argv[0]} did not listen") from error
                    time.sleep(0.02)
            yield
        finally:
            process.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])
