"""The MCP server: the tools table, workspace files and recipes for any MCP client."""
