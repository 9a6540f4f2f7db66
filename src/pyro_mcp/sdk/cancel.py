"""Ending a call from another thread: `Cancel`, for whoever calls the SDK."""

from pyro_mcp.machines.cancel import Cancel

__all__ = ["Cancel"]
