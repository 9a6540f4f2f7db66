"""pyro for OpenAI's Responses API: tools, what carries them out, and a loop.

    from openai import OpenAI
    from pyro_mcp.integrations.openai import Session, run

    with Session(profile="vm-run") as session:
        result = run(OpenAI(), session, model="gpt-5.2", input="Which git has debian:12?")
    print(result.output_text)

`ResponsesTools` is for a loop of your own: `definitions` to send, `dispatch` for what comes back.
"""

from pyro_mcp.integrations.openai.loop import run, run_async, stream, stream_async
from pyro_mcp.integrations.openai.progress import RunResult, ToolAnswered
from pyro_mcp.integrations.openai.tools import ResponsesTools, tool_definitions
from pyro_mcp.integrations.session import Session

__all__ = [
    "ResponsesTools", "RunResult", "Session", "ToolAnswered", "run", "run_async", "stream",
    "stream_async", "tool_definitions",
]  # fmt: skip
