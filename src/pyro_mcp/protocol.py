"""The wire between host and guest agent: frames, version, limits.

Shared by both sides; standard library only. It runs over any ordered byte stream (a vsock stream
on the guest's side, the machine's unix socket on the host's). One connection carries one request.

Each side first sends its preamble of 8 bytes and checks the other's before anything else:

    offset  size  field
    0       4     b"PYRO"
    4       2     VERSION, little-endian
    6       2     reserved, zero

Then frames, in both directions:

    offset  size  field
    0       4     length of the payload, little-endian, at most MAX_PAYLOAD
    4       1     kind, one of FrameKind's values
    5       n     payload

The host opens with one REQUEST. What follows depends on its `op`:

    op      request                                       answer
    exec    command, cwd, env, timeout_ms, stdin          STDOUT, STDERR ... then one EXIT
    ping    -                                             one REPLY
    sync    - (flush every file system)                   one REPLY
    network - (bring out the interface that was hidden)   one REPLY
    halt    - (flush, then power the machine off)         one REPLY, then the machine ends

and for files of the workspace:

    stat        path                                      one REPLY, the entry
    list        path, recursive, limit                    lines, then REPLY: truncated, skipped
    search      path, pattern, literal, ignore_case,      lines, then REPLY: truncated, files,
                globs, max_matches, max_file_bytes,         skipped
                max_text, seconds
    changes     content_bytes                             lines, then REPLY: seeded
    read        path, offset, length (null: all)          STDOUT ..., then REPLY, the entry
    read_base   the same, of the seed                     the same
    write       path, mode (null), parents, then STDIN    one REPLY: size_bytes, created
                ... and an empty one
    delete      path, recursive                           one REPLY: deleted
    move        path, to, replace                         one REPLY
    mkdir       path, parents                             one REPLY: created
    import_tar  path, then STDIN ... and an empty one     one REPLY: entries, bytes, skipped
    export_tar  path                                      STDOUT ..., then REPLY: entries, bytes,
                                                            skipped, artifact_type
    look        paths                                     lines: entries of those that exist
    digests     paths                                     lines: path, digest of the files
    commit      -; then STDIN: a line for each step       one REPLY: steps; all were taken or none
                with its content after it, an empty one
    freeze      seconds, record (or none)                 STDOUT ..., then REPLY: block_bytes;
                                                            thawed when the host closes the
                                                            connection or the time is over
    written     record, begin (flush, then tell)          STDOUT ..., then REPLY: block_bytes
    secrets     entries, then STDIN ... and an empty one  one REPLY: count

and for shells, which live in the agent until they are closed or the machine ends:

    shell_open    shell_id, cwd, env, cols, rows          one REPLY, the shell
    shell_list    -                                       lines, then REPLY: count
    shell_read    shell_id, cursor, context, max_bytes,   STDOUT ..., then REPLY, the shell with
                  max_chars, wait_idle_ms (0: no wait)      start, context, wait_timed_out
    shell_write   shell_id, then STDIN ... and an         one REPLY, the shell with taken
                  empty one
    shell_resize  shell_id, cols, rows                    one REPLY, the shell
    shell_signal  shell_id, signal                        one REPLY, the shell
    shell_close   shell_id                                one REPLY, the shell as it ended
    shell_attach  shell_id, cursor; STDIN is typed        STDOUT ..., then REPLY, the shell, when
                                                            it has ended

A shell is `{"shell_id", "cwd", "cols", "rows", "state": "running" | "stopped", "started_ms",
"ended_ms", "exit_code", "oldest", "end", "quiet_ms"}`. All it ever wrote is one stream of bytes;
`end` is how many there were, `oldest` the first that is still kept (SHELL_WINDOW at most), and a
`cursor` an offset in it, taken as `oldest` or `end` where it lies beyond them. What is read
begins at `start`, with `context` bytes from before it in front (fewer than asked for where the
stream begins). A read that waits ends when nothing came for `wait_idle_ms`, with `max_chars`
characters, with the shell, or after SHELL_WAIT_LIMIT_MS. `taken` counts bytes that the terminal
took; a `shell_write` that it does not take whole is an ERROR, which has `taken` too. In
`shell_attach`, a STDERR frame says in decimal how many bytes were lost to a host too slow.

and for services, processes that go on without the host:

    service_start   name, run, command, cwd, env, ports   one REPLY, the facts: it was started
                    readiness, ready_timeout_ms,
                    ready_interval_ms
    service_wait    name, run                             one REPLY, the facts: it is ready, or
                                                            never will be
    service_watch   name, run                             one REPLY, the facts: it has ended
    service_stop    name, run, reason                     one REPLY, the facts: it has ended
    service_list    -                                     lines: the facts of each, then REPLY
    service_log     name, run, stdout_from, stderr_from   STDOUT, STDERR ..., then REPLY:
                                                            stdout_from, stdout_to, stderr_from,
                                                            stderr_to, overrun
    service_follow  the same                              the same, when the service has ended

`run` is chosen by the host and names one start of a service. `readiness` is null or
`{"type": "file" | "tcp" | "http" | "command", "what", "port", "target"}`; facts are `{"name",
"run", "state", "pid", "exit_code", "stop_reason", "ready_ms", "ended_ms", "age_ms", "problem"}`,
times being milliseconds since the start. Of each stream the last SERVICE_LOG_BYTES are kept; a
log is sent from the offset asked for, or from the oldest byte kept. `overrun`: what was to come
next is not kept any more; ask again. While a service runs that named a port in `ports`, the agent
accepts vsock connections at RELAY_PORTS plus that port, and relays each to it on the guest's
loopback.

"Lines" are JSON objects, one a line, cut anywhere into STDOUT frames. A path is text below
WORKSPACE, relative to it or absolute, without `..`; bytes that are not UTF-8 are lone surrogates
(Python's `surrogateescape`), which JSON escapes: every name a file can have survives. An entry is
`{"path" (relative), "artifact_type": "file" | "directory" | "symlink" | "special", "size_bytes",
"mode" (permission bits), "mtime" (seconds), "link_target" or null}`. A line of `changes` is
`{"path", "status": "added" | "modified" | "deleted" | "type_changed", "base", "now", "content"}`:
`base` and `now` are null or `{"artifact_type", "size_bytes", "mode", "link_target", "data"}`;
`data` is the content in base64 of a file of at most `content_bytes`, else null; `content` is
false when only the mode differs. Archives are uncompressed tar (pax), owners ignored.
`import_tar` brings all of it or nothing. `entries` of `secrets` are `[name, size]`, and STDIN is
their contents one after the other: they become the files below SECRETS, in memory, and whatever
was there is gone; all of it or nothing.

A `record` is chosen by the host and names a record of what is written to the data disk; `begin`
ends any other and begins it, and sends nothing else. STDOUT is otherwise a map of the disk: bits of
which the lowest comes first, set for each `block_bytes` of the disk that were written since the
record was asked last. `block_bytes` is 0, and there is no map, where another record has begun or
the guest's kernel keeps none.

During an exec the host may send STDIN (an empty one closes the command's input) and SIGNAL. The
guest closes the connection after EXIT, REPLY or ERROR. When the host closes it earlier, the
request ends early: the command and all it started are killed, an import leaves the workspace as
it was. A frame of an unexpected kind ends the connection.

`exec` fields: `command` is a string for the guest's shell (`/bin/sh -lc`); `cwd` an absolute path
(created when it is WORKSPACE); `env` is added to the guest's own few variables; `timeout_ms` is 0
for none: the tree then gets TERM, and KILL after TERM_GRACE_MS; `stdin` true keeps the command's
input open for STDIN frames, otherwise it is empty.

EXIT is `{"exit_code", "signal", "timed_out", "duration_ms", "oom_killed"}`: `exit_code` is the
shell's meaning (128 + n when signal n ended it, 124 after a timeout), `signal` the number or null.
ERROR is `{"code", "message"}`; codes are the ERROR_… constants.
"""

