"""Print docs/mcp-tools.md, from the table of tools: `scripts/dev reference` writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp.tools import MODES, PROFILES, TOOLS, tools_of

if TYPE_CHECKING:
    from pyro_mcp.tools import Tool


def mcp_tools() -> str:
    """The page about the tools."""
    lines = [
        "# MCP tools",
        "",
        "`scripts/dev reference` writes this page from the table of tools, and a test compares.",
        "",
        "## Profiles and modes",
        "",
        "| `pyro mcp serve` | tools |",
        "| --- | --- |",
    ]
    for profile in PROFILES:
        count = len(tools_of(profile))
        lines.append(f"| `--profile {profile}` | {count}: see the tools |")
    for mode in MODES:
        names = ", ".join(f"`{tool.name}`" for tool in tools_of(mode=mode))
        lines.append(f"| `--mode {mode}` | {names} |")
    lines += ["", "## Tools"]
    for tool in TOOLS:
        lines += ["", *_tool(tool)]
    return "\n".join(lines) + "\n"


def _tool(tool: Tool) -> list[str]:
    hints = {
        "only reads": tool.hints.read_only,
        "may destroy": tool.hints.destructive,
        "may be repeated": tool.hints.idempotent,
        "reaches further than the guest": tool.hints.open_world,
    }
    said = ", ".join(name for name, so in hints.items() if so)
    lines = [
        f"### `{tool.name}`",
        "",
        tool.description,
        "",
        f"In {', '.join(tool.profiles)}. SDK: `Pyro.{tool.method}`."
        + (f" It {said}." if said else ""),
    ]
    if tool.parameters:
        lines += ["", "| argument | type | default | |", "| --- | --- | --- | --- |"]
    for one in tool.parameters:
        schema = one.announced()
        about = schema.get("description", "") + (" (workspace-full)" if one.full_only else "")
        default = "required" if one.required else _shown(one.default)
        lines.append(f"| `{one.name}` | {schema['type']} | {default} | {about.strip()} |")
    fields = ", ".join(f"`{name}`" for name in tool.answer)
    return [*lines, "", f"Answers with {fields}, and more."]


def _shown(value: Any) -> str:
    import json

    return f"`{json.dumps(value)}`"


if __name__ == "__main__":
    print(mcp_tools(), end="")
