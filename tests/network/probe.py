"""Runs in guests, with their Python: tries what a line of JSON on standard input says, prints JSON.

Each thing to try is `[name, argument…]`, and becomes what it returned or `"error: NAME"`.
"""

import errno
import json
import socket
import struct
import sys

SECONDS = 20


def tcp(address: str, port: int = 80) -> str:
    """Connect, and no more."""
    with socket.create_connection((address, port), SECONDS):
        return "connected"


def web(address: str, host: str = "test") -> str:
    """The address that a web server was asked at."""
    with socket.create_connection((address, 80), SECONDS) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := sock.recv(65536):
            answer += part
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["asked"])


def udp(address: str, port: int = 7, size: int = 4) -> int:
    """The size of the echo of a datagram."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(SECONDS)
        sock.connect((address, port))
        sock.send(bytes(size))
        return len(sock.recv(65535))


def names(name: str) -> list[str]:
    """The addresses of a name, sorted."""
    found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    return sorted({str(entry[4][0]) for entry in found})


def ask(server: str, name: str, kind: int = 1, extra: str = "", over_tcp: bool = False) -> int:
    """The status of a DNS answer; `extra` is appended to the message, in hex."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    head = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 1 if extra else 0)
    message = head + labels + b"\0" + struct.pack(">HH", kind, 1) + bytes.fromhex(extra)
    kinds = socket.SOCK_STREAM if over_tcp else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kinds) as sock:
        sock.settimeout(SECONDS)
        sock.connect((server, 53))
        if over_tcp:
            sock.sendall(len(message).to_bytes(2, "big") + message)
            return sock.recv(65535)[5] & 15
        sock.send(message)
        return sock.recv(65535)[3] & 15


def frame(content: str, times: int = 1) -> str:
    """Put bytes on the wire as they are."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("eth0", 0))
        for _ in range(times):
            sock.send(bytes.fromhex(content))
    return "sent"


def held(resolver: str, count: int) -> int:
    """Of so many connections to a resolver, how many are left when the last one has its answer."""
    kept = []
    for _ in range(count):
        kept.append(socket.create_connection((resolver, 53), SECONDS))
        kept[-1].sendall(b"\xff\xff" + bytes(1000))  # the beginning of a long question
    last = socket.create_connection((resolver, 53), SECONDS)
    question = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\1a\4test\0\0\1\0\1"
    last.sendall(len(question).to_bytes(2, "big") + question)
    last.recv(65535)
    left = 1
    for sock in kept:
        sock.setblocking(False)
        try:
            sock.recv(1)
        except BlockingIOError:
            left += 1
        except OSError:
            continue
    return left


def unanswered(address: str, count: int) -> int:
    """Ask for so many connections, and wait for none; how many were not refused."""
    kept = [socket.socket() for _ in range(count)]
    for number, sock in enumerate(kept):
        sock.setblocking(False)
        sock.connect_ex((address, 1000 + number))
    refused = sum(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0 for sock in kept)
    for sock in kept:
        sock.close()
    return count - refused


def many(address: str, count: int) -> dict[str, int]:
    """So many connections at a time; how they ended."""
    ended: dict[str, int] = {}
    kept = []
    for _ in range(count):
        try:
            kept.append(socket.create_connection((address, 80), SECONDS))
            how = "connected"
        except OSError as error:
            how = named(error)
        ended[how] = ended.get(how, 0) + 1
    for sock in kept:
        sock.close()
    return ended


def named(error: OSError) -> str:
    """An error without its words."""
    if isinstance(error, socket.gaierror):
        return "error: no such name"
    if isinstance(error, TimeoutError):
        return "error: ETIMEDOUT"
    return f"error: {errno.errorcode.get(error.errno or 0, error)}"


def main() -> None:
    """Try all."""
    done = []
    for name, *arguments in json.load(sys.stdin):
        try:
            done.append(globals()[name](*arguments))
        except OSError as error:
            done.append(named(error))
    json.dump(done, sys.stdout)


if __name__ == "__main__":
    main()
