"""Pyro as tools for a model: one table, of which every tool surface is a projection.

`Toolset(pyro, profile)` is what a surface needs: `tools` to announce, `call` to carry out.
"""

from pyro_mcp.tools.names import CORE, FULL, PROFILES, VM_RUN
from pyro_mcp.tools.table import MODES, TOOLS, tools_of
from pyro_mcp.tools.tool import Context, Hints, Tool
from pyro_mcp.tools.toolset import Answer, Toolset, failure

__all__ = [
    "CORE", "FULL", "MODES", "PROFILES", "TOOLS", "VM_RUN", "Answer", "Context", "Hints", "Tool",
    "Toolset", "failure", "tools_of",
]  # fmt: skip
