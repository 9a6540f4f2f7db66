"""A small internet, made of network namespaces and gone with the process that made it.

    where pyro runs                       everything else
    198.51.100.2, 10.9.0.2  ── cable ──   198.51.100.1 and the ADDRESSES below
    2001:db8:1::2                         2001:db8:1::1

On every address on both sides there is a web server (80; it answers with the address that was asked
and who asked), an echo (7, TCP and UDP) and, in everything else, a DNS server (53) and a server of
package indexes, which is a proxy too (INDEX_PORT; it serves the files of the directory `index`
beside the log). What they see goes to a file, one JSON object a line.

Run as a program in a new network namespace; `World` does that.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

HOST, HOST_PRIVATE, HOST6 = "198.51.100.2", "10.9.0.2", "2001:db8:1::2"
ROUTER, ROUTER6 = "198.51.100.1", "2001:db8:1::1"
WEB, OTHER_WEB, DNS, OTHER_DNS = "203.0.113.10", "203.0.113.20", "203.0.113.53", "203.0.113.54"
WEB6, OTHER_WEB6 = "2001:db8:2::10", "2001:db8:2::20"
METADATA, METADATA6 = "169.254.169.254", "fd00:ec2::254"
PRIVATE, OTHER_PRIVATE, CARRIER, PRIVATE6 = "10.77.0.1", "192.168.7.7", "100.64.1.1", "fd12::1"
ADDRESSES = (
    WEB, OTHER_WEB, DNS, OTHER_DNS, WEB6, OTHER_WEB6, METADATA, METADATA6, PRIVATE, OTHER_PRIVATE,
    CARRIER, PRIVATE6,
)  # fmt: skip
ZONE = {
    "a.test": (WEB, WEB6),
    "b.test": (OTHER_WEB, OTHER_WEB6),
    "only6.test": (WEB6,),
    "www.wild.test": (OTHER_WEB,),
    "deep.www.wild.test": (OTHER_WEB,),
    "inside.test": (PRIVATE,),
    "metadata.test": (METADATA, METADATA6),
    "loop.test": ("127.0.0.1", "::1"),
    "host.test": (HOST,),
    "mixed.test": (WEB, PRIVATE),
}
ALIASES = {"alias.test": "a.test"}
INDEX_PORT = 8000
SILENT = "203.0.113.99"
"""Nobody has it, and nobody says so."""
LONG = "long.test"
"""Has so many addresses that they do not fit a datagram."""


class World:
    """The small internet, and the way into the namespace where pyro runs."""

    def __init__(self, log: Path, *, as_user: bool) -> None:
        self.log = log
        self.index = log.with_name("index")
        """Files of the index server: `HOST/PATH` where it is asked as a proxy for HOST."""
        self.index.mkdir()
        new = ["unshare", "--net", *(["--user", "--map-root-user"] if as_user else [])]
        self._process = subprocess.Popen(
            [*new, sys.executable, __file__, "host", str(log)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            self.close()
            raise RuntimeError("the small internet did not come up")
        user = ["--user", "--preserve-credentials"] if as_user else []
        self.enter = ["nsenter", f"--target={self._process.pid}", "--net", *user]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; the namespaces go with their processes."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(timeout=20)

    def seen(self, kind: str) -> list[dict[str, Any]]:
        """What its servers saw of one kind: `web`, `echo`, `index` or `dns`."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["kind"] == kind]


def main() -> None:
    """Be one side of it until standard input ends."""
    side, log_path = sys.argv[1:3]
    log = Log(log_path)
    if side == "host":
        other = subprocess.Popen(
            ["unshare", "--net", sys.executable, __file__, "internet", log_path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()  # it has its namespace
        ip(f"link add up0 type veth peer name down0 netns {other.pid}")
        for address in (f"{HOST}/24", f"{HOST_PRIVATE}/24", f"{HOST6}/64"):
            ip(f"address add {address} dev up0 {'nodad' if ':' in address else ''}")
        ip("link set lo up")
        ip("link set up0 up")
        ip(f"route add default via {ROUTER}")
        ip(f"-6 route add default via {ROUTER6}")
        other.stdin.write("go\n")
        other.stdin.flush()
        other.stdout.readline()  # it serves
        serve(log, (HOST, HOST_PRIVATE, HOST6), names=False)
        print("ready", flush=True)
        sys.stdin.read()
        other.stdin.close()
        other.wait()
    else:
        print("here", flush=True)
        sys.stdin.readline()
        ip("link set lo up")
        for address in ADDRESSES:
            nodad, length = ("nodad", 128) if ":" in address else ("", 32)
            ip(f"address add {address}/{length} dev lo {nodad}")
        ip(f"address add {ROUTER}/24 dev down0")
        ip(f"address add {ROUTER6}/64 dev down0 nodad")
        ip("link set down0 up")
        serve(log, ADDRESSES, names=True)
        print("ready", flush=True)
        sys.stdin.read()
    os._exit(0)


def ip(words: str) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *words.split()], check=True)


