"""File names as git writes them in patches: plain, or quoted like strings of C."""

from __future__ import annotations

_SHORT = {
    0x07: "a", 0x08: "b", 0x09: "t", 0x0A: "n", 0x0B: "v", 0x0C: "f", 0x0D: "r",
    0x22: '"', 0x5C: "\\",
}  # fmt: skip
_LONG = {letter: bytes([byte]) for byte, letter in _SHORT.items()}


def encode(name: str) -> bytes:
    """The bytes of a name in the guest; names that are not UTF-8 come as surrogates."""
    return name.encode("utf-8", "surrogateescape")


def decode(name: bytes) -> str:
    """Reverse of `encode`."""
    return name.decode("utf-8", "surrogateescape")


def quote(name: str) -> str:
    """The name as a header carries it; quoted when anything in it could be misread."""
    raw = encode(name)
    try:
        raw.decode()
        last_plain = 0xFF  # whole UTF-8 stays readable, as with core.quotePath=false
    except UnicodeDecodeError:
        last_plain = 0x7E
    if not any(_special(byte, last_plain) for byte in raw):
        return name
    out = bytearray(b'"')
    for byte in raw:
        if byte in _SHORT:
            out += b"\\" + _SHORT[byte].encode()
        elif _special(byte, last_plain):
            out += b"\\%03o" % byte
        else:
            out.append(byte)
    return (out + b'"').decode()


def unquote(text: str) -> str:
    """The name that a header carries. Raises ValueError for a quoting that git does not make."""
    if not text.startswith('"'):
        return text
    name, rest = split_quoted(text)
    if rest:
        raise ValueError(text)
    return name


def split_quoted(text: str) -> tuple[str, str]:
    """The quoted name that the text begins with, and what follows it."""
    raw = encode(text)
    out = bytearray()
    at = 1
    while at < len(raw):
        byte = raw[at : at + 1]
        if byte == b'"':
            return decode(bytes(out)), decode(raw[at + 1 :])
        if byte != b"\\":
            out += byte
            at += 1
        elif (octal := raw[at + 1 : at + 4]).isdigit() and len(octal) == 3:
            out.append(int(octal, 8))
            at += 4
        else:
            try:
                out += _LONG[raw[at + 1 : at + 2].decode()]
            except (KeyError, UnicodeDecodeError) as error:
                raise ValueError(text) from error
            at += 2
    raise ValueError(text)


def _special(byte: int, last_plain: int) -> bool:
    return byte < 0x20 or byte in (0x22, 0x5C, 0x7F) or byte > last_plain
