"""pyro: a disposable Linux computer for an agent."""

__version__ = "4.0.0a1"

TYPE_CHECKING = False  # typing costs more than everything else a monitor imports
if TYPE_CHECKING:
    from typing import Any

    from pyro_mcp.errors import PyroError
    from pyro_mcp.mcp.server import create_server
    from pyro_mcp.sdk.cancel import Cancel
    from pyro_mcp.sdk.manager import VmManager
    from pyro_mcp.sdk.pyro import Pyro

__all__ = ["Cancel", "Pyro", "PyroError", "VmManager", "__version__", "create_server"]

# Names are resolved on first use: `import pyro_mcp` stays cheap, and the monitor, which needs a
# few modules only, does not pay for the rest.
_HOMES = {
    "Cancel": "pyro_mcp.sdk.cancel",
    "Pyro": "pyro_mcp.sdk.pyro",
    "PyroError": "pyro_mcp.errors",
    "VmManager": "pyro_mcp.sdk.manager",
    "create_server": "pyro_mcp.mcp.server",
}


def __getattr__(name: str) -> "Any":
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