import _json  # the package json costs 15 ms to import in the guest, and 3 in the monitor
from _struct import Struct  # the module struct is one more file to load in the guest

VERSION = 3
MAGIC = b"PYRO"
PREAMBLE = Struct("<4sHH")
HEADER = Struct("<IB")

MAX_PAYLOAD = 1024 * 1024
"""Upper bound of one frame; checked before anything is read or kept."""
DATA_CHUNK = 64 * 1024
"""How much of a command's stream one STDIN, STDOUT or STDERR frame carries at most."""

AGENT_PORT = 1024
"""The vsock port on which the agent listens."""
READY_PORT = 1025
"""The host's vsock port to which the agent connects once it listens."""
HOST_CID = 2

TERM_GRACE_MS = 2000
"""Between TERM and KILL when a command's time is over."""

SERVICE_GRACE_MS = 5000
"""Between TERM and KILL when a service is stopped."""
SERVICE_LOG_BYTES = 2 * 1024 * 1024
"""How much of each stream of a service is kept: the latest."""
RELAY_PORTS = 0x10000
"""The vsock port RELAY_PORTS + n leads to TCP port n of the guest's loopback."""

WORKSPACE = "/workspace"
SECRETS = "/run/pyro-secrets"
"""Directory of the guest with one file for each secret, for root alone."""

