"""Where pyro keeps things, and its limits: read once, passed on as `Settings`."""

import os
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import InvalidInputError

PLATFORM = "linux-x86_64"

VCPU_RANGE = (1, 8)
MEM_MIB_RANGE = (256, 32768)
TTL_SECONDS_RANGE = (60, 3600)

DEFAULT_VCPU_COUNT = 1
DEFAULT_MEM_MIB = 1024
DEFAULT_TTL_SECONDS = 600
DEFAULT_TIMEOUT_SECONDS = 30

OUTPUT_LIMIT_BYTES = 8 * 1024 * 1024
"""What a buffered result keeps of each stream; beyond it the middle is left out and said so."""

CACHE_VARIABLE = "PYRO_ENVIRONMENT_CACHE_DIR"
STATE_VARIABLE = "PYRO_STATE_DIR"
CATALOGUE_VARIABLE = "PYRO_CATALOGUE"
DNS_VARIABLE = "PYRO_DNS"
KERNEL_VARIABLE = "PYRO_KERNEL"
STEERING_VARIABLE = "PYRO_NETWORK_STEERING"

OWN_KERNEL, DEBIAN_KERNEL = "pyro", "debian"
"""The guest kernel that comes with pyro, and the distribution's."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Directories of one installation, for one user."""

    cache_dir: Path
    """Images: can be removed at any time, is built again."""
    state_dir: Path
    """Machines that run now."""
    catalogue: Path
    """The user's own environments; need not exist."""
    resolvers: str | None = None
    """Who is asked for names on behalf of guests, instead of the host's own resolvers."""
    kernel: str = OWN_KERNEL
    """Which kernel guests run: `pyro` or `debian`."""
    steering: str | None = None
    """How a guest's connections come to its gateway, instead of the best way of this host."""

    @classmethod
    def from_environment(
        cls, *, cache_dir: Path | None = None, state_dir: Path | None = None
    ) -> "Settings":
        """Follow XDG, then the `PYRO_…` variables, then the arguments (the last one wins).

        Raises:
            InvalidInputError: PYRO_KERNEL names no kernel.
        """
        import platformdirs

        environ = os.environ
        cache = cache_dir or environ.get(CACHE_VARIABLE)
        state = state_dir or environ.get(STATE_VARIABLE)
        catalogue = environ.get(CATALOGUE_VARIABLE)
        return cls(
            cache_dir=_absolute(cache)
            if cache
            else platformdirs.user_cache_path("pyro-mcp") / "environments",
            state_dir=_absolute(state) if state else platformdirs.user_state_path("pyro-mcp"),
            catalogue=_absolute(catalogue)
            if catalogue
            else platformdirs.user_config_path("pyro-mcp") / "environments.toml",
            resolvers=environ.get(DNS_VARIABLE) or None,
            kernel=_kernel(environ.get(KERNEL_VARIABLE)),
            steering=environ.get(STEERING_VARIABLE) or None,
        )


def _kernel(wanted: str | None) -> str:
    known = (OWN_KERNEL, DEBIAN_KERNEL)
    if wanted and wanted not in known:
        raise InvalidInputError(
            KERNEL_VARIABLE, f"is {wanted!r}", hint=f"Known kernels: {', '.join(known)}."
        )
    return wanted or OWN_KERNEL


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - links stay as given