class Log:
    """One file, written by many threads and two processes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, kind: str, **facts: object) -> None:
        """Add a line."""
        os.write(self._file, json.dumps({"kind": kind, **facts}).encode() + b"\n")


def serve(log: Log, addresses: tuple[str, ...], *, names: bool) -> None:
    """Start all servers, each in a thread."""

    class Web(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            told = {"asked": self.connection.getsockname()[0], "by": self.client_address[0]}
            log.note("web", **told, path=self.path)
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    class Index(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(Path(log.path).with_name("index")))

        def do_GET(self) -> None:
            log.note("index", path=self.path)
            self.path = self.path.removeprefix("http:/")
            super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            return

    class Echo(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            log.note("echo", asked=self.request.getsockname()[0], by=self.client_address[0])
            while data := self.request.recv(65536):
                self.request.sendall(data)

    class DatagramEcho(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            log.note("echo", by=self.client_address[0], size=len(data))
            sock.sendto(data, self.client_address)

    class Names(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            answer = resolve(data, log, over_tcp=False)
            if answer:
                sock.sendto(answer, self.client_address)

    class NamesOverTcp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            length = int.from_bytes(self.request.recv(2), "big")
            answer = resolve(self.request.recv(length), log, over_tcp=True)
            self.request.sendall(len(answer).to_bytes(2, "big") + answer)

    servers: list[socketserver.BaseServer] = []
    for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        kinds: list[tuple[Any, int, Any]] = [
            (ThreadingHTTPServer, 80, Web),
            (socketserver.ThreadingTCPServer, 7, Echo),
        ]
        for base, port, handler in kinds:
            servers.append(_only(base, family)((anywhere, port), handler))
    for address in addresses:
        # One each: from a socket of all addresses the echo would come from another one.
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        echo = _only(socketserver.ThreadingUDPServer, family)
        servers.append(echo((address, 7), DatagramEcho))
    if names:
        index = _only(ThreadingHTTPServer, socket.AF_INET)
        servers.append(index(("0.0.0.0", INDEX_PORT), Index))
        for address in (DNS, OTHER_DNS):
            udp = _only(socketserver.ThreadingUDPServer, socket.AF_INET)
            tcp = _only(socketserver.ThreadingTCPServer, socket.AF_INET)
            servers += [udp((address, 53), Names), tcp((address, 53), NamesOverTcp)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()


def _only(base: Any, family: int) -> Any:
    class Server(base):  # type: ignore[misc]  # the base is a parameter
        address_family = family
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 1024
        max_packet_size = 65535

        def server_bind(self) -> None:
            if family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            super().server_bind()

    return Server


def resolve(wire: bytes, log: Log, *, over_tcp: bool) -> bytes:
    """Answer from the zone."""
    import dns.message
    import dns.rcode
    import dns.rdatatype
    import dns.rrset

    query = dns.message.from_wire(wire)
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True)
    kind = dns.rdatatype.to_text(question.rdtype)
    log.note("dns", name=name, type=kind, tcp=over_tcp, edns=[o.to_text() for o in query.options])
    answer = dns.message.make_response(query)
    name = ALIASES.get(name, name)
    if name != question.name.to_text(omit_final_dot=True):
        alias = dns.rrset.from_text(question.name, 60, "IN", "CNAME", f"{name}.")
        answer.answer.append(alias)
    addresses = ZONE.get(name, ())
    if name == LONG:
        addresses = tuple(f"203.0.113.{last}" for last in range(100, 250))
    wanted = [a for a in addresses if (":" in a) == (kind == "AAAA") and kind in ("A", "AAAA")]
    if wanted:
        answer.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", kind, *wanted))
    elif not addresses:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    if over_tcp:
        return answer.to_wire(max_size=65535)
    try:
        return answer.to_wire(max_size=1232)
    except dns.exception.TooBig:
        short = dns.message.make_response(query)
        short.flags |= dns.flags.TC
        return short.to_wire()


if __name__ == "__main__":
    main()
