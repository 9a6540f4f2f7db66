"""Errors about this host: what it lacks, and what of it cannot be used."""

from collections.abc import Sequence
from pathlib import Path

from pyro_mcp.errors.base import PyroError


class NetworkError(PyroError, RuntimeError):
    """A guest was to have a network, and this host does not give it one; nothing was booted."""

    code = "network_unavailable"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"This host gives no network to guests: {why}.",
            hint="'pyro doctor' says what is missing; without a network "
            "(network_policy 'off') guests run.",
        )


class NoEngineError(PyroError, RuntimeError):
    """No engine can run a guest on this host."""

    code = "no_engine"

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(
            f"No guest can run on this host: {'; '.join(reasons)}.",
            hint="'pyro doctor' names each remedy; --allow-host-compat (allow_host_compat=True) "
            "runs the command on this host itself, without any isolation.",
        )


class HostMemoryError(PyroError, RuntimeError):
    """The machine may use more memory than the host has free."""

    code = "host_memory"

    def __init__(self, *, needed_mib: int, available_mib: int) -> None:
        super().__init__(
            f"The machine may use {needed_mib} MiB of memory and this host has "
            f"{available_mib} MiB free.",
            hint="Ask for less with mem_mib, or end other machines first.",
        )


class DiskSpaceError(PyroError, RuntimeError):
    """A file system has less room than the work needs."""

    code = "disk_space"

    def __init__(self, where: Path, *, needed_mib: int, free_mib: int, variable: str) -> None:
        super().__init__(
            f"{where} has {free_mib} MiB free and this needs {needed_mib} MiB.",
            hint=f"Free some room, or point {variable} at a larger file system.",
        )


class ToolMissingError(PyroError, RuntimeError):
    """A program that pyro runs is not installed."""

    code = "tool_missing"

    def __init__(self, tool: str, *, package: str, purpose: str) -> None:
        super().__init__(
            f"The program {tool!r} is not installed; pyro uses it to {purpose}.",
            hint=f"Install the package {package} (Debian: apt-get install {package}).",
        )
        self.tool = tool
        self.package = package


class CacheCorruptError(PyroError, RuntimeError):
    """A cached image is not what its manifest records."""

    code = "cache_corrupt"

    def __init__(self, where: Path, wrong: str, *, hint: str) -> None:
        super().__init__(f"The cache entry {where} {wrong}.", hint=hint)


class CacheAccessError(PyroError, RuntimeError):
    """A directory of pyro's cannot be read or written."""

    code = "cache_access"

    def __init__(self, where: Path, why: str, *, variable: str) -> None:
        super().__init__(
            f"{where} cannot be used: {why}.",
            hint=f"Make it readable and writable for this user, or set {variable} elsewhere.",
        )


class BrokenInstallError(PyroError, RuntimeError):
    """A module or data file that belongs to pyro, or that it depends on, is not there."""

    code = "broken_install"

    def __init__(self, error: Exception) -> None:
        super().__init__(
            f"This installation of pyro is not whole: {error}.",
            hint="'pyro doctor' lists what is missing; "
            "'pip install --force-reinstall pyro-mcp' puts it back.",
        )


class OutputExistsError(PyroError, RuntimeError):
    """There is something where an export should go, if only a link to nowhere."""

    code = "output_exists"

    def __init__(self, where: Path) -> None:
        super().__init__(
            f"{str(where)!r} exists already, and an export overwrites nothing.",
            hint="Give another output_path, or remove it first.",
        )


class ListenError(PyroError, RuntimeError):
    """An address of this host cannot be listened on."""

    code = "listen"

    def __init__(self, host: str, port: int, why: str) -> None:
        super().__init__(
            f"{host} port {port} cannot be listened on: {why}.",
            hint="Choose another port (0 takes one that is free) or address.",
        )


class OutputWriteError(PyroError, RuntimeError):
    """Standard output or standard error does not take what is written."""

    code = "output_write"

    def __init__(self, where: str, why: str) -> None:
        super().__init__(
            f"Writing to {where} failed: {why}.",
            hint="Send the output to a place that takes it.",
        )
