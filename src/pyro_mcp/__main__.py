"""`python -m pyro_mcp` is `pyro`."""

from pyro_mcp.cli.entry import main

main()