SHELL_WINDOW = 1024 * 1024
"""Bytes of a shell's output that can be read back."""
SHELL_CONTEXT = 128 * 1024
"""Bytes before that which are kept as context for what can be read."""
MOST_SHELLS = 32
"""Shells of one machine that are not closed, the ended ones too."""
SHELL_WAIT_LIMIT_MS = 30_000
"""How long a read waits at most, however busy the shell is."""
SHELL_STALL_MS = 10_000
"""How long a write waits for a terminal that takes nothing."""
LONGEST_TERMINAL_LINE = 4095
"""Bytes of a line that a program gets from a terminal in canonical mode; Linux cuts the rest."""
LARGEST_TERMINAL = 2000
"""Columns and rows."""

GUEST_MAC = bytes.fromhex("020000000002")
LINK_NETWORK, GUEST_IP, GATEWAY_IP = "192.0.0.0/30", "192.0.0.2", "192.0.0.1"
"""The guest's link, where it has one: addresses for the ends of a line (RFC 7335), which no network
that a guest could want to reach has."""
LINK_NETWORK6, GUEST_IP6, GATEWAY_IP6 = (
    "fd70:7972:6f00::/64", "fd70:7972:6f00::2", "fd70:7972:6f00::1",
)  # fmt: skip
LINK_PREFIX, LINK_PREFIX6 = 30, 64
LINK = "link0"
"""The link's far end, in a namespace of its own on the host."""
MTU = 65000
"""Of the guest's link: large frames are what makes it fast."""

REQUEST = 1
STDIN = 2
SIGNAL = 3
STDOUT = 16
STDERR = 17
EXIT = 18
REPLY = 19
ERROR = 20

FROM_HOST = frozenset((REQUEST, STDIN, SIGNAL))
FROM_GUEST = frozenset((STDOUT, STDERR, EXIT, REPLY, ERROR))

ERROR_BAD_REQUEST = "bad_request"
ERROR_NO_SUCH_DIRECTORY = "no_such_directory"
ERROR_CANNOT_START = "cannot_start"
ERROR_STOPPING = "stopping"
"""Nothing was begun: the machine is being stopped."""
ERROR_NOT_FOUND = "not_found"
ERROR_OUTSIDE = "outside"
ERROR_IS_DIRECTORY = "is_directory"
ERROR_NOT_DIRECTORY = "not_directory"
ERROR_IS_LINK = "is_link"
ERROR_SPECIAL = "special_file"
ERROR_EXISTS = "exists"
ERROR_NOT_EMPTY = "not_empty"
ERROR_NO_SPACE = "no_space"
ERROR_CONFLICT = "conflict"
ERROR_BAD_ARCHIVE = "bad_archive"
ERROR_BAD_PATTERN = "bad_pattern"
ERROR_TOO_LONG = "too_long"
ERROR_TOO_LARGE = "too_large"
ERROR_FAILED = "failed"
ERROR_NO_SUCH_SHELL = "no_such_shell"
ERROR_SHELL_ENDED = "shell_ended"
ERROR_TOO_MANY_SHELLS = "too_many_shells"
ERROR_INPUT_NOT_TAKEN = "input_not_taken"

SHELL_OPERATIONS = frozenset(
    (
        *("shell_open", "shell_list", "shell_read", "shell_write", "shell_resize"),
        *("shell_signal", "shell_close", "shell_attach"),
    )
)
FILE_OPERATIONS = frozenset(
    (
        *("stat", "list", "search", "changes", "read", "read_base", "write", "delete", "move"),
        *(
            "mkdir",
            "import_tar",
            "export_tar",
            "freeze",
            "written",
            "look",
            "digests",
            "commit",
            "build_image",
        ),
        *("secrets",),
    )
)

