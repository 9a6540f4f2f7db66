"""Errors about chat programs and their files."""

from collections.abc import Sequence
from pathlib import Path

from pyro_mcp.errors.base import PyroError


class UnknownHostError(PyroError, ValueError):
    """A name that is no chat program's."""

    code = "unknown_host"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        from difflib import get_close_matches  # costs start-up time, and is for this error alone

        near = get_close_matches(name.lower().replace("_", "-").replace(" ", "-"), known)
        every = f"It knows: {', '.join(known)}."
        super().__init__(
            f"pyro knows no host named {name!r}.",
            hint=f"Nearest: {', '.join(near)}. {every}" if near else every,
        )


class HostMissingError(PyroError, RuntimeError):
    """Nothing of a chat program is on this host."""

    code = "host_missing"

    def __init__(self, title: str, name: str, path: Path) -> None:
        super().__init__(
            f"{title} is not installed for this user: there is no program of it, and nothing where "
            f"it keeps {path}.",
            hint=f"Install it first, or write the file all the same: "
            f"pyro host connect {name} --force",
        )


class HostFileError(PyroError, RuntimeError):
    """A configuration file that cannot be used; it was left as it is."""

    code = "host_file"

    def __init__(self, path: Path, wrong: str, *, hint: str) -> None:
        super().__init__(f"{path} {wrong}.", hint=hint)
        self.path = path


class HostServerError(PyroError, RuntimeError):
    """The server that a configuration file names does not start, or does not answer."""

    code = "host_server"

    def __init__(self, words: Sequence[str], wrong: str, *, hint: str) -> None:
        import shlex

        super().__init__(f"{shlex.join(words)}: {wrong}.", hint=hint)