SERVICE_OPERATIONS = frozenset(
    (
        *("service_start", "service_wait", "service_watch", "service_stop", "service_list"),
        *("service_log", "service_follow"),
    )
)
SERVICE_RUNNING, SERVICE_EXITED = "running", "exited"
SERVICE_STOPPED, SERVICE_FAILED = "stopped", "failed"
STOP_ASKED = "asked"
"""As the reason of service_stop: the service is then stopped, by sigterm or sigkill."""
STOP_READINESS = "readiness_timeout"
STOP_PORTS = "published_port_failed"
STOP_FAULT = "agent_failed"
STOP_REASONS = frozenset((STOP_ASKED, STOP_PORTS))


class ProtocolError(Exception):
    """The other side broke the protocol; the connection is of no further use."""


class VersionMismatchError(ProtocolError):
    """The other side speaks another version."""

    def __init__(self, theirs: int) -> None:
        super().__init__(f"protocol version {theirs} where {VERSION} is spoken")
        self.theirs = theirs


def preamble() -> bytes:
    """What each side sends first."""
    return PREAMBLE.pack(MAGIC, VERSION, 0)


def check_preamble(data: bytes) -> None:
    """Raise `VersionMismatchError` for another version, `ProtocolError` for another protocol."""
    if len(data) != PREAMBLE.size:
        raise ProtocolError(f"preamble of {len(data)} bytes")
    magic, version, _ = PREAMBLE.unpack(data)
    if magic != MAGIC:
        raise ProtocolError(f"preamble {data!r}")
    if version != VERSION:
        raise VersionMismatchError(version)


def frame(kind: int, payload: bytes = b"") -> bytes:
    """One frame, ready to send."""
    if len(payload) > MAX_PAYLOAD:
        raise ProtocolError(f"payload of {len(payload)} bytes")
    return HEADER.pack(len(payload), kind) + payload


def json_frame(kind: int, value: dict[str, object]) -> bytes:
    """One frame with a JSON object in it."""
    import json  # the guest does without: it costs 15 ms there

    return frame(kind, json.dumps(value, separators=(",", ":")).encode())


def parse_json(payload: bytes) -> dict[str, object]:
    """The JSON object of a frame; anything else is a `ProtocolError`."""
    try:
        return decode_object(payload)
    except ValueError as error:
        raise ProtocolError(f"payload: {error}") from error


def decode_object(payload: bytes) -> dict[str, object]:
    """A JSON object; `ValueError` says what else it is."""
    try:
        text = payload.decode().strip(_BLANK)
        value, end = _scan(text, 0)
    except (ValueError, StopIteration, RecursionError):
        raise ValueError("it is not JSON") from None
    if end != len(text) or not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


class _Context:
    """What the interpreter's JSON scanner takes its settings from."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner of older Pythons wants the attribute


_BLANK = " \t\r\n"
_scan = _json.make_scanner(_Context())  # type: ignore[arg-type]


class Decoder:
    """Cuts a byte stream into frames, after the preamble.

    Keeps at most one incomplete frame; a frame over MAX_PAYLOAD or of a kind outside `kinds` is
    refused as soon as its header is there.
    """

    def __init__(self, kinds: frozenset[int]) -> None:
        self._kinds = kinds
        self._buffer = bytearray()
        self._greeted = False

    @property
    def greeted(self) -> bool:
        """Whether the other side's preamble has come and was right."""
        return self._greeted

    def feed(self, data: bytes | memoryview) -> list[tuple[int, bytes]]:
        """The frames completed by `data`, in order, as (kind, payload)."""
        buffer = self._buffer
        buffer += data
        if not self._greeted:
            if len(buffer) < PREAMBLE.size:
                return []
            check_preamble(bytes(buffer[: PREAMBLE.size]))
            del buffer[: PREAMBLE.size]
            self._greeted = True
        frames = []
        at = 0
        while len(buffer) - at >= HEADER.size:
            length, kind = HEADER.unpack_from(buffer, at)
            if length > MAX_PAYLOAD:
                raise ProtocolError(f"frame of {length} bytes")
            if kind not in self._kinds:
                raise ProtocolError(f"frame of kind {kind}")
            end = at + HEADER.size + length
            if len(buffer) < end:
                break
            with memoryview(buffer) as view:
                frames.append((kind, bytes(view[at + HEADER.size : end])))
            at = end
        del buffer[:at]
        return frames
